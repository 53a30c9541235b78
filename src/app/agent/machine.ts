/** A machine on its gateway's overlay, around a device that runs: link, services, hooks, firewall. */
import { systemClock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import { formatAddress } from '../../core/ip.ts';
import type { Logger } from '../../core/log.ts';
import { systemRandom } from '../../core/random.ts';
import type { Link } from '../../link/agent-link.ts';
import { PEER_DOWN_AFTER } from '../../link/constants.ts';
import { authorityOf } from '../../link/grpc-client.ts';
import type { ProxySettings } from '../../link/proxy.ts';
import { fdWatcher } from '../../sys/readiness.ts';
import { formatEndpoint } from '../../tunnel/endpoint.ts';
import { publicKeyOf } from '../public-key.ts';
import type { RunningDevice } from '../runtime.ts';
import { version } from '../version.ts';
import { FirewallOpening, systemNft } from './firewall.ts';
import { carrierName, GatewayLink } from './gateway-link.ts';
import type { Hooks } from './hooks.ts';
import type { JoinSettings } from './join-settings.ts';
import type { JoinInputs } from './join-sources.ts';
import type { MachineIdentity } from './machine-identity.ts';
import { isOnThisMachine, NetworkWatch } from './network-watch.ts';
import { addressOf, type LinkSettings, Overlay, systemLinkSettings } from './overlay.ts';
import { OverlayServices } from './overlay-services.ts';
import type { MachineStatus } from './status.ts';
import { trustingDialOptions, type TrustStore } from './trust.ts';

/**
 * Sent as `talos_version`: the newest Talos whose behaviour towards a gateway this agent has. Gateways refuse machines
 * that are too old for unique tokens.
 */
const TALOS_VERSION = 'v1.12.0';

export interface JoinOptions {
  readonly inputs: JoinInputs;
  readonly settings: JoinSettings;
  readonly identity: MachineIdentity;
  readonly trust: TrustStore;
  readonly proxies: ProxySettings;
  readonly logger: Logger;
  /** Where the interface is made and configured: in another network namespace than the one its datagrams leave by. */
  readonly place?: Place;
}

/** Runs a synchronous task in a network namespace. */
export interface Place {
  run<Result>(task: () => Result): Result;
}

export const HERE: Place = { run: (task) => task() };

/** What can become another while it runs. */
export type LiveJoin = Pick<JoinOptions, 'inputs' | 'settings' | 'trust'>;

/** How often it is looked at whether the link still counts as connected. */
const CONNECTION_CHECK_MS = 5_000;

export class Machine {
  #options: JoinOptions;
  readonly #hooks: Hooks;
  #firewall: FirewallOpening | undefined;
  readonly #overlay: Overlay;
  readonly #link: GatewayLink;
  readonly #services: OverlayServices;
  readonly #network: NetworkWatch;
  readonly #publicKey: string;
  readonly #connectionCheck: NodeJS.Timeout;
  readonly connected: Promise<void>;
  #tellConnected: () => void = () => {};
  #isConnected = false;
  #configured: Link | undefined;
  #isClosed = false;

  constructor(
    options: JoinOptions,
    running: RunningDevice,
    hooks: Hooks,
    firewall: FirewallOpening | undefined,
  ) {
    this.#options = options;
    this.#hooks = hooks;
    this.#firewall = firewall;
    this.connected = new Promise((resolve) => (this.#tellConnected = resolve));
    const { inputs, settings, identity, logger, trust, proxies } = options;
    const { url } = inputs.source;
    this.#publicKey = publicKeyOf(identity.privateKey).base64;
    this.#overlay = new Overlay({
      interfaceName: settings.interfaceName,
      privateKey: identity.privateKey,
      device: running.device,
      settings: linkSettingsIn(options.place ?? HERE),
      logger,
    });
    this.#services = new OverlayServices({ exposed: settings.exposed, inputs }, logger);
    this.#link = new GatewayLink({
      target: url,
      request: {
        nodeUuid: identity.uuid,
        nodePublicKey: this.#publicKey,
        joinToken: url.joinToken,
        nodeUniqueToken: identity.uniqueToken,
        talosVersion: TALOS_VERSION,
      },
      transport: settings.transport,
      streams: settings.streams,
      dialOptions: trustingDialOptions(trust, proxies),
      overlay: this.#overlay,
      bridge: running.streams as NonNullable<RunningDevice['streams']>,
      clock: systemClock,
      random: systemRandom,
      logger,
      onState: () => this.#checkConnection(),
      onConfigured: (link) => {
        this.#configured = link;
        this.#services.setLink(link);
      },
    });
    this.#network = new NetworkWatch(settings.interfaceName, fdWatcher, (state) => {
      logger.log('info', 'network_changed', { hasNetwork: state.hasNetwork });
      const { host } = this.#options.inputs.source.url;
      this.#link.networkChanged(state.hasNetwork || isOnThisMachine(host));
    });
    this.#connectionCheck = setInterval(() => this.#checkConnection(), CONNECTION_CHECK_MS);
  }

  start(): void {
    const { host } = this.#options.inputs.source.url;
    this.#link.agent.start(this.#network.state.hasNetwork || isOnThisMachine(host));
  }

  async reconfigure(next: LiveJoin): Promise<AppError | undefined> {
    const before = this.#options;
    const { inputs, settings, trust } = next;
    this.#options = { ...before, ...next };
    this.#hooks.commands = settings;
    if (JSON.stringify(settings.caFiles) !== JSON.stringify(before.settings.caFiles)) {
      this.#link.setDialOptions(trustingDialOptions(trust, before.proxies));
    }
    const { url } = inputs.source;
    if (JSON.stringify(url) !== JSON.stringify(before.inputs.source.url)) {
      this.#link.retarget(url, url.joinToken);
    }
    await this.#services.reconfigure({ exposed: settings.exposed, inputs });
    return this.#setFirewall(settings);
  }

  async #setFirewall({ opensFirewall, interfaceName }: JoinSettings): Promise<AppError | undefined> {
    if (opensFirewall === (this.#firewall !== undefined)) return undefined;
    try {
      const opening = this.#firewall ?? new FirewallOpening(interfaceName, systemNft);
      if (opensFirewall) await opening.open();
      else await opening.close();
      this.#firewall = opensFirewall ? opening : undefined;
      return undefined;
    } catch (error) {
      if (error instanceof AppError) return error;
      throw error;
    }
  }

  /** Says good-bye while the link still works. */
  async leave(): Promise<void> {
    await this.#services.close();
    if (this.#isConnected) await this.#setConnected(false);
  }

  /** The interface has gone. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#connectionCheck);
    this.#network.close();
    await this.#link.close();
    if (this.#isConnected) await this.leave();
    await this.#firewall
      ?.close()
      .catch((error: unknown) =>
        this.#options.logger.log('warn', 'firewall_not_closed', { reason: String(error) }),
      );
  }

  status(): MachineStatus {
    const { inputs, settings, identity } = this.#options;
    const { url } = inputs.source;
    const seen = this.#overlay.observe();
    const { agent, relay, problem } = this.#link;
    const hasShaken = seen !== undefined && Number.isFinite(seen.handshakeAgeMs);
    return {
      kind: 'machine',
      interface: settings.interfaceName,
      pid: process.pid,
      version: version(),
      state: agent.state,
      isConnected: this.#isConnected,
      problem: problem ?? null,
      transport: hasShaken ? (carrierName(seen.endpoint) ?? null) : null,
      wantedTransport: settings.transport,
      gateway: authorityOf(url),
      isPlaintext: url.isPlaintext,
      endpoint: seen?.endpoint ? formatEndpoint(seen.endpoint) : null,
      address: this.#configured ? formatAddress(addressOf(this.#configured)) : null,
      serverAddress: this.#configured?.serverAddress ?? null,
      lastHandshakeAgeMs: hasShaken ? Math.round(seen.handshakeAgeMs) : null,
      ...this.#overlay.transferred(),
      uuid: identity.uuid,
      publicKey: this.#publicKey,
      streams: relay
        ? { open: relay.openLanes, opened: relay.counters.opened, broken: relay.counters.broken }
        : null,
      exposed: this.#services.published,
    };
  }

  #checkConnection(): void {
    if (this.#isClosed) return;
    const { state } = this.#link.agent;
    const isUp = state === 'up' || state === 'probing';
    const age = this.#overlay.observe()?.handshakeAgeMs ?? Infinity;
    void this.#setConnected(isUp || (this.#isConnected && age < PEER_DOWN_AFTER));
  }

  async #setConnected(isConnected: boolean): Promise<void> {
    if (isConnected === this.#isConnected) return;
    this.#isConnected = isConnected;
    const { logger } = this.#options;
    const status = this.status();
    logger.log('info', isConnected ? 'connected' : 'disconnected', {
      transport: status.transport ?? undefined,
      address: status.address ?? undefined,
      reason: isConnected ? undefined : this.#link.problem,
    });
    this.#services.setOnline(isConnected);
    if (isConnected) {
      this.#tellConnected();
      // A reload of the firewall may have taken the rule away.
      this.#firewall
        ?.open()
        .catch((error: unknown) => logger.log('warn', 'firewall_not_opened', { reason: String(error) }));
    }
    await this.#hooks.run(isConnected ? 'up' : 'down', hookVariables(status));
  }
}

function linkSettingsIn(place: Place): LinkSettings {
  return {
    setAddress: (...args) => place.run(() => systemLinkSettings.setAddress(...args)),
    setUp: (...args) => place.run(() => systemLinkSettings.setUp(...args)),
  };
}

function hookVariables(status: MachineStatus): Record<string, string> {
  return {
    CULVERT_INTERFACE: status.interface,
    CULVERT_ADDRESS: status.address ?? '',
    CULVERT_SERVER_ADDRESS: status.serverAddress ?? '',
    CULVERT_TRANSPORT: status.transport ?? '',
    CULVERT_GATEWAY: status.gateway,
    CULVERT_UUID: status.uuid,
  };
}
