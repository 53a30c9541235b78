/** The stand-in for wireguard-go: its command line, environment, life cycle and log lines. */
import { openSync } from 'node:fs';
import { usageError } from '../core/errors.ts';
import type { LogLevel, Logger } from '../core/log.ts';
import { DaemonFailed, startDaemon, type Starter, takeStarter } from './daemonize.ts';
import { createLogger, levelFromEnvironment, writerTo } from './log.ts';
import { reportError } from './report-error.ts';
import type { startDevice } from './runtime.ts';
import { type OpenDevice, type ServeOptions, serveDevice } from './serve-device.ts';
import { stopOnSignals } from './signals.ts';
import { version } from './version.ts';

const PROGRAM = 'culvert-go';
export const USAGE: string = `Usage: ${PROGRAM} [-f|--foreground] INTERFACE
       ${PROGRAM} --version

Starts a WireGuard device in the background and returns when wg(8) can configure it. Stands in for wireguard-go:
  WG_QUICK_USERSPACE_IMPLEMENTATION=${PROGRAM} wg-quick up wg0

Environment:
  LOG_LEVEL, WG_LOG_LEVEL   verbose, error (default) or silent
  WG_LOG_FILE               append log lines to this file
  WG_PROCESS_FOREGROUND=1   same as --foreground
  WG_TUN_FD, WG_UAPI_FD     descriptors of a TUN device and a listening UAPI socket to take over
  CULVERT_METRICS           serve Prometheus metrics there: 127.0.0.1:9586, or a port on loopback
  CULVERT_METRICS_COMPAT    mindflavor: its names, too
  CULVERT_METRICS_PER_PEER  auto (up to 2000 peers), on or off
  CULVERT_HTTP              serve a status page there: 127.0.0.1:9587; "culvert page INTERFACE" opens it
`;

export type GoCommand =
  | { readonly kind: 'version' }
  | { readonly kind: 'help' }
  | { readonly kind: 'run'; readonly interfaceName: string; readonly isForeground: boolean };

/** Throws a usage error. */
export function parseGoArguments(args: readonly string[]): GoCommand {
  if (args.length === 1 && args[0] === '--version') return { kind: 'version' };
  if (args.length === 1 && (args[0] === '--help' || args[0] === '-h')) return { kind: 'help' };
  const isForeground = args[0] === '-f' || args[0] === '--foreground';
  const [interfaceName, ...rest] = isForeground ? args.slice(1) : args;
  if (interfaceName === undefined || interfaceName === '' || rest.length > 0)
    throw usageError('expected one interface name');
  if (interfaceName.startsWith('-')) throw usageError(`unknown option ${interfaceName}`);
  return { kind: 'run', interfaceName, isForeground };
}

export interface GoEnvironment {
  readonly env: NodeJS.ProcessEnv;
  /** Program and arguments that start this very program again, without the user's arguments. */
  readonly command: readonly [string, ...string[]];
  readonly loadDevice: () => Promise<Pick<ServeOptions, 'openDevice' | 'zones' | 'uapiDirectory'>>;
}

const systemEnvironment = (): GoEnvironment => ({
  env: process.env,
  command: [process.execPath, ...process.execArgv, ...process.argv.slice(1, 2)],
  // Loaded only by the process that runs the device.
  loadDevice: async () => {
    const [{ startDevice }, { systemZones }] = await Promise.all([
      import('./runtime.ts'),
      import('./zones.ts'),
    ]);
    return { openDevice: await opener(startDevice), zones: systemZones };
  },
});

/** Runs one command line and returns the exit code: 0 done, 1 failed, 2 wrong usage. */
export async function main(
  args: readonly string[],
  environment: GoEnvironment = systemEnvironment(),
): Promise<number> {
  const { env } = environment;
  const starter = takeStarter(env);
  const fail = (error: unknown, usage: string) => {
    const { text, exitCode } = reportError(error, PROGRAM, env);
    if (starter) starter.failed(text + usage);
    else process.stderr.write(text + usage);
    return exitCode;
  };
  let command: GoCommand;
  try {
    command = parseGoArguments(args);
  } catch (error) {
    return fail(error, `\n${USAGE}`);
  }
  try {
    switch (command.kind) {
      case 'version':
        process.stdout.write(`${PROGRAM} ${version()}\n\nUserspace WireGuard daemon of Culvert.\n`);
        return 0;
      case 'help':
        process.stdout.write(USAGE);
        return 0;
      case 'run':
        if (starter || command.isForeground || env['WG_PROCESS_FOREGROUND'] === '1')
          return await serve(command.interfaceName, environment, starter);
        await startDaemon({ command: [...environment.command, ...args], env, keepsOutput: keepsOutput(env) });
        return 0;
      default:
        return command satisfies never;
    }
  } catch (error) {
    // The daemon said it in full.
    if (!(error instanceof DaemonFailed) || error.text === '') return fail(error, '');
    process.stderr.write(error.text);
    return 1;
  }
}

/** Commander and HTTP servers cost time at every start; most devices want neither. */
async function opener(start: typeof startDevice): Promise<OpenDevice> {
  const { env } = process;
  if ((env['CULVERT_METRICS'] ?? '') === '' && (env['CULVERT_HTTP'] ?? '') === '') return start;
  const [{ deviceOpener }, { metricsFlagsOf, readMetricsFlags }, { pageFlagOf, readPageFlag }] =
    await Promise.all([
      import('./device-services.ts'),
      import('./metrics/metrics-options.ts'),
      import('./api/page-flag.ts'),
    ]);
  const metrics = readMetricsFlags(metricsFlagsOf(env));
  return deviceOpener({ metrics, page: readPageFlag(pageFlagOf(env)) }, start);
}

/** As wireguard-go: a daemon speaks where it was started only when LOG_LEVEL says so. */
function keepsOutput(env: NodeJS.ProcessEnv): boolean {
  return (env['LOG_LEVEL'] ?? '') !== '' && levelFromEnvironment(env) !== 'silent';
}

async function serve(
  interfaceName: string,
  { env, loadDevice }: GoEnvironment,
  starter: Starter | undefined,
): Promise<number> {
  const logger = goLogger(interfaceName, env);
  const tunFd = descriptor(env, 'WG_TUN_FD');
  const uapiFd = descriptor(env, 'WG_UAPI_FD');
  const served = await serveDevice({
    ...(await loadDevice()),
    name: interfaceName,
    ...(tunFd === undefined ? {} : { tunFd }),
    ...(uapiFd === undefined ? {} : { uapiFd }),
    logger,
  });
  stopOnSignals(served);
  logger.log('info', 'device_started');
  starter?.ready();
  await served.ended;
  return 0;
}

function goLogger(interfaceName: string, env: NodeJS.ProcessEnv): Logger {
  const file = env['WG_LOG_FILE'] ?? '';
  const level: LogLevel | 'silent' = levelFromEnvironment(env);
  return createLogger({
    format: 'wireguard-go',
    level,
    isColoured: false,
    write: writerTo(file === '' ? 1 : openSync(file, 'a', 0o600)),
    now: () => new Date(),
    interfaceName,
  });
}

function descriptor(env: NodeJS.ProcessEnv, name: string): number | undefined {
  const text = env[name] ?? '';
  if (text === '') return undefined;
  if (!/^\d{1,6}$/.test(text)) throw usageError(`${name}=${text}: expected the number of a descriptor`);
  return Number(text);
}
