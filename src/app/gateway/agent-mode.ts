/**
 * A gateway that behaves as siderolink-agent does: state in memory, one static token or none, every event acknowledged
 * and forgotten, kernel logs printed, machines dropped 275 s after their last handshake.
 */
import { formatAddress, parseAddress } from '../../core/ip.ts';
import { systemClock } from '../../core/clock.ts';
import type { Logger } from '../../core/log.ts';
import { systemRandom } from '../../core/random.ts';
import { LINK_NAME, PEER_DOWN_AFTER } from '../../link/constants.ts';
import type { Journal, NewEntry } from '../../link/journal.ts';
import { LogReceiver } from '../../link/log-receiver.ts';
import { MemoryStore } from '../../link/memory-store.ts';
import { PrivateKey } from '../../noise/keys.ts';
import type { firstStart } from '../../link/token-admin.ts';
import { newToken } from '../../link/token-admin.ts';
import { readLogLine } from '../../link/log-line.ts';
import { formatListen } from '../flag-values.ts';
import { version } from '../version.ts';
import type { AgentConfig } from './agent-flags.ts';
import type { GatewayConfig } from './config.ts';
import { openDeviceOverlay } from './device-overlay.ts';
import type { OpenReports, Reports } from './reports.ts';
import { type RunningGateway, startGateway } from './run.ts';
import { serveEvents, serveLogs, type Service } from './services.ts';

const SWEEP_INTERVAL_MS = 10_000;
/** The original has none; this keeps one caller from keeping the rest out. */
const PROVISION_LIMIT = { perSecond: 1_000, burst: 10_000 };

export async function startAgentMode(
  config: AgentConfig,
  logger: Logger,
  print: (line: string) => void,
  interfaceName: string = LINK_NAME,
): Promise<RunningGateway> {
  const running = await startGateway({
    config: gatewayConfig(config, interfaceName),
    store: new MemoryStore(),
    journal: printingJournal(() => {}),
    openOverlay: (privateKey) =>
      openDeviceOverlay({
        interfaceName,
        port: config.wireGuardPort,
        bandwidth: undefined,
        privateKey,
        logger,
      }),
    openReports: printingReports(config, print),
    adminSocket: undefined,
    firstStart: keyAndToken,
    initialToken: () => config.joinToken,
    version: version(),
    clock: systemClock,
    random: systemRandom,
    logger,
  });
  const sweep = setInterval(() => void dropDead(running, logger), SWEEP_INTERVAL_MS);
  void running.ended.then(() => clearInterval(sweep));
  return running;
}

function gatewayConfig(config: AgentConfig, interfaceName: string): GatewayConfig {
  return {
    interfaceName,
    api: config.api,
    tls: config.tls,
    // Nobody is told where to join: whoever starts the machines knows.
    apiUrl: `${config.tls ? 'https' : 'grpc'}://${formatListen(config.api)}`,
    wireGuardPort: config.wireGuardPort,
    wireGuardEndpoints: [config.wireGuardEndpoint],
    tunnel: 'hint',
    accept: 'auto',
    joinMode: 'agent',
    machineLimit: undefined,
    provisionLimit: PROVISION_LIMIT,
    bandwidth: undefined,
    metrics: undefined,
    usesLastEndpoints: false,
    predefinedAddresses: config.predefinedAddresses,
  };
}

/** A new key at every start; without a token everybody may join. */
const keyAndToken: typeof firstStart = (_contents, random, wallMs, token) => {
  const key = { kind: 'set_server_key' as const, privateKey: PrivateKey.generate(random) };
  if (token === undefined) return [key];
  const record = newToken({ name: 'join token', token }, random, wallMs);
  return [
    key,
    { kind: 'put_token', record, before: undefined },
    { kind: 'set_default_token', token: record.token },
  ];
};

async function dropDead({ admin, overlay }: RunningGateway, logger: Logger): Promise<void> {
  for (const { id, publicKey } of admin.machines()) {
    const ageMs = overlay.device.peer(publicKey)?.handshakeAgeMs ?? Infinity;
    // One that never got through may still do so.
    if (!Number.isFinite(ageMs) || ageMs < PEER_DOWN_AFTER) continue;
    try {
      await admin.remove(publicKey);
      logger.log('info', 'machine_dropped', { machine: id, reason: 'no handshake for 275 s' });
    } catch (error) {
      logger.log('error', 'machine_not_dropped', { machine: id, reason: String(error) });
    }
  }
}

function printingReports(config: AgentConfig, print: (line: string) => void): OpenReports {
  return async ({ clock, followers }): Promise<Reports> => {
    const events = {
      accepted: 0,
      dropped: { unknown_source: 0, oversize: 0 },
      postponed: { pending: 0, rate_limit: 0 },
    };
    const logs = new LogReceiver({
      clock,
      followers,
      journal: printingJournal(({ machine, body }) => {
        const { level, message } = readLogLine(body);
        print([machine, level, message.trimEnd()].filter((part) => part !== '').join(' '));
      }),
      // Whoever reaches the port may write; the address is the name.
      resolve: (source) => {
        const address = parseAddress(source.replace(/%.*$/, ''));
        return { kind: 'machine', id: address ? formatAddress(address) : source };
      },
    });
    const services: Service[] = [];
    const close = async (): Promise<void> => {
      await Promise.all(services.map((service) => service.close()));
    };
    try {
      const sink = {
        publish: () => {
          events.accepted++;
          return undefined;
        },
      };
      const { eventSink, logReceiver } = config;
      if (eventSink) services.push(await serveEvents(sink, eventSink.host ?? '::', eventSink.port));
      if (logReceiver) services.push(await serveLogs(logs, logReceiver.host ?? '::', logReceiver.port));
    } catch (error) {
      await close();
      throw error;
    }
    return {
      events,
      logs: logs.counters,
      eventPort: config.eventSink?.port,
      logPort: config.logReceiver?.port,
      forget: (machine) => logs.forget(machine),
      close,
    };
  };
}

/** Keeps nothing. */
function printingJournal(append: (entry: NewEntry) => void): Journal {
  return {
    append,
    flush: () => {},
    tail: () => [],
    forget: () => {},
    sweep: () => {},
    close: () => {},
  };
}
