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
import type { RelayServer } from '../../link/relay-server.ts';
import { registrySources } from '../../link/source.ts';
import type { Store } from '../../link/store.ts';
import { StreamTable } from '../../link/stream-table.ts';
import { TlsFiles, type TlsPair } from '../../link/tls-files.ts';
import { firstStart } from '../../link/token-admin.ts';
import type { PrivateKey } from '../../noise/keys.ts';
import type { ReloadReport } from '../config/reload.ts';
import { Admin } from './admin.ts';
import { AdminSocket } from './admin-socket.ts';
import type { LiveLookup } from './admin-views.ts';
import type { GatewayConfig } from './config.ts';
import { Housekeeping } from './housekeeping.ts';
import {
  type HttpPart,
  LiveConfig,
  type LiveSettings,
  provisionSettings,
  type UnappliedPart,
} from './live-config.ts';
import { type HttpServer, httpServer, metricsServer } from './operator-servers.ts';
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
  readonly http?: HttpPart | undefined;
  /** Reads the configuration again; none can be read when absent. */
  readonly reload?: (gateway: Reconfigurable) => Promise<ReloadReport>;
  /** Makes what is missing in an empty store; token-admin's when absent. */
  readonly firstStart?: typeof firstStart;
  /** Asked at the first start; made up when there is none. */
  readonly initialToken: () => string | undefined;
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface Reconfigurable {
  /** Applies what is another than before; sessions live on. Resolves to what stayed as it was, and why. */
  reconfigure(next: LiveSettings): Promise<ReadonlyMap<UnappliedPart, AppError>>;
}

export interface RunningGateway extends Reconfigurable {
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
  readonly #live: LiveConfig;
  #isStopping = false;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.clock.wall();
    this.#live = new LiveConfig({ config: parts.config, http: parts.http });
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
    const operated = { ...core, reports, front, tls, admin: () => admin, clock, logger };
    const http = httpServer(operated);
    const metrics = metricsServer({ ...operated, isStopping: () => this.#isStopping });
    const setCertificate = (pair: TlsPair): void => {
      front.setCertificate(pair);
      http.server?.setCertificate(pair);
    };
    const { gateway, overlay } = core;
    const reconfigure: Reconfigurable['reconfigure'] = (next) =>
      this.#live.apply(next, { gateway, front, overlay, tls, setCertificate, http, metrics });
    const admin = this.#createAdmin(core, reports, followers, http, { reconfigure });
    await this.#openAdminSocket(admin);
    this.#teardown.defer('HTTP API', () => http.close());
    await http.use(this.#parts.http);
    this.#teardown.defer('metrics', () => metrics.close());
    await metrics.use(config.metrics);
    const housekeeping = new Housekeeping({ gateway, journal, front, setCertificate, tls, clock, logger });
    housekeeping.start();
    this.#teardown.defer('housekeeping', () => housekeeping.stop());
    return {
      admin,
      gateway,
      overlay,
      reports,
      apiPort,
      get metricsPort() {
        return metrics.server?.address.port;
      },
      isFirstStart,
      reconfigure,
      ...this.#ending(overlay),
    };
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
    const contents = await store.load();
    const token = contents.tokens.length === 0 ? initialToken() : undefined;
    const changes = plan(contents, random, clock.wall(), token);
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

  #createAdmin(
    core: Core,
    reports: Reports,
    followers: Followers,
    http: HttpServer,
    reconfigurable: Reconfigurable,
  ): Admin {
    const { journal, clock, random, version, reload } = this.#parts;
    const { overlay, streams, gateway } = core;
    const { eventPort, logPort } = reports;
    const live = this.#live;
    return new Admin({
      gateway,
      journal,
      followers,
      live: () => liveLookup(core),
      clock,
      random,
      join: () => ({ apiUrl: live.config.apiUrl, eventPort, logPort }),
      status: () => {
        const { apiUrl, wireGuardEndpoints, tunnel, accept, joinMode } = live.config;
        return {
          kind: 'gateway',
          version,
          started: new Date(this.#startedAtMs).toISOString(),
          interface: overlay.name,
          address: formatAddress(SERVER_ADDRESS),
          apiUrl,
          wireGuardEndpoints,
          tunnel,
          accept,
          joinTokensMode: joinMode,
          page: http.server?.url ?? null,
          streams: streams.openStreams,
        };
      },
      onForgotten: (machine) => reports.forget(machine),
      reload: async () => {
        if (!reload) throw new AppError('unavailable', 'this gateway has no configuration to read again');
        return reload(reconfigurable);
      },
    });
  }

  async #openAdminSocket(admin: Admin): Promise<void> {
    const { adminSocket, logger } = this.#parts;
    if (adminSocket === undefined) return;
    const socket = new AdminSocket(adminSocket, admin, logger);
    await socket.listen();
    this.#teardown.defer('admin socket', () => socket.close());
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
