/**
 * Thirty days of a pair in memory: hours of traffic and of silence, bad weather, links down, processes started anew,
 * wall clocks that jump. Time is simulated, so it takes seconds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uniform, type Random } from '../../src/core/random.ts';
import { createTransportAead } from '../../src/noise/aead-choose.ts';
import {
  NEW_HANDSHAKE_TIMEOUT,
  REJECT_AFTER_TIME,
  REKEY_TIMEOUT,
  REKEY_TIMEOUT_JITTER_MAX,
} from '../../src/noise/constants.ts';
import { systemClock } from '../../src/core/clock.ts';
import { ipv4Packet } from '../kit/packets.ts';
import { pair, prefix, type End, type EndOptions, type Pair } from '../kit/pair.ts';
import { seededRandom } from '../kit/random.ts';

const DAYS = 30;
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const SLOWEST_MS = 3_000;
/**
 * A session that only one side still has is noticed NEW_HANDSHAKE_TIMEOUT after the first packet that nobody answers;
 * the initiation may have to keep its distance from the one before, and meet one datagram that was still under way.
 */
const LONGEST_GAP_MS = NEW_HANDSHAKE_TIMEOUT + 2 * (REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX) + 1_000;
/** After this, nothing of a session may be left: no key, no timer. */
const ALL_FORGOTTEN_MS = 3 * REJECT_AFTER_TIME + 90_000 + MINUTE;

const options: EndOptions = {
  aead: (arena) => createTransportAead(arena, { wanted: 'wasm', clock: systemClock, longestText: 1440 }).aead,
};

interface Figures {
  packets: number;
  lostInCalm: number;
  handshakes: number;
  restarts: number;
  longestGapMs: number;
}

class Month {
  readonly #pair: Pair;
  readonly #random: Random;
  readonly #start: number;
  readonly figures: Figures = { packets: 0, lostInCalm: 0, handshakes: 0, restarts: 0, longestGapMs: 0 };
  #alice: End;
  #bob: End;
  #loss = 0;
  #delayMs = 0;
  #duplicates = 0;
  /** No TAI64N stamp may lie before one that this very identity has sent: whoever starts anew needs a later clock. */
  #latestWallMs: number;
  #serial = 0;

  constructor(both: Pair, seed: number) {
    this.#pair = both;
    this.#alice = both.alice;
    this.#bob = both.bob;
    this.#random = seededRandom(seed);
    this.#start = both.clock.now();
    this.#latestWallMs = both.clock.wallMs;
    both.wire.bend((datagram) => {
      if (datagram.bytes[0] === 1) this.figures.handshakes++;
      if (uniform(this.#random, 100) < this.#loss) return [];
      return uniform(this.#random, 100) < this.#duplicates ? [datagram, datagram] : [datagram];
    });
    both.wire.delay(() => uniform(this.#random, this.#delayMs + 1));
  }

  get elapsedMs(): number {
    return this.#pair.clock.now() - this.#start;
  }

  get ends(): readonly End[] {
    return [this.#alice, this.#bob];
  }

  /** One episode: something happens, packets flow for a while or do not, and then calm weather must bring them through. */
  async episode(): Promise<void> {
    await this.#disturb();
    this.#traffic(this.#chance(20) * 30_000, 100 + this.#chance(20_000));
    this.#loss = 0;
    this.#duplicates = 0;
    this.#delayMs = 20;
    this.#advance(SLOWEST_MS);
    this.#recover();
    this.#calm();
    if (this.#chance(3) === 0) this.#silence(this.#chance(4 * 60 * MINUTE));
  }

  async #disturb(): Promise<void> {
    const end = this.ends[this.#chance(2)] as End;
    switch (this.#chance(6)) {
      case 0:
        await end.device.down();
        this.#pair.world.settle();
        this.#advance(this.#chance(10 * MINUTE));
        await end.device.up();
        this.#pair.world.settle();
        return;
      case 1:
        return this.#restart(end);
      case 2:
        this.#pair.clock.wallMs += this.#chance(10 * 60 * MINUTE) - 5 * 60 * MINUTE;
        return;
      default:
        this.#loss = [2, 20, 60, 100][this.#chance(4)] as number;
        this.#duplicates = this.#chance(2) * 10;
        this.#delayMs = this.#chance(2) * this.#chance(SLOWEST_MS);
    }
  }

  /** The process ends and another takes its place, with the same key, address and peer, and no memory. */
  async #restart(end: End): Promise<void> {
    const { world, clock } = this.#pair;
    this.figures.restarts++;
    await end.device.close();
    world.ends.splice(world.ends.indexOf(end), 1);
    clock.wallMs = Math.max(clock.wallMs, this.#latestWallMs + 1_000);
    const other = end === this.#alice ? this.#bob : this.#alice;
    const addresses = end === this.#alice ? ['192.0.2.1', '2001:db8::1'] : ['192.0.2.2', '2001:db8::2'];
    const anew = world.end(end.name, addresses, { ...options, privateKey: end.privateKey });
    await anew.device.configure({ privateKey: end.privateKey, listenPort: end.endpoint.port, peers: [] });
    await anew.device.up();
    const inner = end === this.#alice ? '10.0.0.2/32' : '10.0.0.1/32';
    await anew.configure({
      publicKey: other.publicKey,
      endpoint: other.endpoint,
      allowedIps: [{ prefix: prefix(inner), remove: false }],
    });
    if (end === this.#alice) this.#alice = anew;
    else this.#bob = anew;
    await other.configure({ publicKey: anew.publicKey, endpoint: anew.endpoint });
  }

  #traffic(durationMs: number, intervalMs: number): void {
    const end = this.elapsedMs + durationMs;
    while (this.elapsedMs < end) {
      this.#send(this.#chance(2) as 0 | 1);
      this.#advance(1 + this.#chance(2 * intervalMs));
      this.#drain();
    }
  }

  /** Both send every second until both have heard; what it took is the gap. */
  #recover(): void {
    this.#drain();
    const from = this.elapsedMs;
    const heard = [false, false];
    for (;;) {
      this.#send(0);
      this.#send(1);
      this.#advance(1_000);
      for (const [i, end] of this.ends.entries()) if (end.received().length > 0) heard[i] = true;
      const gap = this.elapsedMs - from;
      if (heard[0] === true && heard[1] === true) {
        this.figures.longestGapMs = Math.max(this.figures.longestGapMs, gap - 1_000);
        return;
      }
      assert.ok(gap <= LONGEST_GAP_MS, `day ${this.elapsedMs / DAY}: nothing got through for ${gap} ms`);
    }
  }

  /** In calm weather nothing is lost, however many sessions come and go. */
  #calm(): void {
    this.#advance(10_000);
    this.#drain();
    const packets = 20 + this.#chance(150);
    const expected = [0, 0];
    const got = [0, 0];
    for (let i = 0; i < packets; i++) {
      const to = this.#chance(2) as 0 | 1;
      expected[to] = (expected[to] as number) + 1;
      this.#send(to === 0 ? 1 : 0);
      this.#advance(this.#chance(20_000));
      for (const [side, end] of this.ends.entries())
        got[side] = (got[side] as number) + end.received().length;
    }
    this.#advance(20_000);
    for (const [side, end] of this.ends.entries()) got[side] = (got[side] as number) + end.received().length;
    this.figures.lostInCalm += packets - (got[0] as number) - (got[1] as number);
    assert.deepEqual(got, expected, `day ${this.elapsedMs / DAY}: packets were lost in calm weather`);
  }

  /** After a long silence nothing of the sessions is left. */
  #silence(extraMs: number): void {
    this.#advance(ALL_FORGOTTEN_MS + extraMs);
    for (const end of this.ends) assert.deepEqual(end.device.timers(), [], `${end.name} has timers`);
    this.#drain();
  }

  #send(from: 0 | 1): void {
    this.figures.packets++;
    const [source, destination] = from === 0 ? ['10.0.0.1', '10.0.0.2'] : ['10.0.0.2', '10.0.0.1'];
    const packet = ipv4Packet(
      source as string,
      destination as string,
      40 + this.#chance(200),
      this.#serial++,
    );
    (this.ends[from] as End).send(packet);
  }

  #advance(ms: number): void {
    this.#pair.world.advance(ms);
    this.#latestWallMs = Math.max(this.#latestWallMs, this.#pair.clock.wallMs);
    // The log of the wire would be all that grows.
    this.#pair.wire.clear();
  }

  #drain(): void {
    for (const end of this.ends) end.received();
  }

  #chance(bound: number): number {
    return uniform(this.#random, bound);
  }
}

for (const seed of [1]) {
  test(`thirty simulated days, schedule ${seed}: no deadlock, no leak, no gap longer than the protocol allows`, async (t) => {
    const month = new Month(await pair({ seed, alice: options, bob: options }), seed);
    const free = month.ends.map((end) => end.arena.free);
    while (month.elapsedMs < DAYS * DAY) {
      await month.episode();
      for (const [i, end] of month.ends.entries())
        assert.equal(end.arena.free, free[i], `${end.name} takes ever more of its arena`);
    }
    t.diagnostic(JSON.stringify(month.figures));
  });
}
