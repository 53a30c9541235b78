/** The agent's actions on the real machine: Provision calls, name lookups, the overlay interface, the relay. */
import { lookup } from 'node:dns/promises';
import type { Clock } from '../../core/clock.ts';
import { parseAddress, parseSocketAddress, type SocketAddress } from '../../core/ip.ts';
import type { Logger } from '../../core/log.ts';
import type { Random } from '../../core/random.ts';
import type { ProvisionRequest } from '../../gen/siderolink/provision.ts';
import { Agent, type AgentActions, type AgentState, type LinkObservation } from '../../link/agent.ts';
import type { ConfiguredLink, Link, LinkKind } from '../../link/agent-link.ts';
import { PROVISION_TIMEOUT } from '../../link/constants.ts';
import type { DialOptions, DialTarget } from '../../link/dial.ts';
import { createStreamCall } from '../../link/grpc-front.ts';
import { Http2Dialer } from '../../link/http2-dialer.ts';
import { statusName } from '../../link/grpc-status.ts';
import { callProvision } from '../../link/provision-client.ts';
import { Relay, type RelayCounters } from '../../link/relay.ts';
import { relaySource } from '../../link/stream-source.ts';
import type { Transport } from '../../link/transport-policy.ts';
import { type Endpoint, GRPC_CARRIER } from '../../tunnel/endpoint.ts';
import type { StreamBridge } from '../../tunnel/stream-bridge.ts';
import { Alarm } from '../alarm.ts';
import type { Overlay } from './overlay.ts';

export interface GatewayLinkOptions {
  readonly target: DialTarget;
  /** But for the hint. */
  readonly request: Omit<ProvisionRequest, 'wireguardOverGrpc'>;
  readonly transport: Transport;
  readonly streams: number;
  readonly dialOptions: DialOptions;
  readonly overlay: Overlay;
  readonly bridge: StreamBridge;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onState: (state: AgentState) => void;
  /** The interface has these addresses now. */
  readonly onConfigured: (link: Link) => void;
}

export class GatewayLink implements AgentActions {
  #options: GatewayLinkOptions;
  readonly agent: Agent;
  readonly #agentAlarm: Alarm;
  readonly #relayAlarm: Alarm;
  #relay: Relay | undefined;
  /** The answer that the relay was made for. */
  #relayLink: Link | undefined;
  #call: AbortController | undefined;
  /** Changes of the interface happen one after the other. */
  #serial: Promise<void> = Promise.resolve();
  /** Lookups so far: the addresses of a name take turns. */
  #lookups = 0;
  #configureProblem: string | undefined;

  constructor(options: GatewayLinkOptions) {
    this.#options = options;
    const { clock, random, transport, logger } = options;
    this.#agentAlarm = new Alarm((now) => this.agent.advance(now));
    this.#relayAlarm = new Alarm((now) => this.#relay?.advance(now) ?? Infinity);
    this.agent = new Agent({
      actions: this,
      clock,
      random,
      transport,
      onEarlierDeadline: (at) => this.#agentAlarm.set(at),
      onState: (state) => {
        const via = this.agent.configured?.via;
        logger.log('info', 'link_state', { state, via, reason: this.problem });
        options.onState(state);
      },
    });
  }

  /** Why it is not connected. */
  get problem(): string | undefined {
    return this.#configureProblem ?? this.agent.lastError;
  }

  get relay(): { readonly openLanes: number; readonly counters: Readonly<RelayCounters> } | undefined {
    return this.#relay;
  }

  /** Resolves when nothing is under way any more. The interface stays to its owner. */
  async close(): Promise<void> {
    this.agent.stop();
    this.#call?.abort(new Error('the agent stops'));
    this.#closeRelay();
    this.#agentAlarm.cancel();
    this.#relayAlarm.cancel();
    await this.#serial;
  }

  /** Another gateway, or another token: both are used from the next call on, which is now. Sessions live on if they can. */
  retarget(target: DialTarget, joinToken: string | undefined): void {
    const { request } = this.#options;
    this.#options = { ...this.#options, target, request: { ...request, joinToken } };
    this.agent.changed();
  }

  /** For connections from now on. */
  setDialOptions(dialOptions: DialOptions): void {
    this.#options = { ...this.#options, dialOptions };
  }

  networkChanged(hasNetwork: boolean): void {
    this.agent.networkChanged(hasNetwork);
    // The old address may be gone, and the connection with it, without a word.
    this.#relay?.networkChanged();
  }

  // AgentActions.

  provision(id: number, wantsTunnel: boolean): void {
    const { target, request, dialOptions, logger } = this.#options;
    this.#call?.abort(new Error('another call took its place'));
    const call = new AbortController();
    this.#call = call;
    const timer = setTimeout(() => call.abort(new Error('it takes too long')), PROVISION_TIMEOUT);
    logger.log('debug', 'provision', { tunnel: wantsTunnel });
    callProvision(
      target,
      { ...request, wireguardOverGrpc: wantsTunnel ? true : undefined },
      dialOptions,
      call.signal,
    )
      .then(
        (response) => this.agent.provisioned(id, response),
        (error: unknown) => {
          const problem = error instanceof Error ? error.message : String(error);
          if (this.#call === call) logger.log('warn', 'provision_failed', { reason: problem });
          this.agent.provisionFailed(id, problem);
        },
      )
      .finally(() => clearTimeout(timer));
  }

  resolve(id: number, endpoint: string): void {
    const literal = parseSocketAddress(endpoint);
    if (literal) {
      this.agent.resolved(id, literal);
      return;
    }
    this.#lookUp(endpoint).then(
      (address) => this.agent.resolved(id, address),
      (error: unknown) => {
        const { code, message } = error as NodeJS.ErrnoException;
        this.agent.resolved(id, undefined, `${endpoint}: ${code ?? message}`);
      },
    );
  }

  configure(configured: ConfiguredLink): void {
    this.#serial = this.#serial.then(async () => {
      try {
        await this.#options.overlay.apply(configured);
        this.#configureProblem = undefined;
      } catch (error) {
        // The agent tries again when there is no handshake.
        this.#configureProblem = error instanceof Error ? error.message : String(error);
        this.#options.logger.log('error', 'interface_not_configured', { reason: this.#configureProblem });
        return;
      }
      if (this.agent.state === 'stopped') return;
      this.#configureRelay(configured);
      this.#options.overlay.startHandshake();
      this.#options.onConfigured(configured.link);
    });
  }

  probe(endpoint: SocketAddress): boolean {
    return this.#options.overlay.probe(endpoint);
  }

  tearDown(): void {
    this.#closeRelay();
  }

  observe(): LinkObservation | undefined {
    const seen = this.#options.overlay.observe();
    return seen && { ...seen, handshakeVia: carrierName(seen.handshakeEndpoint) };
  }

  // The relay.

  /**
   * A link through the tunnel has a relay. A new answer means that the old stream was of no use, or that the gateway
   * knows it no more: it is opened anew.
   */
  #configureRelay({ link, endpoint }: ConfiguredLink): void {
    if (link.kind === 'udp') {
      this.#closeRelay();
      return;
    }
    if (this.#relay && this.#relayLink === link) return;
    this.#closeRelay();
    const { target, dialOptions, bridge, clock, random, streams, logger } = this.#options;
    let lastReason: string | undefined;
    const relay = new Relay({
      dialer: new Http2Dialer(target, createStreamCall(link.peerAddrPort), dialOptions),
      sink: bridge,
      clock,
      random,
      endpoint,
      lanes: streams,
      onEarlierDeadline: (at) => this.#relayAlarm.set(at),
      onBroken: ({ code, message }) => {
        logger.log(message === lastReason ? 'debug' : 'info', 'stream_broken', {
          status: statusName(code),
          reason: message,
        });
        lastReason = message;
      },
      onEnd: ({ message }) => {
        if (this.#relay !== relay) return;
        this.#closeRelay();
        this.agent.relayEnded(message);
      },
    });
    this.#relay = relay;
    this.#relayLink = link;
    bridge.connect(relaySource(relay));
    relay.start();
  }

  #closeRelay(): void {
    this.#relay?.close();
    this.#relay = undefined;
    this.#relayLink = undefined;
  }

  async #lookUp(endpoint: string): Promise<SocketAddress> {
    const colon = endpoint.lastIndexOf(':');
    const host = endpoint.slice(0, colon);
    const found = await lookup(host, { all: true, order: 'verbatim' });
    const address = parseAddress(found[this.#lookups++ % found.length]?.address ?? '');
    if (!address) throw new Error('the resolver gave no address');
    return { address, port: Number(endpoint.slice(colon + 1)) };
  }
}

/** What carries datagrams to this endpoint. */
export function carrierName(endpoint: Endpoint | undefined): LinkKind | undefined {
  return endpoint && (endpoint.carrier === GRPC_CARRIER ? 'grpc' : 'udp');
}
