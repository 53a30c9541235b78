import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { systemRandom } from '../../core/random.ts';
import { parseRelayTarget } from '../../link/relay-server.ts';
import { addLogFlags, cliLogger, hushed, type LogFlags } from '../cli-log.ts';
import { standardScreen } from '../demo/screen.ts';
import { type FirstRun, showFirstRun } from '../first-run/first-run.ts';
import { createMemoryGuest, createProcessGuest } from '../first-run/guests.ts';
import {
  bracketed,
  type GatewayConfig,
  readServeFlags,
  SERVE_DEFAULTS,
  type ServeFlags,
} from '../gateway/config.ts';
import { isLackOfRights, openGateway, type OpenOptions } from '../gateway/open.ts';
import { ownAddress } from '../gateway/own-address.ts';
import { formatJoin, formatSummary, gatewaySummary } from '../gateway/print-out.ts';
import type { RunningGateway } from '../gateway/run.ts';
import { ENDING_SIGNALS, stopOnSignals } from '../gateway/signals.ts';
import { formatRelayHint, loadRelayToken } from '../relay/relay-token.ts';
import { invocation } from '../invocation.ts';
import { reportError } from '../report-error.ts';
import { announce, serviceManager } from '../sd-notify.ts';
import { ownSurroundings, prepareStateDirectory, stateDirectory } from '../state-directory.ts';
import { formatPairs } from '../table.ts';
import { version } from '../version.ts';

interface ServeCommandFlags extends ServeFlags, LogFlags {
  readonly relayTo?: string;
  /** The guided first run. */
  readonly demo?: boolean;
}

/** `culvert serve`, which is also `npm start`. */
export function configureServe(command: Command): void {
  addLogFlags(
    command
      .option(
        '--state <dir>',
        'keys, tokens and machines (root: /var/lib/culvert, else the XDG state directory)',
      )
      .option('--listen <[address]:port>', 'gRPC API', SERVE_DEFAULTS.listen)
      .option('--advertise <url>', 'where machines find the API (default: the address of this machine)')
      .option('--tls-cert <file>', 'certificate chain, PEM; read again when it changes')
      .option('--tls-key <file>', 'its key, PEM')
      .option('--wg-listen <port>', 'WireGuard UDP port', SERVE_DEFAULTS.wgListen)
      .option(
        '--wg-endpoint <host:port>',
        'where machines find WireGuard, preferred first; may be repeated (default: host of --advertise)',
        collect,
      )
      .option(
        '--tunnel <mode>',
        'WireGuard in gRPC: hint (as the machine asks), forced, forbidden',
        SERVE_DEFAULTS.tunnel,
      )
      .option(
        '--accept <mode>',
        'auto, or manual: new machines wait for "culvert machines accept"',
        SERVE_DEFAULTS.accept,
      )
      .option(
        '--join-tokens-mode <mode>',
        'strict, legacy-allowed or legacy, as in Omni',
        SERVE_DEFAULTS.joinTokensMode,
      )
      .option('--machine-limit <n>', 'most machines')
      .option('--rate-limit <n>', 'Provision calls a second from one address', SERVE_DEFAULTS.rateLimit)
      .option('--bandwidth-limit <mbit/s>', 'of all machines together')
      .option('--machine-bandwidth <mbit/s>', 'of each machine')
      .option('--event-port <port>', 'event sink on the overlay address, or none', SERVE_DEFAULTS.eventPort)
      .option('--log-port <port>', 'kernel logs on the overlay address, or none', SERVE_DEFAULTS.logPort)
      .option(
        '--metrics-listen <[address]:port>',
        '/metrics, /healthz, /readyz; or none',
        SERVE_DEFAULTS.metricsListen,
      )
      .option(
        '--metrics-token-file <file>',
        'whoever reads the metrics shows this token (Authorization: Bearer); a must beyond loopback',
      )
      .option('--http <[address]:port>', 'HTTP API and status page; or none', SERVE_DEFAULTS.http)
      .option(
        '--no-last-endpoint',
        'after a restart wait for machines instead of calling them where they were',
      )
      .option('--interface <name>', 'of the overlay', SERVE_DEFAULTS.interface)
      .option('--relay-to <udp://host:port>', 'let "culvert relay" reach this WireGuard server'),
  )
    .addOption(new Option('--demo', 'let two machines of its own join').hideHelp())
    .addOption(new Option('--no-demo').hideHelp())
    .addHelpText(
      'after',
      `
Examples:
  sudo culvert serve
  sudo culvert serve --advertise https://gateway.example --tls-cert chain.pem --tls-key key.pem --listen :443
  sudo culvert serve --wg-endpoint gateway.example:50180,192.0.2.1:50180
  sudo culvert serve --accept manual --join-tokens-mode strict
  sudo culvert serve --tunnel forced        for sites that let no UDP through
  sudo culvert serve --relay-to udp://10.0.0.1:51820        any WireGuard client, with "culvert relay" at its side

Needs no configuration: makes a key and a join token at its first start and prints how to join.
"culvert token show" prints that again, "culvert machines ls" who has joined. docs/GATEWAY.md has the rest.
Environment: CULVERT_JOIN_TOKEN (the first token, at the first start)`,
    )
    .action((flags: ServeCommandFlags) => serve(flags));
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** The state directory is named where the commands would look for another. */
function nextSteps(directory: string): string {
  const isDefault = directory === stateDirectory(undefined, ownSurroundings());
  const state = isDefault ? '' : ` --state ${directory}`;
  const steps = [
    ['page', 'address of the status page, signed in'],
    ['token show', 'how to join, again'],
    ['machines ls', 'who has joined'],
  ].map(([command = '', what = '']) => [`${invocation()} ${command}${state}`, what] as const);
  return `\n${formatPairs(steps)}`;
}

async function serve(flags: ServeCommandFlags): Promise<void> {
  // Whatever is made from here on is nobody else's to read.
  process.umask(0o077);
  const config = readServeFlags(flags, ownAddress);
  const target = flags.relayTo === undefined ? undefined : parseRelayTarget(flags.relayTo, '--relay-to');
  const isDemo = flags.demo === true;
  let isOnScreen = isDemo;
  const directory = chooseStateDirectory(flags);
  const relayToken = target && loadRelayToken(directory, systemRandom);
  const options: Omit<OpenOptions, 'overlay'> = {
    config,
    stateDirectory: directory,
    relay: target && relayToken !== undefined ? { target, token: relayToken } : undefined,
    initialToken: process.env['CULVERT_JOIN_TOKEN'] || undefined,
    logger: hushed(cliLogger(flags, config.interfaceName), () => isOnScreen),
  };
  const { gateway, overlay } = await open(options, isDemo);
  const service = serviceManager(process.env);
  let firstRun: FirstRun | undefined;
  stopOnSignals({
    stop: async (reason) => {
      await firstRun?.close();
      await gateway.stop(reason);
    },
  });
  announce(service, `serves ${config.interfaceName}`);
  process.stdout.write(formatSummary(gatewaySummary(gateway, config, directory, version())));
  firstRun = isDemo ? await tryFirstRun(gateway, config, overlay) : undefined;
  // A service manager's log is no place for a token at every start.
  const showsJoin = gateway.isFirstStart || process.stdout.isTTY || isDemo;
  if (showsJoin) process.stdout.write(`\n${formatJoin(gateway.admin.join(undefined, false))}`);
  if (relayToken !== undefined)
    process.stdout.write(`\n${formatRelayHint(config.apiUrl, relayToken, flags.relayTo ?? '')}`);
  process.stdout.write(nextSteps(directory));
  isOnScreen = false;
  const reason = await gateway.ended;
  if (ENDING_SIGNALS.some((signal) => signal === reason)) return;
  throw new AppError('io', `the gateway ended: ${reason}`);
}

/** As `npm start`, one that goes with the process will do where no other can be had. */
function chooseStateDirectory({ state, demo }: ServeCommandFlags): string {
  const surroundings = ownSurroundings();
  const directory = stateDirectory(state, surroundings);
  try {
    prepareStateDirectory(directory, surroundings.uid);
    return directory;
  } catch (error) {
    if (demo !== true || state !== undefined || !isLackOfRights(error)) throw error;
    const temporary = mkdtempSync(join(tmpdir(), 'culvert-'));
    process.once('exit', () => rmSync(temporary, { recursive: true, force: true }));
    return temporary;
  }
}

/** As `npm start`, a gateway in memory will do where no interface can be had. */
async function open(
  options: Omit<OpenOptions, 'overlay'>,
  isDemo: boolean,
): Promise<{ gateway: RunningGateway; overlay: OpenOptions['overlay'] }> {
  try {
    return { gateway: await openGateway({ ...options, overlay: 'interface' }), overlay: 'interface' };
  } catch (error) {
    if (!isDemo || !isLackOfRights(error)) throw error;
    process.stdout.write(
      `This user cannot make a network interface:\n` +
        `  ${reportError(error, 'culvert', process.env).text.trimEnd().replaceAll('\n', '\n  ')}\n` +
        'So this gateway has its interface in memory. Machines join it and their pings are\n' +
        'answered; reaching them from here, their events and their logs need the real one.\n\n',
    );
    return { gateway: await openGateway({ ...options, overlay: 'memory' }), overlay: 'memory' };
  }
}

/** The gateway serves whatever becomes of it. */
async function tryFirstRun(
  gateway: RunningGateway,
  config: GatewayConfig,
  overlay: OpenOptions['overlay'],
): Promise<FirstRun | undefined> {
  const screen = standardScreen();
  try {
    if (config.tls) throw new AppError('unavailable', 'with TLS two machines of its own would not trust it');
    const host = config.api.host ?? '127.0.0.1';
    const { joinUrl } = gateway.admin.join(undefined, false);
    const url = `grpc://${bracketed(host)}:${gateway.apiPort}${joinUrl.slice(joinUrl.indexOf('?'))}`;
    const createGuest = overlay === 'memory' ? createMemoryGuest : createProcessGuest;
    return await showFirstRun({ admin: gateway.admin, url, createGuest, screen });
  } catch (error) {
    screen.clear();
    process.stdout.write(`\nNo machines of its own: ${reportError(error, 'culvert', process.env).text}`);
    return undefined;
  }
}
