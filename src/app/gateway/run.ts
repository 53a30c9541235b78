/** A gateway as a whole: everything it consists of, started in the order that keeps machines, ended in the opposite one. */
import { Server } from '@grpc/grpc-js';
import type { Clock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import { formatAddress } from '../../core/ip.ts';
import type { Logger } from '../../core/log.ts';
import type { Random } from '../../core/random.ts';
import { SERVER_ADDRESS } from '../../link/addresses.ts';
import { Gateway } from '../../link/gateway.ts';
import { GrpcFront } from '../../link/grpc-front.ts';
import { SERVICE_OPTIONS } from '../../link/grpc-limits.ts';
import { Followers, type Journal } from '../../link/journal.ts';
import { addProvisionService } from '../../link/provision-service.ts';
import type { ProvisionSettings } from '../../link/provision-context.ts';
import type { RelayServer } from '../../link/relay-server.ts';
import { registrySources } from '../../link/source.ts';
import type { Store } from '../../link/store.ts';
import { StreamTable } from '../../link/stream-table.ts';
import { TlsFiles } from '../../link/tls-files.ts';
import { firstStart } from '../../link/token-admin.ts';
import type { PrivateKey } from '../../noise/keys.ts';
import type { AdminToken } from '../api/access.ts';
import { streamsView } from '../api/datapath-view.ts';
import { type GatewayApiServer, serveGatewayApi } from '../api/gateway-api.ts';
import { isLoopback, type ListenAddress as HttpAddress } from '../http/listen-address.ts';
import { gatewayMetrics } from '../metrics/gateway-metrics.ts';
import { serveMetrics } from '../metrics/device-server.ts';
import { processMetrics } from '../metrics/process-metrics.ts';
import { Admin } from './admin.ts';
import { AdminSocket } from './admin-socket.ts';
import type { LiveLookup } from './admin-views.ts';
import type { GatewayConfig } from './config.ts';
import { Housekeeping } from './housekeeping.ts';
import type { Overlay } from './overlay.ts';
import type { OpenReports, Reports } from './reports.ts';
import { Teardown } from './teardown.ts';

export interface GatewayParts {
  readonly config: GatewayConfig;
  /** Ours from here on: closed at the end, and when starting fails. So is the journal. */
  readonly store: Store;
  readonly journal: Journal;
  readonly openOverlay: (privateKey: PrivateKey) => Promise<Overlay>;
  readonly openReports: OpenReports;
  /** Serves `culvert relay`; undefined: nobody does. */
  readonly relay?: RelayServer | undefined;
  /** Undefined: no admin socket. */
  readonly adminSocket: string | undefined;
  /** HTTP API and status page; none when absent. */
  readonly http?: { readonly address: HttpAddress; readonly token: AdminToken } | undefined;
  /** Makes what is missing in an empty store; token-admin's when absent. */
  readonly firstStart?: typeof firstStart;
  /** For the first start; made up when absent. */
  readonly initialToken: string | undefined;
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface RunningGateway {
  readonly admin: Admin;
  readonly gateway: Gateway;
  readonly overlay: Overlay;
  readonly reports: Reports;
  readonly apiPort: number;
  /** Undefined: off. */
  readonly metricsPort: number | undefined;
  /** Server key and first token were made just now. */
  readonly isFirstStart: boolean;
  /** Resolves with the reason when everything has ended. */
  readonly ended: Promise<string>;
  /** Ends streams and device in good order and closes the store. Idempotent. */
  stop(reason: string): Promise<void>;
}

/** Machines that may wait for acceptance at the same time. */
const MAX_PENDING = 1_024;
/** How long clients may take to go when the gateway ends. */
const DRAIN_MS = 2_000;

/** Nothing is left behind when it rejects. */
export async function startGateway(parts: GatewayParts): Promise<RunningGateway> {
  const starting = new Starting(parts);
  try {
    return await starting.start();
  } catch (error) {
    await starting.undo();
    throw error;
  }
}

/** Peers, streams and the decisions about them. */
interface Core {
  readonly overlay: Overlay;
  readonly streams: StreamTable;
  readonly gateway: Gateway;
}

class Starting {
  readonly #parts: GatewayParts;
  readonly #startedAtMs: number;
  readonly #teardown = new Teardown();
  #isStopping = false;
  #pageUrl: string | undefined;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.clock.wall();
    this.#teardown.defer('store', () => parts.store.close());
    this.#teardown.defer('journal', () => parts.journal.close());
  }

  async start(): Promise<RunningGateway> {
    const { config, journal, clock, logger } = this.#parts;
    const { isFirstStart, serverKey } = await this.#prepareStore();
    const tls = config.tls && new TlsFiles(config.tls.certFile, config.tls.keyFile);
    const core = await this.#openCore(serverKey);
    const followers = new Followers();
    const resolve = registrySources(() => core.gateway.registry);
    const reports = await this.#parts.openReports({ clock, journal, followers, resolve });
    this.#teardown.defer('event sink and log receiver', () => reports.close());
    const front = this.#createFront(core, tls);
    const { port: apiPort } = await front.listen(config.api.host ?? '::', config.api.port);
    this.#teardown.defer('gRPC API', () => front.close(AbortSignal.timeout(DRAIN_MS)));
    const admin = this.#createAdmin(core, reports, followers);
    await this.#openAdminSocket(admin);
    const http = await this.#openHttp(core, admin, tls);
    const metricsPort = await this.#openMetrics(core, reports, front, admin);
    const housekeeping = new Housekeeping({
      gateway: core.gateway,
      journal,
      front,
      certificateUsers: http ? [front, http.server] : [front],
      tls,
      clock,
      logger,
    });
    housekeeping.start();
    this.#teardown.defer('housekeeping', () => housekeeping.stop());
    const { gateway, overlay } = core;
    return { admin, gateway, overlay, reports, apiPort, metricsPort, isFirstStart, ...this.#ending(overlay) };
  }

  undo(): Promise<void> {
    return this.#teardown.run((step, error) =>
      this.#parts.logger.log('error', 'shutdown_step_failed', { step, reason: String(error) }),
    );
  }

  #ending({ closed }: Overlay): Pick<RunningGateway, 'ended' | 'stop'> {
    let resolve: (reason: string) => void = () => {};
    const ended = new Promise<string>((settle) => (resolve = settle));
    const stop = async (reason: string): Promise<void> => {
      this.#isStopping = true;
      await this.undo();
      resolve(reason);
    };
    void closed.then((reason) => stop(reason));
    return { ended, stop };
  }

  async #prepareStore(): Promise<{ isFirstStart: boolean; serverKey: PrivateKey }> {
    const { store, random, clock, initialToken, firstStart: plan = firstStart } = this.#parts;
    const changes = plan(await store.load(), random, clock.wall(), initialToken);
    const conflict = changes.length === 0 ? undefined : await store.commit(changes);
    const { serverKey } = await store.load();
    if (conflict !== undefined || !serverKey) {
      throw new AppError('internal', `the store refused server key and first token: ${conflict ?? 'no key'}`);
    }
    return { isFirstStart: changes.length > 0, serverKey };
  }

  /** Afterwards every known peer is configured, and every virtual address allowed. */
  async #openCore(serverKey: PrivateKey): Promise<Core> {
    const { config, store, clock, random, logger } = this.#parts;
    const overlay = await this.#parts.openOverlay(serverKey);
    this.#teardown.defer('device', () => overlay.close('the gateway ends'));
    const streams = new StreamTable(overlay.sink);
    overlay.connect(streams);
    const gateway = await Gateway.start({
      store,
      device: overlay.device,
      streams,
      settings: provisionSettings(config, overlay.publicKey),
      clock,
      random,
      logger,
      rateLimit: config.provisionLimit,
      useLastEndpoints: config.usesLastEndpoints,
    });
    streams.onConnected = (publicKey) => gateway.streamOpened(publicKey);
    // Where machines were last heard from is where the next start finds them.
    this.#teardown.defer('last endpoints', () => gateway.sweep());
    return { overlay, streams, gateway };
  }

  #createFront({ gateway, streams }: Core, tls: TlsFiles | undefined): GrpcFront {
    const services = new Server(SERVICE_OPTIONS);
    addProvisionService(services, gateway);
    const { clock, relay, config } = this.#parts;
    const limits = { callRate: config.provisionLimit };
    return new GrpcFront({ clock, streams, services, relay, limits, tls: tls?.pair });
  }

  #createAdmin(core: Core, reports: Reports, followers: Followers): Admin {
    const { config, journal, clock, random, version } = this.#parts;
    const { overlay, streams, gateway } = core;
    const { eventPort, logPort } = reports;
    return new Admin({
      gateway,
      journal,
      followers,
      live: () => liveLookup(core),
      clock,
      random,
      join: { apiUrl: config.apiUrl, eventPort, logPort },
      status: () => ({
        version,
        started: new Date(this.#startedAtMs).toISOString(),
        interface: overlay.name,
        address: formatAddress(SERVER_ADDRESS),
        apiUrl: config.apiUrl,
        wireGuardEndpoints: config.wireGuardEndpoints,
        tunnel: config.tunnel,
        accept: config.accept,
        joinTokensMode: config.joinMode,
        page: this.#pageUrl ?? null,
        streams: streams.openStreams,
      }),
      onForgotten: (machine) => reports.forget(machine),
    });
  }

  async #openAdminSocket(admin: Admin): Promise<void> {
    const { adminSocket, logger } = this.#parts;
    if (adminSocket === undefined) return;
    const socket = new AdminSocket(adminSocket, admin, logger);
    await socket.listen();
    this.#teardown.defer('admin socket', () => socket.close());
  }

  async #openHttp(
    { overlay, streams }: Core,
    admin: Admin,
    tls: TlsFiles | undefined,
  ): Promise<GatewayApiServer | undefined> {
    const { http, clock, logger } = this.#parts;
    if (!http) return undefined;
    const api = await serveGatewayApi({
      ...http,
      // On loopback nobody listens in, and no certificate has its name.
      tls: isLoopback(http.address.host) ? undefined : tls?.pair,
      admin,
      datapath: () => ({
        device: overlay.view(),
        streams: streamsView(streams.counters, streams.openStreams),
      }),
      clock,
      logger,
    });
    this.#teardown.defer('HTTP API', () => api.server.close());
    this.#pageUrl = api.url;
    return api;
  }

  async #openMetrics(
    { overlay, streams, gateway }: Core,
    { events, logs }: Reports,
    front: GrpcFront,
    admin: Admin,
  ): Promise<number | undefined> {
    const { config } = this.#parts;
    if (!config.metrics) return undefined;
    const problems = () => [
      ...(this.#isStopping ? ['the gateway is shutting down'] : []),
      ...(gateway.storeProblem ? [gateway.storeProblem.message] : []),
      ...(overlay.isUp() ? [] : [`interface ${overlay.name} is down`]),
    ];
    const registry = gatewayMetrics({
      provisions: gateway.counters,
      streams: streams.counters,
      openStreams: () => streams.openStreams,
      connections: () => front.connections,
      events,
      logs,
      machines: () => admin.machines(),
      isReady: () => problems().length === 0,
    });
    const ofProcess = processMetrics();
    const collect = async (): Promise<readonly Buffer[]> => [
      Buffer.from(await registry.metrics()),
      ...(await overlay.metrics()),
      Buffer.from(await ofProcess()),
    ];
    const server = await serveMetrics(config.metrics, { collect, problems });
    this.#teardown.defer('metrics', () => server.close());
    return server.address.port;
  }
}

function liveLookup({ overlay, streams }: Core): LiveLookup {
  const traffic = overlay.traffic();
  return (publicKey) => {
    const peer = overlay.device.peer(publicKey);
    const bytes = traffic.get(publicKey) ?? { rxBytes: 0, txBytes: 0 };
    return peer && { ...peer, ...bytes, isStreamOpen: streams.isOpen(publicKey) };
  };
}

function provisionSettings(config: GatewayConfig, serverPublicKey: string): ProvisionSettings {
  return {
    joinMode: config.joinMode,
    accept: config.accept,
    // Giving a machine a unique token takes its management API; without that, its UUID has to do.
    requireUniqueToken: false,
    pinUniqueTokens: true,
    tunnel: config.tunnel,
    endpoints: config.wireGuardEndpoints,
    serverPublicKey,
    maxMachines: config.machineLimit,
    maxPending: MAX_PENDING,
    predefinedAddresses: config.predefinedAddresses,
  };
}
