import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { systemRandom } from '../../core/random.ts';
import { hushed, openLog } from '../cli-log.ts';
import { addConfigOption, SYSTEM_FILE } from '../config/config-file.ts';
import { addSettings } from '../config/setting.ts';
import { ownSources, type Sources } from '../config/sources.ts';
import { standardScreen } from '../demo/screen.ts';
import { type FirstRun, showFirstRun } from '../first-run/first-run.ts';
import { createMemoryGuest, createProcessGuest } from '../first-run/guests.ts';
import { bracketed, firstToken, type GatewayConfig, gatewayConfig } from '../gateway/config.ts';
import { isLackOfRights, openGateway, type OpenOptions } from '../gateway/open.ts';
import { ownAddress } from '../gateway/own-address.ts';
import { formatJoin, formatSummary, gatewaySummary } from '../gateway/print-out.ts';
import { gatewayReload } from '../gateway/reload.ts';
import type { RunningGateway } from '../gateway/run.ts';
import { readServeSettings, SERVE_KIND, SERVE_SETTINGS } from '../gateway/settings.ts';
import { formatRelayHint, loadRelayToken } from '../relay/relay-token.ts';
import { invocation } from '../invocation.ts';
import { reportError } from '../report-error.ts';
import { announce, serviceManager } from '../sd-notify.ts';
import { ENDING_SIGNALS, stopOnSignals } from '../signals.ts';
import { ownSurroundings, prepareStateDirectory, stateDirectory } from '../state-directory.ts';
import { formatPairs } from '../table.ts';
import { version } from '../version.ts';

interface ServeCommandFlags {
  readonly config?: string;
  /** The guided first run. */
  readonly demo?: boolean;
}

/** `culvert serve`, which is also `npm start`. */
export function configureServe(command: Command): void {
  addConfigOption(command, `a YAML file with a ${SERVE_KIND}`);
  addSettings(command, SERVE_SETTINGS)
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

Everything can also stand in a file (examples/config.yaml has every key) or in the environment. Flags count before the environment,
that before the file, ${SYSTEM_FILE} where it exists. "culvert check FILE" says what is in effect; "culvert reload", and SIGHUP to
a gateway without a terminal, apply what has changed in it and keep every session.

Needs no configuration: makes a key and a join token at its first start and prints how to join.
"culvert token show" prints that again, "culvert machines ls" who has joined. docs/GATEWAY.md has the rest.
Environment: CULVERT_JOIN_TOKEN (the first token, at the first start)`,
    )
    .action((flags: ServeCommandFlags) => serve(flags, ownSources(command, SERVE_SETTINGS, flags.config)));
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

async function serve({ demo }: ServeCommandFlags, sources: Sources): Promise<void> {
  // Whatever is made from here on is nobody else's to read.
  process.umask(0o077);
  const read = () => readServeSettings(sources);
  const settings = readServeSettings(sources, (text) => process.stderr.write(`culvert: warning: ${text}\n`));
  const { values } = settings;
  const config = gatewayConfig(settings, ownAddress);
  const isDemo = demo === true;
  let isOnScreen = isDemo;
  const directory = chooseStateDirectory(values.state, isDemo);
  const relayToken = values.relayTo && loadRelayToken(directory, systemRandom);
  const log = openLog(values, config.interfaceName);
  const reload = gatewayReload({ settings, read, directory, log });
  const options: Omit<OpenOptions, 'overlay'> = {
    config,
    stateDirectory: directory,
    relay:
      values.relayTo && relayToken !== undefined
        ? { target: values.relayTo.target, token: relayToken }
        : undefined,
    initialToken: () => firstToken(settings),
    reload,
    logger: hushed(log.logger, () => isOnScreen),
  };
  const { gateway, overlay } = await open(options, isDemo);
  const service = serviceManager(process.env);
  let firstRun: FirstRun | undefined;
  stopOnSignals(
    {
      stop: async (reason) => {
        await firstRun?.close();
        await gateway.stop(reason);
      },
    },
    // What went wrong is in the log.
    () => void reload(gateway).catch(() => {}),
  );
  announce(service, `serves ${config.interfaceName}`);
  process.stdout.write(formatSummary(gatewaySummary(gateway, config, directory, version())));
  firstRun = isDemo ? await tryFirstRun(gateway, config, overlay) : undefined;
  // A service manager's log is no place for a token at every start.
  const showsJoin = gateway.isFirstStart || process.stdout.isTTY || isDemo;
  if (showsJoin) process.stdout.write(`\n${formatJoin(gateway.admin.join(undefined, false))}`);
  if (relayToken !== undefined)
    process.stdout.write(`\n${formatRelayHint(config.apiUrl, relayToken, values.relayTo?.text ?? '')}`);
  process.stdout.write(nextSteps(directory));
  isOnScreen = false;
  const reason = await gateway.ended;
  if (ENDING_SIGNALS.some((signal) => signal === reason)) return;
  throw new AppError('io', `the gateway ended: ${reason}`);
}

/** As `npm start`, one that goes with the process will do where no other can be had. */
function chooseStateDirectory(state: string | undefined, isDemo: boolean): string {
  const surroundings = ownSurroundings();
  const directory = stateDirectory(state, surroundings);
  try {
    prepareStateDirectory(directory, surroundings.uid);
    return directory;
  } catch (error) {
    if (!isDemo || state !== undefined || !isLackOfRights(error)) throw error;
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
