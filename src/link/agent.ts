/**
 * A machine's link to its gateway, as Talos Linux keeps it and faster where that is safe: provision, configure, watch,
 * re-establish. Sans-I/O: everything that takes time is an action, whose outcome is told by a method.
 */
import type { Clock } from '../core/clock.ts';
import { formatSocketAddress, parseSocketAddress, type SocketAddress } from '../core/ip.ts';
import type { Random } from '../core/random.ts';
import type { ProvisionResponse } from '../gen/siderolink/provision.ts';
import { REKEY_TIMEOUT } from '../noise/constants.ts';
import { type Deadline, Deadlines } from '../tunnel/deadlines.ts';
import { type ConfiguredLink, type Link, type LinkKind, readLink } from './agent-link.ts';
import { Backoff } from './backoff.ts';
import { PEER_DOWN_AFTER, PROVISION_TIMEOUT } from './constants.ts';
import { type Transport, TransportPolicy } from './transport-policy.ts';

/** What the device says about its one peer. Ages in milliseconds, Infinity for never. */
export interface LinkObservation {
  readonly handshakeAgeMs: number;
  /** By which the last handshake was made. */
  readonly handshakeVia: LinkKind | undefined;
  /** Since anything authentic came from the gateway. */
  readonly receivedAgeMs: number;
  /** For how long data has been sent without any answer; 0 when nothing waits for one. */
  readonly unansweredMs: number;
}

export interface AgentActions {
  /** Calls Provision with this hint; `provisioned` or `provisionFailed` follows, with the same id. */
  provision(id: number, wantsTunnel: boolean): void;
  /** Looks up `host:port`; `resolved` follows. */
  resolve(id: number, endpoint: string): void;
  /** Makes interface, peer and relay so, leaving alone what is so already, and starts a handshake. */
  configure(configured: ConfiguredLink): void;
  /**
   * Tries a handshake by way of this UDP endpoint and leaves everything as it is, unless it is answered. False: not now,
   * since the last one was too short a time ago.
   */
  probe(endpoint: SocketAddress): boolean;
  /** Takes interface and relay away. */
  tearDown(): void;
  /** Undefined while there is no device. */
  observe(): LinkObservation | undefined;
}

/**
 * stopped. waiting: for a network. provisioning: the first answer, or one after a failure, is under way. connecting: no
 * handshake through this endpoint yet. up. probing: in the tunnel, trying UDP.
 */
export type AgentState = 'stopped' | 'waiting' | 'provisioning' | 'connecting' | 'up' | 'probing';

export interface AgentOptions {
  readonly actions: AgentActions;
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
  readonly onEarlierDeadline?: (at: number) => void;
  readonly onState?: (state: AgentState) => void;
}

/** How often the device is looked at. */
const CHECK_INTERVAL = 1_000;
/** A handshake is tried every 5 s: two attempts, and a third one's way. */
const UDP_CONNECT_TIMEOUT = 12_000;
/** The stream has to be opened first, perhaps through a proxy. */
const GRPC_CONNECT_TIMEOUT = 25_000;
const PROBE_TIMEOUT = 3_000;
/** WireGuard itself starts a handshake after 15 s without an answer. */
const UNANSWERED_LIMIT = 18_000;
/** Three keepalives of the gateway did not come. */
const SILENCE_LIMIT = 80_000;
/** Sessions are renewed after 120 s; WireGuard tries for 90 s, we ask the gateway sooner. */
const HANDSHAKE_LIMIT = 165_000;
/** After a loss that others may have seen too. */
const RECOVER_WITHIN = 2_000;
const PROVISION_BACKOFF = { firstMs: 1_000, maxMs: 60_000 };
/** Two machines that take a virtual address from each other must not do it many times a second. */
const RELAY_BACKOFF = { firstMs: 2_000, maxMs: 60_000 };
const GOOD_RELAY_AFTER = 60_000;
/** For actions whose outcome never comes. */
const LOST_ACTION_AFTER: number = PROVISION_TIMEOUT + 5_000;

export class Agent {
  readonly #actions: AgentActions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #onState: (state: AgentState) => void;
  readonly #deadlines: Deadlines;
  readonly #policy: TransportPolicy;
  readonly #backoff: Backoff;
  readonly #relayBackoff: Backoff;
  /** Time to provision. */
  readonly #retry: Deadline;
  readonly #check: Deadline;
  readonly #probe: Deadline;
  #state: AgentState = 'stopped';
  #hasNetwork = false;
  /** Of the call or lookup under way; outcomes with another one are not heard. */
  #request = 0;
  #link: Link | undefined;
  #configured: ConfiguredLink | undefined;
  /** Endpoints of the answer that have not been tried. */
  #untried: readonly string[] = [];
  /** Of the last answer for UDP: where a probe goes. */
  #udpEndpoints: readonly string[] = [];
  #probes = 0;
  /** An initiation is under way over UDP. */
  #isProbeOut = false;
  /** The tunnel is asked for because UDP went silent; if the gateway is silent altogether, it was not UDP's fault. */
  #blamesUdp = false;
  /** When the endpoint in use was configured. */
  #since = 0;
  #lastError: string | undefined;

  constructor(options: AgentOptions) {
    this.#actions = options.actions;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#onState = options.onState ?? (() => {});
    this.#deadlines = new Deadlines(options.onEarlierDeadline);
    this.#policy = new TransportPolicy(options.transport, options.random);
    this.#backoff = new Backoff(PROVISION_BACKOFF, options.random);
    this.#relayBackoff = new Backoff(RELAY_BACKOFF, options.random);
    this.#retry = this.#deadlines.create('agent provision', () => this.#provision());
    this.#check = this.#deadlines.create('agent check', (now) => this.#look(now));
    this.#probe = this.#deadlines.create('agent probe', () => this.#beginProbe());
  }

  get state(): AgentState {
    return this.#state;
  }
  /** What is configured now. */
  get configured(): ConfiguredLink | undefined {
    return this.#configured;
  }
  /** Why it is not connected; undefined when it is, or nothing has failed yet. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  get nextDeadline(): number {
    return this.#deadlines.next;
  }
  advance(now: number): number {
    return this.#deadlines.advance(now);
  }

  start(hasNetwork: boolean): void {
    this.#hasNetwork = hasNetwork;
    this.#restart();
  }

  stop(): void {
    this.#quiet();
    if (this.#configured) this.#actions.tearDown();
    this.#configured = undefined;
    this.#link = undefined;
    this.#enter('stopped');
  }

  /** URL, UUID, unique token or key changed: what the gateway said before is void. */
  changed(): void {
    if (this.#state !== 'stopped') this.#restart();
  }

  /** Addresses and routes are there, or gone, or others than before. */
  networkChanged(hasNetwork: boolean): void {
    const wasThere = this.#hasNetwork;
    this.#hasNetwork = hasNetwork;
    this.#policy.forget();
    if (this.#state === 'waiting' && hasNetwork) this.#restart();
    else if (!wasThere && hasNetwork && this.#state === 'provisioning') this.#retryAtOnce();
    else if (wasThere && hasNetwork && this.#probe.isArmed) this.#armProbe();
  }

  provisioned(id: number, response: ProvisionResponse): void {
    if (id !== this.#request || this.#state === 'stopped') return;
    let link: Link;
    try {
      link = readLink(response);
    } catch (error) {
      this.provisionFailed(id, error instanceof Error ? error.message : String(error));
      return;
    }
    this.#request++;
    this.#retry.cancel();
    this.#backoff.reset();
    this.#blamesUdp = false;
    this.#link = link;
    if (link.kind === 'udp') this.#udpEndpoints = link.endpoints;
    // It insists on the tunnel: there is no UDP to go back to.
    else if (!this.#policy.wantsTunnel) this.#udpEndpoints = [];
    this.#untried = link.endpoints;
    this.#tryNext();
  }

  provisionFailed(id: number, message: string): void {
    if (id !== this.#request || this.#state === 'stopped') return;
    this.#request++;
    this.#lastError = message;
    if (this.#blamesUdp) this.#policy.tunnelFailed();
    this.#blamesUdp = false;
    this.#retry.arm(this.#clock.now() + this.#backoff.next());
  }

  resolved(id: number, address: SocketAddress | undefined, problem = 'cannot be resolved'): void {
    if (id !== this.#request || !this.#link || this.#state === 'stopped') return;
    this.#request++;
    this.#retry.cancel();
    if (this.#state === 'probing') this.#probeResolved(address);
    else if (address) this.#configure({ link: this.#link, endpoint: address, via: 'udp' });
    else {
      this.#lastError = problem;
      this.#tryNext();
    }
  }

  /** The gateway refused the virtual address for good, or another stream has it: only a new answer helps. */
  relayEnded(message: string): void {
    // While an answer is on its way the old address may end: it is the new answer that took it away.
    if (this.#link?.kind !== 'grpc' || this.#state === 'stopped' || this.#state === 'provisioning') return;
    this.#recover(message, this.#relayBackoff.next());
  }

  // Life of a link.

  /** The reason why the gateway could not be asked is gone; others of this site may have waited for it, too. */
  #retryAtOnce(): void {
    this.#backoff.reset();
    this.#retry.arm(this.#clock.now() + (RECOVER_WITHIN * this.#random.u32()) / 2 ** 32);
  }

  #restart(): void {
    this.#quiet();
    if (!this.#hasNetwork) {
      this.#enter('waiting');
      return;
    }
    this.#backoff.reset();
    this.#provision();
  }

  /** Nothing is under way any more; what is configured stays. */
  #quiet(): void {
    this.#request++;
    for (const deadline of [this.#retry, this.#check, this.#probe]) deadline.remove();
    this.#untried = [];
  }

  #provision(): void {
    this.#check.cancel();
    this.#probe.cancel();
    this.#enter('provisioning');
    this.#retry.arm(this.#clock.now() + LOST_ACTION_AFTER);
    this.#actions.provision(++this.#request, this.#policy.wantsTunnel);
  }

  /** The next endpoint of the answer; when all have failed, the other transport or another answer. */
  #tryNext(): void {
    const link = this.#link as Link;
    const [endpoint, ...rest] = this.#untried;
    this.#untried = rest;
    if (link.kind === 'grpc') {
      const label = parseSocketAddress(link.peerAddrPort);
      if (endpoint !== undefined && label) {
        this.#untried = [];
        this.#configure({ link, endpoint: label, via: 'grpc' });
        return;
      }
      this.#policy.tunnelFailed();
    } else if (endpoint !== undefined) {
      this.#enter('connecting');
      this.#check.cancel();
      this.#retry.arm(this.#clock.now() + LOST_ACTION_AFTER);
      this.#actions.resolve(++this.#request, endpoint);
      return;
    } else if (this.#policy.udpFailed(this.#clock.now())) {
      this.#provision();
      return;
    }
    this.#enter('provisioning');
    this.#check.cancel();
    this.#retry.arm(this.#clock.now() + this.#backoff.next());
  }

  #configure(configured: ConfiguredLink): void {
    const now = this.#clock.now();
    this.#configured = configured;
    this.#since = now;
    this.#enter('connecting');
    this.#actions.configure(configured);
    this.#check.arm(now + CHECK_INTERVAL);
  }

  #look(now: number): void {
    this.#check.arm(now + CHECK_INTERVAL);
    const seen = this.#actions.observe();
    if (!seen) return;
    const hasShaken = seen.handshakeAgeMs <= now - this.#since;
    switch (this.#state) {
      case 'connecting':
        if (hasShaken) this.#connected(now);
        else if (now - this.#since >= this.#connectTimeout()) this.#unanswered();
        break;
      case 'probing':
        if (hasShaken && this.#isProbeOut && seen.handshakeVia === 'udp') this.#probeSucceeded(now);
        else if (now - this.#since >= PROBE_TIMEOUT) this.#probeFailed();
        break;
      case 'up': {
        const problem = problemOf(seen);
        if (problem !== undefined) this.#recover(problem, (RECOVER_WITHIN * this.#random.u32()) / 2 ** 32);
        else if (now - this.#since >= GOOD_RELAY_AFTER) this.#relayBackoff.reset();
        break;
      }
      case 'stopped':
      case 'waiting':
      case 'provisioning':
        break;
    }
  }

  #connectTimeout(): number {
    return this.#configured?.via === 'grpc' ? GRPC_CONNECT_TIMEOUT : UDP_CONNECT_TIMEOUT;
  }

  #connected(now: number): void {
    this.#lastError = undefined;
    this.#enter('up');
    if (this.#configured?.via === 'udp') this.#policy.udpWorks(now);
    else this.#armProbe();
  }

  #unanswered(): void {
    const { endpoint, via } = this.#configured as ConfiguredLink;
    this.#lastError = `no handshake with ${formatSocketAddress(endpoint)} over ${via}`;
    this.#tryNext();
  }

  /** The link was up and is not any more: ask the gateway, which may have lost the peer. */
  #recover(problem: string, delayMs: number): void {
    this.#lastError = problem;
    if (this.#configured?.via === 'udp') this.#blamesUdp = this.#policy.udpFailed(this.#clock.now());
    this.#quiet();
    this.#enter('provisioning');
    this.#retry.arm(this.#clock.now() + delayMs);
  }

  // Back to UDP.

  #armProbe(): void {
    if (!this.#policy.isAutomatic || this.#udpEndpoints.length === 0) return;
    this.#probe.arm(this.#clock.now() + this.#policy.probeDelay());
  }

  #beginProbe(): void {
    const endpoint = this.#udpEndpoints[this.#probes++ % this.#udpEndpoints.length];
    if (this.#state !== 'up' || endpoint === undefined) return;
    this.#enter('probing');
    this.#isProbeOut = false;
    this.#since = this.#clock.now();
    this.#actions.resolve(++this.#request, endpoint);
  }

  #probeResolved(address: SocketAddress | undefined): void {
    if (!address) {
      this.#probeFailed();
      return;
    }
    const now = this.#clock.now();
    this.#since = now;
    this.#isProbeOut = this.#actions.probe(address);
    if (this.#isProbeOut) return;
    // The same endpoint, when there may be a handshake again.
    this.#probes--;
    this.#enter('up');
    this.#probe.arm(now + REKEY_TIMEOUT);
  }

  /** A handshake came through over UDP; the gateway is told by asking for UDP. */
  #probeSucceeded(now: number): void {
    this.#policy.udpWorks(now);
    this.#provision();
  }

  /** The session in the tunnel never ended. */
  #probeFailed(): void {
    this.#request++;
    this.#policy.probeFailed();
    this.#enter('up');
    this.#armProbe();
  }

  #enter(state: AgentState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#onState(state);
  }
}

function problemOf({ handshakeAgeMs, receivedAgeMs, unansweredMs }: LinkObservation): string | undefined {
  if (handshakeAgeMs >= PEER_DOWN_AFTER) return 'the last handshake is too old';
  if (unansweredMs >= UNANSWERED_LIMIT) return 'the gateway does not answer';
  if (receivedAgeMs >= SILENCE_LIMIT) return 'the gateway is silent';
  if (handshakeAgeMs >= HANDSHAKE_LIMIT) return 'the session is not renewed';
  return undefined;
}
