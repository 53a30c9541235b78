// Thirty simulated days of a machine and its gateway: the real Agent, Gateway and StreamTable; WireGuard as its timers have
// it (test/unit/tunnel has the real ones), and a network that fails in every way that `Weather` knows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSocketAddress, parseSocketAddress, type SocketAddress } from '../../src/core/ip.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Random } from '../../src/core/random.ts';
import { Agent, type AgentActions, type LinkObservation } from '../../src/link/agent.ts';
import type { ConfiguredLink, LinkKind } from '../../src/link/agent-link.ts';
import { Gateway } from '../../src/link/gateway.ts';
import { MemoryStore } from '../../src/link/memory-store.ts';
import { EMPTY_CONTENTS } from '../../src/link/store.ts';
import { StreamTable } from '../../src/link/stream-table.ts';
import { FakeClock } from '../kit/clock.ts';
import { CALLER, callOf, PeerList, randomKey } from '../kit/gateway.ts';
import { seededRandom } from '../kit/random.ts';

const STEP_MS = 1_000;
const DAYS = 30;
const DAY_MS = 24 * 3_600_000;
const UDP = '192.0.2.7:50180';
/**
 * From the moment that both can be reached again. Noticed after 80 s of silence at the latest; then at most 60 s until the
 * gateway is asked (docs/JOIN.md), 12 s for UDP, 60 s more when the tunnel has to be asked for too, and 25 s for it.
 */
const MAX_GAP_MS = 80_000 + 60_000 + 12_000 + 60_000 + 25_000;
const KEEPALIVE_MS = 25_000;
const REKEY_AFTER_MS = 120_000;
const REJECT_AFTER_MS = 180_000;
const ATTEMPT_EVERY_MS = 5_000;

type Fault = 'network' | 'gateway' | 'udp' | 'tunnel' | 'api';

/** What is broken now; each fault for a time of its own, from seconds to half a day. */
class Weather {
  readonly broken = new Map<Fault, number>();
  count = 0;
  #nextAt = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  advance(now: number): void {
    for (const [fault, until] of this.broken) if (now >= until) this.broken.delete(fault);
    if (now < this.#nextAt) return;
    const faults: readonly Fault[] = ['network', 'gateway', 'udp', 'udp', 'udp', 'tunnel', 'api'];
    const fault = faults[this.#random.u32() % faults.length] as Fault;
    const longest = fault === 'udp' ? 12 * 3_600_000 : fault === 'gateway' ? 60_000 : 30 * 60_000;
    this.count++;
    this.broken.set(fault, now + 1_000 + (this.#random.u32() % longest));
    this.#nextAt = now + (this.#random.u32() % (2 * 3_600_000));
  }

  has(...faults: Fault[]): boolean {
    return faults.some((fault) => this.broken.has(fault));
  }
}

class World implements AgentActions {
  readonly clock = new FakeClock();
  readonly random: Random;
  readonly weather: Weather;
  readonly store: MemoryStore;
  readonly agent: Agent;
  readonly #publicKey: string;
  readonly #serverKey: string;
  #streams = new StreamTable({ deliver: () => true });
  gateway: Gateway | undefined;
  restarts = 0;
  provisions = 0;
  /** By which way the link was up last, and how often that became another one. */
  #upVia: LinkKind | undefined;
  changes = 0;
  readonly addresses = new Set<string>();
  /** The outcome of a call, heard a moment later. */
  #call: Promise<void> | undefined;
  #configured: ConfiguredLink | undefined;
  #isTornDown = true;
  /** Where the device sends: the tunnel, or UDP. */
  #via: LinkKind | undefined;
  #probeUntil = 0;
  #handshakeAt: number | undefined;
  #handshakeVia: LinkKind | undefined;
  #receivedAt: number | undefined;
  #lastAttemptAt = -Infinity;
  #unansweredSince: number | undefined;
  /** Sessions of a gateway that ended are worth nothing. */
  #sessionOf: Gateway | undefined;

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.weather = new Weather(this.random);
    this.#publicKey = randomKey(this.random);
    this.#serverKey = randomKey(this.random);
    this.store = new MemoryStore({
      ...EMPTY_CONTENTS,
      tokens: [{ token: 't', name: 't', createdAtMs: 0, isRevoked: false, useLimit: 1 }],
      defaultToken: 't',
    });
    this.agent = new Agent({ actions: this, clock: this.clock, random: this.random, transport: 'auto' });
  }

  provision(id: number, wantsTunnel: boolean): void {
    this.provisions++;
    if (!this.gateway || this.weather.has('network', 'api')) {
      this.#call = Promise.resolve().then(() => this.agent.provisionFailed(id, 'unreachable'));
      return;
    }
    const call = { ...callOf('machine', this.#publicKey, 't'), wireguardOverGrpc: wantsTunnel };
    this.#call = this.gateway.provision(call, CALLER).then((answer) => {
      if ('code' in answer) {
        assert.fail(`refused: ${answer.message}`);
      }
      this.addresses.add(answer.nodeAddressPrefix);
      this.agent.provisioned(id, answer);
    });
  }

  resolve(id: number, endpoint: string): void {
    assert.equal(endpoint, 'gw:50180');
    this.agent.resolved(id, parseSocketAddress(UDP));
  }

  configure(configured: ConfiguredLink): void {
    this.#configured = configured;
    this.#isTornDown = false;
    this.#via = configured.via;
    this.#lastAttemptAt = -Infinity;
    this.#attempt(configured.via);
  }

  probe(endpoint: SocketAddress): boolean {
    assert.equal(formatSocketAddress(endpoint), UDP);
    this.#probeUntil = this.clock.now() + 3_000;
    this.#attempt('udp');
    return true;
  }

  tearDown(): void {
    this.#isTornDown = true;
    this.#via = undefined;
  }

  observe(): LinkObservation | undefined {
    if (this.#isTornDown) return undefined;
    const now = this.clock.now();
    const age = (at: number | undefined) => (at === undefined ? Infinity : now - at);
    return {
      handshakeAgeMs: age(this.#handshakeAt),
      handshakeVia: this.#handshakeVia,
      receivedAgeMs: age(this.#receivedAt),
      unansweredMs: this.#unansweredSince === undefined ? 0 : now - this.#unansweredSince,
    };
  }

  /** Datagrams pass this way, in both directions. */
  isOpen(via: LinkKind): boolean {
    if (!this.gateway || this.weather.has('network')) return false;
    if (via === 'udp') return !this.weather.has('udp');
    if (this.weather.has('tunnel')) return false;
    const label = this.#configured?.link.peerAddrPort;
    return label !== '' && this.gateway.registry.machineByKey(this.#publicKey)?.virtualEndpoint === label;
  }

  get isConnected(): boolean {
    const isFresh = this.clock.now() - (this.#handshakeAt ?? -Infinity) < REJECT_AFTER_MS;
    return isFresh && this.#via !== undefined && this.#sessionOf === this.gateway && this.isOpen(this.#via);
  }

  /** Something that the rules allow could carry traffic. */
  get canConnect(): boolean {
    if (!this.gateway || this.weather.has('network', 'api')) return false;
    return !this.weather.has('udp') || !this.weather.has('tunnel');
  }

  async step(isBusy: boolean): Promise<void> {
    this.clock.tick(STEP_MS);
    const now = this.clock.now();
    this.weather.advance(now);
    await this.#life();
    this.#traffic(now, isBusy);
    this.agent.advance(now);
    if (this.isConnected && this.#via !== this.#upVia) {
      this.changes++;
      this.#upVia = this.#via;
    }
    if (this.#call) {
      const call = this.#call;
      this.#call = undefined;
      await call;
    }
  }

  /** The gateway ends and starts over the same store. */
  async #life(): Promise<void> {
    if (this.weather.has('gateway')) {
      if (this.gateway) this.restarts++;
      this.gateway = undefined;
      return;
    }
    if (this.gateway) return;
    this.#streams = new StreamTable({ deliver: () => true });
    this.gateway = await Gateway.start({
      store: this.store,
      device: new PeerList(),
      streams: this.#streams,
      settings: {
        joinMode: 'legacyAllowed',
        accept: 'auto',
        requireUniqueToken: false,
        pinUniqueTokens: true,
        tunnel: 'hint',
        endpoints: ['gw:50180'],
        serverPublicKey: this.#serverKey,
        maxPending: 10,
        predefinedAddresses: new Map(),
      },
      clock: this.clock,
      random: this.random,
      logger: silentLogger,
      rateLimit: { perSecond: 50, burst: 100 },
      useLastEndpoints: true,
    });
  }

  #traffic(now: number, isBusy: boolean): void {
    const via = this.#via;
    if (via === undefined) return;
    const age = now - (this.#handshakeAt ?? -Infinity);
    const hasSession = age < REJECT_AFTER_MS;
    const works = hasSession && this.#sessionOf === this.gateway && this.isOpen(via);
    if (works) {
      if (isBusy || now - (this.#receivedAt ?? 0) >= KEEPALIVE_MS) this.#receivedAt = now;
      this.#unansweredSince = undefined;
    } else if (isBusy && hasSession) this.#unansweredSince ??= now;
    const needsSession =
      age >= REKEY_AFTER_MS || (this.#unansweredSince !== undefined && now - this.#unansweredSince >= 15_000);
    if (needsSession && now - this.#lastAttemptAt >= ATTEMPT_EVERY_MS) this.#attempt(via);
    if (now < this.#probeUntil) this.#attempt('udp');
  }

  /** One handshake, answered or not. */
  #attempt(via: LinkKind): void {
    const now = this.clock.now();
    this.#lastAttemptAt = now;
    if (!this.isOpen(via) || this.gateway?.registry.machineByKey(this.#publicKey) === undefined) return;
    if (via === 'grpc') this.#openStream();
    this.#handshakeAt = now;
    this.#handshakeVia = via;
    this.#receivedAt = now;
    this.#unansweredSince = undefined;
    this.#sessionOf = this.gateway;
    this.#via = via;
    this.#probeUntil = 0;
  }

  #openStream(): void {
    const header = this.#configured?.link.peerAddrPort;
    const opened = this.#streams.open(
      { header, lane: 0 },
      { write: () => {}, setPaused: () => {}, end: () => {} },
    );
    assert.ok(!('code' in opened), JSON.stringify(opened));
    opened.closed();
  }
}

for (const seed of [1, 2]) {
  test(`thirty days of a machine and its gateway, schedule ${seed}`, async (t) => {
    const world = new World(seed);
    world.agent.start(true);
    let possibleSince: number | undefined;
    let longestGapMs = 0;
    let connectedMs = 0;
    let possibleMs = 0;
    for (let elapsed = 0; elapsed < DAYS * DAY_MS; elapsed += STEP_MS) {
      await world.step(Math.floor(elapsed / 600_000) % 3 === 0);
      const now = world.clock.now();
      if (world.canConnect) possibleMs += STEP_MS;
      if (world.canConnect && world.isConnected) connectedMs += STEP_MS;
      if (!world.canConnect || world.isConnected) possibleSince = undefined;
      else {
        possibleSince ??= now;
        longestGapMs = Math.max(longestGapMs, now - possibleSince);
        assert.ok(
          now - possibleSince <= MAX_GAP_MS,
          `day ${elapsed / DAY_MS}: ${now - possibleSince} ms without a link, ${world.agent.state}, ` +
            `${world.agent.lastError}, broken ${[...world.weather.broken.keys()].join(' ')}`,
        );
      }
    }
    // One machine, one address and one use of its single-use token, whatever happened; nothing piles up.
    const contents = await world.store.load();
    assert.deepEqual([contents.machines.length, contents.pending.length, contents.uses.length], [1, 0, 1]);
    assert.equal(world.addresses.size, 1);
    assert.ok(contents.endpoints.size <= 1);
    // Hysteresis: a change of transport has a cause in the network, its beginning or its end, and is not made for a look.
    const { count } = world.weather;
    assert.ok(world.changes <= 2 * count, `${world.changes} changes, ${count} faults`);
    world.agent.stop();
    assert.equal(world.agent.nextDeadline, Infinity);
    const percent = ((100 * connectedMs) / possibleMs).toFixed(2);
    t.diagnostic(
      `${world.restarts} restarts of the gateway, ${world.provisions} Provisions, ${world.changes} changes of transport in ${count} faults, ` +
        `longest gap ${Math.round(longestGapMs / 1000)} s of ${MAX_GAP_MS / 1000} allowed, connected ${percent} % of the time it could`,
    );
  });
}
