import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemRandom } from '../../core/random.ts';
import { readProxySettings } from '../../link/proxy.ts';
import { type JoinSettings, joinSettings } from '../agent/join-settings.ts';
import { type JoinedMachine, joinGateway } from '../agent/join.ts';
import { loadIdentity } from '../agent/machine-identity.ts';
import { joinReload } from '../agent/reload.ts';
import { JOIN_KIND, JOIN_SETTINGS, type JoinOrder, readJoinOrder } from '../agent/settings.ts';
import { TrustStore } from '../agent/trust.ts';
import { mutedLog, openLog } from '../cli-log.ts';
import { addConfigOption, SYSTEM_FILE } from '../config/config-file.ts';
import { addSettings } from '../config/setting.ts';
import { ownSources, type Sources } from '../config/sources.ts';
import { detach, type Starter, takeStarter } from '../daemonize.ts';
import { serveReload } from '../reload-socket.ts';
import { reportError } from '../report-error.ts';
import { announce, serviceManager } from '../sd-notify.ts';
import { stopOnSignals } from '../signals.ts';

interface JoinCommandFlags {
  readonly config?: string;
  readonly detach?: true;
}

/** A gateway that is away keeps nobody's boot waiting for longer. */
const DETACH_AFTER_MS = 30_000;

/** `culvert join URL`: the machine's side of SideroLink. */
export function configureJoin(command: Command): void {
  addConfigOption(
    command,
    `a YAML file with a ${JOIN_KIND}, a SideroLinkConfig or both; a Talos config will do`,
  );
  addSettings(command, JOIN_SETTINGS)
    .argument('[url]', 'what the gateway printed: https://gateway.example/?jointoken=TOKEN')
    .option('-d, --detach', 'return when connected, or after 30 s, and go on in the background')
    .addHelpText(
      'after',
      `
Examples:
  culvert join "https://gateway.example/?jointoken=TOKEN"
  culvert join "https://gateway.example/?jointoken=TOKEN" --transport grpc -d
  culvert join "grpc://10.0.0.1:8090/?jointoken=TOKEN"        without TLS
  culvert join --config machine.yaml --kmsg --events          SideroLinkConfig of a Talos configuration
  culvert join --kernel-args                                  siderolink.api= of this machine's kernel
  culvert join URL --expose 127.0.0.1:22 --expose 8080=[::1]:80
  culvert join URL --on-up 'logger "$CULVERT_INTERFACE is up: $CULVERT_ADDRESS over $CULVERT_TRANSPORT"'
  HTTPS_PROXY=http://proxy.example:3128 culvert join URL      also socks5://, with NO_PROXY

Hooks find CULVERT_EVENT, CULVERT_INTERFACE, CULVERT_ADDRESS, CULVERT_SERVER_ADDRESS, CULVERT_TRANSPORT, CULVERT_GATEWAY and
CULVERT_UUID in their environment.

Everything can also stand in a file (examples/config.yaml has every key) or in the environment. Flags count before the environment,
that before the file, ${SYSTEM_FILE} where it exists. "culvert check FILE" says what is in effect; "culvert reload INTERFACE", and
SIGHUP to a program without a terminal, apply what has changed in it and keep the session.

Environment: CULVERT_JOIN_URL, CULVERT_JOIN_TOKEN, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, WG_LOG_FILE`,
    )
    .action(async (url: string | undefined, flags: JoinCommandFlags) => {
      const starter = takeStarter(process.env);
      const sources = joinSources(command, url, flags.config);
      // The starter of a daemon has said it.
      const order = readJoinOrder(sources, (text) => {
        if (!starter) process.stderr.write(`culvert: warning: ${text}\n`);
      });
      const settings = joinSettings(order.settings, order.inputs.source.url.wantsTunnel);
      if (flags.detach === true && !starter) {
        await detach();
        return;
      }
      try {
        await run(order, settings, sources, starter);
      } catch (error) {
        if (!starter) throw error;
        starter.failed(reportError(error, 'culvert', process.env).text);
        process.exitCode = 1;
      }
    });
}

function joinSources(command: Command, url: string | undefined, config: string | undefined): Sources {
  const sources = ownSources(command, JOIN_SETTINGS, config);
  if (url === undefined) return sources;
  return { ...sources, flags: new Map([...sources.flags, ['url', { texts: [url], place: 'join URL' }]]) };
}

async function run(
  order: JoinOrder,
  settings: JoinSettings,
  sources: Sources,
  starter: Starter | undefined,
): Promise<void> {
  const { inputs } = order;
  const service = serviceManager(process.env);
  // A daemon's standard error is closed, so it logs to WG_LOG_FILE or not at all.
  const isMute = starter !== undefined && (process.env['WG_LOG_FILE'] ?? '') === '';
  const log = isMute ? mutedLog : openLog(order.settings.values, settings.interfaceName);
  const { logger } = log;
  const warn = (text: string) => {
    const line = `culvert: warning: ${text}\n`;
    if (starter) starter.note(line);
    else process.stderr.write(line);
  };
  const machine = await joinGateway({
    inputs,
    settings,
    identity: loadIdentity({
      ...settings,
      documentToken: inputs.source.uniqueToken,
      random: systemRandom,
      warn,
    }),
    trust: new TrustStore(settings.caFiles, process.env),
    proxies: readProxySettings(process.env),
    logger,
  });
  const reload = joinReload({ order, read: () => readJoinOrder(sources), machine, log });
  await serveReload(settings.interfaceName, reload, { ended: machine.ended, logger });
  // What went wrong is in the log.
  stopOnSignals(machine, () => void reload().catch(() => {}));
  // A gateway that does not answer yet is asked again: that is serving, too.
  announce(service, `${settings.interfaceName} is up`);
  if (starter) await letGo(starter, machine);
  await machine.ended;
}

async function letGo(starter: Starter, machine: JoinedMachine): Promise<void> {
  const late = new AbortController();
  await Promise.race([
    machine.connected,
    machine.ended,
    sleep(DETACH_AFTER_MS, undefined, { signal: late.signal }).catch(() => {}),
  ]);
  late.abort();
  const { isConnected, problem } = machine.status();
  if (!isConnected)
    starter.note(`culvert: not connected yet: ${problem ?? 'no answer'}; goes on trying in the background\n`);
  starter.ready();
}
