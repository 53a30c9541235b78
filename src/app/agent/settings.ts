/** The settings of `culvert join`: flags, keys of a CulvertJoinConfig, CULVERT_JOIN_*. */
import { createHash } from 'node:crypto';
import { usageError } from '../../core/errors.ts';
import type { ConfigDocument } from '../../link/config-documents.ts';
import { redactJoinUrl } from '../../link/join-url.ts';
import { LINK_DOCUMENT_KEYS, linkDocuments } from '../../link/siderolink-config.ts';
import { MAX_LANES } from '../../link/stream-table.ts';
import type { Transport } from '../../link/transport-policy.ts';
import { LOG_SETTINGS } from '../cli-log.ts';
import type { Effective } from '../config/effective.ts';
import { secretOf } from '../config/secret.ts';
import { anyText, hidden, list, optional, setting, toggle, type ValuesOf } from '../config/setting.ts';
import { type CommandSettings, readSources, type Sources } from '../config/sources.ts';
import { oneOf, wholeNumber } from '../flag-values.ts';
import { readSecretFile } from '../secret-file.ts';
import { TUNING_SETTINGS } from '../tuning-settings.ts';
import { isInterfaceName } from '../wg-conf.ts';
import { parseExposed, parseUuid } from './join-settings.ts';
import {
  eventTarget,
  type JoinInputs,
  KERNEL_COMMAND_LINE,
  logTarget,
  ON_GATEWAY,
  readJoinInputs,
} from './join-sources.ts';

export const JOIN_KIND = 'CulvertJoinConfig';

const TRANSPORTS = ['auto', 'udp', 'grpc'] as const satisfies readonly Transport[];

export const JOIN_SETTINGS = {
  url: optional(
    {
      env: 'CULVERT_JOIN_URL',
      description: 'what the gateway printed; the argument, or a SideroLinkConfig, will do as well',
      example: 'https://gateway.example/',
      change: 'live',
      redact: redactJoinUrl,
    },
    anyText,
  ),
  joinToken: optional(
    {
      env: 'CULVERT_JOIN_TOKEN',
      description: 'the join token, for a URL that has none',
      example: 'a-secret-of-your-own',
      change: 'live',
      redact: hidden,
    },
    anyText,
  ),
  joinTokenFile: optional(
    {
      flag: '--join-token-file <file>',
      env: 'CULVERT_JOIN_TOKEN_FILE',
      description: 'holds the join token, for a URL that has none',
      example: '/etc/culvert/join-token',
      change: 'live',
      isFile: true,
    },
    anyText,
  ),
  uniqueTokenFile: optional(
    {
      flag: '--unique-token-file <file>',
      env: 'CULVERT_JOIN_UNIQUE_TOKEN_FILE',
      description: 'holds the unique token of a machine that keeps none yet (default: a new one is made)',
      example: '/etc/culvert/unique-token',
      change: 'restart',
      isFile: true,
    },
    anyText,
  ),
  kernelArgs: optional(
    {
      flag: '--kernel-args [file]',
      env: 'CULVERT_JOIN_KERNEL_ARGS',
      description: `read siderolink.api= from a kernel command line (default: ${KERNEL_COMMAND_LINE})`,
      example: KERNEL_COMMAND_LINE,
      preset: KERNEL_COMMAND_LINE,
      change: 'live',
    },
    anyText,
  ),
  transport: optional(
    {
      flag: '--transport <kind>',
      env: 'CULVERT_JOIN_TRANSPORT',
      description: 'auto: UDP first, the tunnel when UDP does not answer; udp; grpc (default: auto)',
      example: 'auto',
      change: 'restart',
    },
    (place, text) => oneOf(place, text, TRANSPORTS),
  ),
  streams: setting(
    {
      flag: '--streams <count>',
      env: 'CULVERT_JOIN_STREAMS',
      description: 'streams in the tunnel, with gateways that know more than one',
      default: '2',
      change: 'restart',
    },
    (place, text) => wholeNumber(place, text, 1, MAX_LANES),
  ),
  interface: optional(
    {
      flag: '--interface <name>',
      env: 'CULVERT_JOIN_INTERFACE',
      description: 'name of the interface (default: siderolink, siderolinktun with --transport grpc)',
      example: 'siderolink',
      change: 'restart',
    },
    interfaceName,
  ),
  ca: list(
    {
      flag: '--ca <file>',
      env: 'CULVERT_JOIN_CA',
      description: 'trust the certificates of this PEM file too; may be repeated',
      example: '/etc/culvert/ca.pem',
      change: 'live',
    },
    anyText,
  ),
  state: setting(
    {
      flag: '--state <dir>',
      env: 'CULVERT_JOIN_STATE',
      description: 'where UUID and unique token are kept',
      default: '/var/lib/culvert/agent',
      change: 'restart',
    },
    anyText,
  ),
  uuid: optional(
    {
      flag: '--uuid <uuid>',
      env: 'CULVERT_JOIN_UUID',
      description: "the machine's UUID (default: the kept one, that of the firmware, a new one)",
      example: '4c4c4544-0042-3510-8052-c2c04f595231',
      change: 'restart',
    },
    (place, text) => parseUuid(text, place),
  ),
  keyFile: optional(
    {
      flag: '--key-file <file>',
      env: 'CULVERT_JOIN_KEY_FILE',
      description: 'keep the WireGuard key here; without it each start has a new one',
      example: '/var/lib/culvert/agent/key',
      change: 'restart',
    },
    anyText,
  ),
  expose: list(
    {
      flag: '--expose <[port=]host:port>',
      env: 'CULVERT_JOIN_EXPOSE',
      description: 'publish a TCP service on the overlay address only; may be repeated',
      example: '127.0.0.1:22',
      change: 'live',
    },
    parseExposed,
  ),
  openFirewall: toggle({
    flag: '--open-firewall',
    env: 'CULVERT_JOIN_OPEN_FIREWALL',
    description: 'accept what comes over the interface in nftables, until it goes down',
    default: 'false',
    change: 'live',
  }),
  kmsg: optional(
    {
      flag: '--kmsg [url]',
      env: 'CULVERT_JOIN_KMSG',
      description: 'send kernel log lines; without a value, or as "gateway", to the gateway\'s tcp port 8092',
      example: ON_GATEWAY,
      preset: ON_GATEWAY,
      change: 'live',
    },
    logTarget,
  ),
  events: optional(
    {
      flag: '--events [host:port]',
      env: 'CULVERT_JOIN_EVENTS',
      description: 'send life cycle events; without a value, or as "gateway", to the gateway\'s port 8090',
      example: ON_GATEWAY,
      preset: ON_GATEWAY,
      change: 'live',
    },
    eventTarget,
  ),
  onUp: optional(
    {
      flag: '--on-up <command>',
      env: 'CULVERT_JOIN_ON_UP',
      description: 'run when the gateway answers',
      example: 'systemctl start sync',
      change: 'live',
    },
    anyText,
  ),
  onDown: optional(
    {
      flag: '--on-down <command>',
      env: 'CULVERT_JOIN_ON_DOWN',
      description: 'run when it does not any more',
      example: 'systemctl stop sync',
      change: 'live',
    },
    anyText,
  ),
  ...TUNING_SETTINGS,
  ...LOG_SETTINGS,
};

export type JoinTable = typeof JOIN_SETTINGS;
export type JoinValues = ValuesOf<JoinTable>;

/** What is told now, and what is known of the gateway. */
export interface JoinOrder {
  readonly settings: Effective<JoinTable>;
  readonly inputs: JoinInputs;
}

export const JOIN: CommandSettings<JoinTable> = {
  command: 'join',
  kind: JOIN_KIND,
  table: JOIN_SETTINGS,
  others: LINK_DOCUMENT_KEYS,
};

/** What is told now: `readSources`. */
export function readJoinOrder(sources: Sources, warn?: (text: string) => void): JoinOrder {
  const { settings, documents, file } = readSources(sources, JOIN, warn);
  return joinOrder(settings, documents, file?.path ?? '');
}

/** `documents` of `path` count where settings say nothing. Throws AppError. */
export function joinOrder(
  settings: Effective<JoinTable>,
  documents: readonly ConfigDocument[],
  path: string,
): JoinOrder {
  const { values, table, givens } = settings;
  const inputs = readJoinInputs({
    ...values,
    joinToken: secretOf(table, givens, values, 'joinToken', 'joinTokenFile'),
    uniqueToken:
      values.uniqueTokenFile === undefined
        ? undefined
        : readSecretFile(values.uniqueTokenFile, 'unique token'),
    documents: path === '' ? undefined : { path, link: linkDocuments(documents) },
  });
  // Documents of Talos and the kernel's command line have a say in these.
  const contents = new Map([
    ...settings.contents,
    ['url', digestOf(inputs.source.url)],
    ['events', digestOf(inputs.eventSink)],
    ['kmsg', digestOf(inputs.kernelLogs)],
  ]);
  return { settings: { ...settings, contents }, inputs };
}

function digestOf(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(value) ?? '')
    .digest('hex');
}

function interfaceName(place: string, text: string): string {
  if (isInterfaceName(text)) return text;
  throw usageError(`${place} ${text}: not an interface name`, 'at most 15 letters, digits, _=+.-');
}
