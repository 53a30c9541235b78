/** Where a machine learns which gateway to join: the command line, a configuration file, the kernel's command line. */
import { type AppError, configError, usageError } from '../../core/errors.ts';
import { isEndpoint } from '../../link/endpoints.ts';
import {
  chooseJoinSource,
  type JoinSource,
  kernelArgument,
  type LinkDocuments,
} from '../../link/siderolink-config.ts';
import { readConfigText } from '../config/config-file.ts';

export const KERNEL_COMMAND_LINE = '/proc/cmdline';

/** In place of a target: the usual port of the gateway's overlay address. */
export const ON_GATEWAY = 'gateway';

export interface JoinInputs {
  readonly source: JoinSource;
  /** `host:port` or ON_GATEWAY; undefined: events are not sent. */
  readonly eventSink: string | undefined;
  /** `tcp://host:port`, `udp://host:port` or ON_GATEWAY; empty: kernel log lines are not sent. */
  readonly kernelLogs: readonly string[];
}

/** What a machine is told of its gateway, by flags, environment and its own document. */
export interface JoinRequest {
  readonly url?: string | undefined;
  /** Of a URL that has none. Secret. */
  readonly joinToken?: string | undefined;
  /** Wins over that of a document. Secret. */
  readonly uniqueToken?: string | undefined;
  /** A file with a kernel command line. */
  readonly kernelArgs?: string | undefined;
  /** A target, or ON_GATEWAY. */
  readonly kmsg?: string | undefined;
  readonly events?: string | undefined;
  /** Documents of Talos, and where they stand. */
  readonly documents?: { readonly path: string; readonly link: LinkDocuments } | undefined;
}

/**
 * Puts together what is known. With no URL asked for, the kernel's command line is read too, as Talos does. Throws
 * configuration and usage errors, and those of reading files.
 */
export function readJoinInputs(
  request: JoinRequest,
  readText: (path: string) => string = readConfigText,
): JoinInputs {
  const { url, joinToken, uniqueToken, documents } = request;
  const kernelFile = request.kernelArgs ?? (url === undefined ? KERNEL_COMMAND_LINE : undefined);
  const kernelCommandLine = kernelFile === undefined ? undefined : readText(kernelFile).trim();
  const source = chooseJoinSource({
    argument: url,
    document: documents?.link.sideroLink,
    kernelCommandLine,
  });
  if (!source) throw noSource(documents?.path, kernelFile);
  return {
    source: {
      ...source,
      url: { ...source.url, joinToken: source.url.joinToken ?? joinToken },
      uniqueToken: uniqueToken ?? source.uniqueToken,
    },
    eventSink: eventSinkOf(request.events, documents?.link, kernelCommandLine ?? ''),
    kernelLogs: kernelLogsOf(request.kmsg, documents?.link, kernelCommandLine ?? ''),
  };
}

function noSource(config: string | undefined, kernelFile: string | undefined): AppError {
  const searched = [
    ...(config === undefined ? [] : [`${config} has no SideroLinkConfig`]),
    ...(kernelFile === undefined ? [] : [`${kernelFile} has no siderolink.api=`]),
  ];
  return usageError(
    `no gateway to join: ${searched.join(', ')}`,
    'give the URL that the gateway printed: culvert join "https://gateway.example/?jointoken=TOKEN"',
  );
}

function eventSinkOf(
  wanted: string | undefined,
  documents: LinkDocuments | undefined,
  kernelCommandLine: string,
): string | undefined {
  if (wanted !== undefined && wanted !== ON_GATEWAY) return wanted;
  const argument = kernelArgument(kernelCommandLine, 'talos.events.sink') || undefined;
  const configured =
    documents?.eventSink ?? (argument && eventTarget('kernel argument talos.events.sink', argument));
  return configured ?? wanted;
}

function kernelLogsOf(
  wanted: string | undefined,
  documents: LinkDocuments | undefined,
  kernelCommandLine: string,
): string[] {
  if (wanted !== undefined && wanted !== ON_GATEWAY) return [wanted];
  const argument = kernelArgument(kernelCommandLine, 'talos.logging.kernel') || undefined;
  const configured = [
    ...(argument === undefined ? [] : [logTarget('kernel argument talos.logging.kernel', argument)]),
    ...(documents?.kernelLogs ?? []),
  ];
  if (configured.length > 0) return [...new Set(configured)];
  return wanted === undefined ? [] : [wanted];
}

/** Throws AppError unless it is `host:port` or ON_GATEWAY. */
export function eventTarget(place: string, text: string): string {
  if (text === ON_GATEWAY || isEndpoint(text)) return text;
  throw configError(place, `expected HOST:PORT, got "${text}"`, 'write IPv6 addresses in brackets');
}

/** Throws AppError unless it is `tcp://host:port`, `udp://host:port` or ON_GATEWAY. */
export function logTarget(place: string, text: string): string {
  const match = /^(tcp|udp):\/\/([^/?#]+)\/?$/.exec(text);
  if (text === ON_GATEWAY || (match && isEndpoint(match[2] as string))) return text;
  throw configError(place, `expected tcp://HOST:PORT or udp://HOST:PORT, got "${text}"`);
}
