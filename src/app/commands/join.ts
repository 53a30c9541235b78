import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLogger } from '../../core/log.ts';
import { systemRandom } from '../../core/random.ts';
import { readProxySettings } from '../../link/proxy.ts';
import { DEFAULT_STREAMS, type JoinFlags, readJoinFlags, STATE_DIRECTORY } from '../agent/join-settings.ts';
import { type JoinInputs, readJoinInputs } from '../agent/join-sources.ts';
import { type JoinedMachine, joinGateway } from '../agent/join.ts';
import { loadIdentity } from '../agent/machine-identity.ts';
import { TrustStore } from '../agent/trust.ts';
import { addLogFlags, cliLogger, type LogFlags } from '../cli-log.ts';
import { detach, type Starter, takeStarter } from '../daemonize.ts';
import { reportError } from '../report-error.ts';
import { announce, serviceManager } from '../sd-notify.ts';
import { stopOnSignals } from '../serve-device.ts';

interface JoinCommandFlags extends JoinFlags, LogFlags {
  readonly detach?: true;
}

/** A gateway that is away keeps nobody's boot waiting for longer. */
const DETACH_AFTER_MS = 30_000;

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** `culvert join URL`: the machine's side of SideroLink. */
export function configureJoin(command: Command): void {
  addLogFlags(command)
    .argument('[url]', 'what the gateway printed: https://gateway.example/?jointoken=TOKEN')
    .option(
      '--config <file>',
      'YAML documents: SideroLinkConfig, EventSinkConfig, KmsgLogConfig; a Talos config will do',
    )
    .option(
      '--kernel-args [file]',
      'read siderolink.api= from a kernel command line (default: /proc/cmdline)',
    )
    .option(
      '--transport <kind>',
      'auto: UDP first, the tunnel when UDP does not answer; udp; grpc (default: auto)',
    )
    .option(
      '--streams <count>',
      `streams in the tunnel, with gateways that know more than one (default: ${DEFAULT_STREAMS})`,
    )
    .option(
      '--interface <name>',
      'name of the interface (default: siderolink, siderolinktun with --transport grpc)',
    )
    .option('--ca <file>', 'trust the certificates of this PEM file too; may be repeated', collect)
    .option('--state <dir>', `where UUID and unique token are kept (default: ${STATE_DIRECTORY})`)
    .option('--uuid <uuid>', "the machine's UUID (default: the kept one, that of the firmware, a new one)")
    .option('--key-file <file>', 'keep the WireGuard key here; without it each start has a new one')
    .option(
      '--expose <[port=]host:port>',
      'publish a TCP service on the overlay address only; may be repeated',
      collect,
    )
    .option('--open-firewall', 'accept what comes over the interface in nftables, until it goes down')
    .option('--kmsg [url]', "send kernel log lines (default: to the gateway's tcp port 8092)")
    .option('--events [host:port]', "send life cycle events (default: to the gateway's port 8090)")
    .option('--on-up <command>', 'run when the gateway answers')
    .option('--on-down <command>', 'run when it does not any more')
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

Environment: HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, WG_LOG_FILE`,
    )
    .action(async (url: string | undefined, flags: JoinCommandFlags) => {
      const starter = takeStarter(process.env);
      const inputs = readJoinInputs(url, flags);
      if (flags.detach === true && !starter) {
        readJoinFlags(flags, inputs.source.url.wantsTunnel);
        await detach();
        return;
      }
      try {
        await run(inputs, flags, starter);
      } catch (error) {
        if (!starter) throw error;
        starter.failed(reportError(error, 'culvert', process.env).text);
        process.exitCode = 1;
      }
    });
}

async function run(inputs: JoinInputs, flags: JoinCommandFlags, starter: Starter | undefined): Promise<void> {
  const settings = readJoinFlags(flags, inputs.source.url.wantsTunnel);
  const service = serviceManager(process.env);
  // A daemon's standard error is closed, so it logs to WG_LOG_FILE or not at all.
  const isMute = starter !== undefined && (process.env['WG_LOG_FILE'] ?? '') === '';
  const logger = isMute ? silentLogger : cliLogger(flags, settings.interfaceName);
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
  stopOnSignals(machine);
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
