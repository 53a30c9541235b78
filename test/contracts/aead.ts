/**
 * What every TransportAead has to do. Call it with each implementation: `transportAeadContract('wasm', (arena) => ...)`.
 * The oracle is node:crypto, one packet at a time. After each call the whole region around the packets is compared, so
 * a byte written outside of `at .. at + length + 16` fails every test here.
 */
import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { Arena } from '../../src/core/arena.ts';
import { uniform } from '../../src/core/random.ts';
import { AEAD_FORGED, AEAD_OK, AeadBatch, type TransportAead } from '../../src/noise/aead.ts';
import { randomBytes, seededRandom } from '../kit/random.ts';

const TAG = 16;
const BATCH = 64;
const REGION = 1 << 18;
const LARGEST_TEXT = 65_535 - 16;

interface Packet {
  readonly text: Uint8Array;
  readonly counterLow: number;
  readonly counterHigh: number;
  /** Index into the keys of the bench. */
  readonly key: number;
  /** Bytes left free before the packet. */
  readonly gap: number;
}

function sealWithOracle(key: Uint8Array, packet: Packet): Uint8Array {
  const nonce = new Uint8Array(12);
  const view = new DataView(nonce.buffer);
  view.setUint32(4, packet.counterLow, true);
  view.setUint32(8, packet.counterHigh, true);
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG });
  const text = cipher.update(packet.text);
  cipher.final();
  return Buffer.concat([text, cipher.getAuthTag()]);
}

/** An arena with packets laid out in it and a copy of what it should hold. */
class Bench {
  readonly arena: Arena;
  readonly aead: TransportAead;
  readonly batch: AeadBatch;
  readonly keys: readonly Uint8Array[];
  readonly handles: readonly number[];
  readonly #region: number;
  #expected: Uint8Array = new Uint8Array(REGION);

  constructor(make: (arena: Arena) => TransportAead, keyCount = 3, shared = false) {
    this.arena = new Arena({ bytes: REGION + (1 << 16), shared });
    this.aead = make(this.arena);
    this.batch = new AeadBatch(this.arena, BATCH);
    this.#region = this.arena.alloc(REGION);
    const random = seededRandom(keyCount);
    this.keys = Array.from({ length: keyCount }, () => randomBytes(random, 32));
    this.handles = this.keys.map((key) => this.aead.addKey(key));
  }

  /** Puts the packets one behind the other and fills the batch; returns their arena offsets. */
  lay(packets: readonly Packet[], content: (packet: Packet) => Uint8Array): number[] {
    this.#expected.fill(0xa5);
    this.batch.clear();
    let next = 0;
    const offsets = packets.map((packet) => {
      const at = next + packet.gap;
      const bytes = content(packet);
      this.#expected.set(bytes, at);
      next = at + packet.text.length + TAG;
      this.batch.push(
        this.#region + at,
        packet.text.length,
        packet.counterLow,
        packet.counterHigh,
        this.handles[packet.key] as number,
      );
      return at;
    });
    assert.ok(next <= REGION, 'the test lays out more than the region holds');
    this.arena.u8.set(this.#expected, this.#region);
    return offsets.map((at) => this.#region + at);
  }

  sealed(packet: Packet): Uint8Array {
    return sealWithOracle(this.keys[packet.key] as Uint8Array, packet);
  }

  bytes(at: number, length: number): Uint8Array {
    return this.arena.u8.slice(at, at + length);
  }

  /** Fails unless the region holds what was laid out, apart from these changes. */
  check(changes: readonly { at: number; bytes: Uint8Array }[], message: string): void {
    for (const { at, bytes } of changes) this.#expected.set(bytes, at - this.#region);
    const actual = this.arena.u8.subarray(this.#region, this.#region + REGION);
    if (Buffer.compare(actual, this.#expected) === 0) return;
    const where = actual.findIndex((byte, i) => byte !== this.#expected[i]);
    assert.fail(`${message}: byte ${where} of the region is ${actual[where]}, not ${this.#expected[where]}`);
  }

  sealAndCheck(packets: readonly Packet[], message: string): void {
    const offsets = this.lay(packets, (packet) => packet.text);
    this.aead.seal(this.batch);
    this.check(
      packets.map((packet, i) => ({ at: offsets[i] as number, bytes: this.sealed(packet) })),
      `${message}, seal`,
    );
  }

  openAndCheck(packets: readonly Packet[], message: string): void {
    const offsets = this.lay(packets, (packet) => this.sealed(packet));
    this.aead.open(this.batch);
    for (const i of packets.keys()) assert.equal(this.batch.status(i), AEAD_OK, `${message}, packet ${i}`);
    this.check(
      packets.map((packet, i) => ({ at: offsets[i] as number, bytes: packet.text })),
      `${message}, open`,
    );
  }

  sealAndOpen(packets: readonly Packet[], message: string): void {
    this.sealAndCheck(packets, message);
    this.openAndCheck(packets, message);
  }
}

function packetOf(text: Uint8Array, more: Partial<Packet> = {}): Packet {
  return { text, counterLow: 0, counterHigh: 0, key: 0, gap: 0, ...more };
}

export function transportAeadContract(name: string, make: (arena: Arena) => TransportAead): void {
  describe(`transport AEAD ${name}`, () => {
    test('seals and opens every length from 0 to 2000 at every alignment, in batches of 1 to 64', () => {
      const bench = new Bench(make);
      const random = seededRandom(1);
      const packets = Array.from({ length: 2001 }, (_, length) =>
        packetOf(randomBytes(random, length), {
          counterLow: random.u32(),
          counterHigh: random.u32(),
          key: uniform(random, bench.keys.length),
          gap: length % 19,
        }),
      );
      for (let from = 0, size = 1; from < packets.length; from += size, size = (size % BATCH) + 1) {
        bench.sealAndOpen(packets.slice(from, from + size), `lengths from ${from}, batch of ${size}`);
      }
    });

    test('seals and opens long packets up to the largest datagram', () => {
      const bench = new Bench(make);
      const random = seededRandom(2);
      for (const length of [2047, 2048, 4095, 4096, 8191, 8193, 16_384, 32_769, 65_500, LARGEST_TEXT]) {
        const packets = [packetOf(randomBytes(random, length), { counterLow: length, gap: length % 7 })];
        bench.sealAndOpen(packets, `length ${length}`);
      }
    });

    test('seals and opens packets of one batch that differ widely in length and touch each other', () => {
      const bench = new Bench(make);
      const random = seededRandom(3);
      const packets = Array.from({ length: BATCH }, (_, i) =>
        packetOf(randomBytes(random, i % 3 === 0 ? uniform(random, 9000) : uniform(random, 130)), {
          counterLow: i,
          key: i % bench.keys.length,
        }),
      );
      bench.sealAndOpen(packets, 'mixed batch');
    });

    test('uses all 64 bits of the counter', () => {
      const bench = new Bench(make);
      const halves = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
      const packets = halves.flatMap((counterLow) =>
        halves.map((counterHigh) => packetOf(new Uint8Array(100), { counterLow, counterHigh })),
      );
      bench.sealAndOpen(packets, 'counter extremes');
    });

    test('carries correctly through Poly1305 for texts of extreme bytes', () => {
      const bench = new Bench(make, 16);
      for (const fill of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
        for (let length = 0; length <= 320; length += 16) {
          // The oracle seals what makes the *ciphertext* extreme: the text is the key stream, or its complement.
          const packets = bench.keys.map((_, key) => {
            const stream = sealWithOracle(bench.keys[key] as Uint8Array, packetOf(new Uint8Array(length)));
            return packetOf(
              stream.subarray(0, length).map((byte) => byte ^ fill),
              { key },
            );
          });
          bench.sealAndOpen(packets, `ciphertext of ${length} bytes ${fill}`);
        }
      }
    });

    test('refuses any flipped bit of text or tag and opens the good packets of the same batch', () => {
      const bench = new Bench(make);
      const random = seededRandom(4);
      for (const length of [0, 1, 15, 16, 64, 200]) {
        for (let bit = 0; bit < (length + TAG) * 8; bit += BATCH / 2) {
          const packets = Array.from({ length: BATCH }, (_, i) =>
            packetOf(randomBytes(random, length), { counterLow: bit + i, gap: i % 5 }),
          );
          const offsets = bench.lay(packets, (packet) => bench.sealed(packet));
          const isForged = (i: number) => i % 2 === 1 && bit + (i >> 1) < (length + TAG) * 8;
          for (const [i, at] of offsets.entries()) {
            if (!isForged(i)) continue;
            const flipped = bit + (i >> 1);
            const byte = at + (flipped >> 3);
            bench.arena.u8[byte] = (bench.arena.u8[byte] as number) ^ (1 << (flipped & 7));
          }
          bench.aead.open(bench.batch);
          for (const i of packets.keys()) {
            assert.equal(
              bench.batch.status(i),
              isForged(i) ? AEAD_FORGED : AEAD_OK,
              `bit ${bit}, packet ${i}`,
            );
          }
          bench.check(
            packets.map((packet, i) => {
              const at = offsets[i] as number;
              // What a refused packet leaves behind is unspecified, within its own bytes.
              return { at, bytes: isForged(i) ? bench.bytes(at, length + TAG) : packet.text };
            }),
            `length ${length}, bit ${bit}`,
          );
        }
      }
    });

    test('leaves no plaintext behind when the tag is wrong', () => {
      const bench = new Bench(make);
      const packet = packetOf(new TextEncoder().encode('attack at dawn, says the general to his troops'));
      const [at] = bench.lay([packet], (p) => bench.sealed(p)) as [number];
      const tag = at + packet.text.length;
      bench.arena.u8[tag] = (bench.arena.u8[tag] as number) ^ 1;
      bench.aead.open(bench.batch);
      assert.equal(bench.batch.status(0), AEAD_FORGED);
      const left = bench.bytes(at, packet.text.length);
      let equal = 0;
      for (const [i, byte] of left.entries()) if (byte === packet.text[i]) equal++;
      assert.ok(equal < packet.text.length / 2, `${equal} of ${packet.text.length} bytes are plaintext`);
    });

    test('refuses a packet under another counter, another key, another length, or with a tag of its neighbour', () => {
      const bench = new Bench(make);
      const random = seededRandom(5);
      const good = packetOf(randomBytes(random, 100), { counterLow: 7, counterHigh: 9 });
      const wrong: readonly [string, (at: number) => void][] = [
        ['counter low', (at) => bench.batch.push(at, 100, 6, 9, bench.handles[0] as number)],
        ['counter high', (at) => bench.batch.push(at, 100, 7, 8, bench.handles[0] as number)],
        ['halves swapped', (at) => bench.batch.push(at, 100, 9, 7, bench.handles[0] as number)],
        ['key', (at) => bench.batch.push(at, 100, 7, 9, bench.handles[1] as number)],
        ['shorter', (at) => bench.batch.push(at, 99, 7, 9, bench.handles[0] as number)],
        ['longer', (at) => bench.batch.push(at, 101, 7, 9, bench.handles[0] as number)],
        ['shifted', (at) => bench.batch.push(at + 1, 100, 7, 9, bench.handles[0] as number)],
      ];
      for (const [what, push] of wrong) {
        const [at] = bench.lay([good], (packet) => bench.sealed(packet)) as [number];
        bench.batch.clear();
        push(at);
        bench.aead.open(bench.batch);
        assert.equal(bench.batch.status(0), AEAD_FORGED, what);
      }
      const pair = [good, packetOf(randomBytes(random, 100), { counterLow: 8, counterHigh: 9 })];
      const [first, second] = bench.lay(pair, (packet) => bench.sealed(packet)) as [number, number];
      const tags = [bench.bytes(first + 100, TAG), bench.bytes(second + 100, TAG)] as const;
      bench.arena.u8.set(tags[1], first + 100);
      bench.arena.u8.set(tags[0], second + 100);
      bench.aead.open(bench.batch);
      assert.deepEqual([bench.batch.status(0), bench.batch.status(1)], [AEAD_FORGED, AEAD_FORGED]);
    });

    test('works on an arena that threads share', () => {
      const bench = new Bench(make, 3, true);
      const random = seededRandom(7);
      const packets = Array.from({ length: BATCH }, (_, i) =>
        packetOf(randomBytes(random, i * 23), { counterLow: i, key: i % bench.keys.length, gap: i % 3 }),
      );
      bench.sealAndOpen(packets, 'shared arena');
    });

    test('does nothing for an empty batch', () => {
      const bench = new Bench(make);
      bench.lay([], (packet) => packet.text);
      bench.aead.seal(bench.batch);
      bench.aead.open(bench.batch);
      bench.check([], 'empty batch');
    });

    test('keeps its own copy of a key, and a handle that is dropped and given out again means the new key', () => {
      const bench = new Bench(make);
      assert.ok(bench.handles.every((handle) => handle !== 0));
      assert.equal(new Set(bench.handles).size, bench.handles.length);
      const key = randomBytes(seededRandom(6), 32);
      for (let round = 0; round < 300; round++) {
        const copy = key.slice();
        copy[0] = round;
        copy[1] = round >> 8;
        const handle = bench.aead.addKey(copy);
        const expected = sealWithOracle(copy, packetOf(new Uint8Array(32)));
        copy.fill(0);
        const [at] = bench.lay([packetOf(new Uint8Array(32))], (packet) => packet.text) as [number];
        bench.batch.clear();
        bench.batch.push(at, 32, 0, 0, handle);
        bench.aead.seal(bench.batch);
        bench.check([{ at, bytes: expected }], `round ${round}`);
        bench.aead.dropKey(handle);
      }
      bench.sealAndOpen([packetOf(new Uint8Array(50))], 'the other keys after all that');
    });

    test('agrees with the oracle for any batch (property)', () => {
      const bench = new Bench(make);
      const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
      const packet = fc.record({
        text: fc.uint8Array({ maxLength: 700, size: 'max' }),
        counterLow: u32,
        counterHigh: u32,
        key: fc.integer({ min: 0, max: bench.keys.length - 1 }),
        gap: fc.integer({ min: 0, max: 80 }),
      });
      fc.assert(
        fc.property(fc.array(packet, { minLength: 1, maxLength: BATCH }), (packets) => {
          bench.sealAndOpen(packets, 'any batch');
        }),
        { numRuns: 60 },
      );
    });
  });
}
