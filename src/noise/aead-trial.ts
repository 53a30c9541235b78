/** Tries a transport AEAD before it is trusted: known answers, then speed. */
import { createHash } from 'node:crypto';
import { Arena } from '../core/arena.ts';
import { toHex } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import { AEAD_FORGED, AEAD_OK, AeadBatch, type TransportAead } from './aead.ts';
import { AEAD_TAG_SIZE } from './constants.ts';
import { KEY_SIZE } from './keys.ts';

/** Text sizes in bytes that are measured: an acknowledgement, a middle, a full packet, a jumbo one. */
export const TRIAL_SIZES: readonly number[] = [64, 512, 1420, 16_384];

/** Packets of a batch for each size. */
const TRIAL_BATCHES: readonly number[] = [32, 16, 16, 2];

/** V8 has compiled WebAssembly and the loops around foreign functions well after 7 ms of work. */
const WARM_UP_MS = 5;
/** The same where other processes take most of the time: about 3 ms of work. */
const WARM_UP_ROUNDS = 24;
/** V8 compiles in a thread of its own, which has to get its turn on a busy machine, this often and this long. */
const PAUSE_EVERY_ROUNDS = 8;
const PAUSE_MS = 1;
const MEASURE_MS = 1;

/** Texts of the known answer: none, one, block and group sizes and their neighbours, equal ones, a long one. */
const ANSWER_LENGTHS: readonly number[] = [
  0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257, 447, 448, 449, 511,
  512, 513, 64, 64, 64, 64, 64, 64, 64, 64, 1420, 1420, 1420, 1420, 40, 1420, 0, 1420, 16_384,
];

/**
 * SHA-256 of what these texts become under the keys and counters of `layAnswer`, packets one behind the other.
 * Computed with node:crypto; a test does so again.
 */
export const ANSWER_SHA256 = '5392e49fc01121a765424a05a77a5d2c22cc27bb574ad73c0eb61a8e445364d0';

/** Arena bytes that a trial takes, apart from what the backend takes for itself. */
const TEXTS_SIZE = 65_536;

export interface Trial {
  readonly arena: Arena;
  readonly aead: TransportAead;
  readonly batch: AeadBatch;
  readonly texts: number;
}

/** A backend on an arena of its own. Throws what `make` throws. */
export function beginTrial(make: (arena: Arena) => TransportAead, shared: boolean): Trial {
  const arena = new Arena({ bytes: TEXTS_SIZE + 32_768, shared });
  return { arena, aead: make(arena), batch: new AeadBatch(arena, 64), texts: arena.alloc(TEXTS_SIZE) };
}

/** Fills the batch and the texts of the known answer. Returns the bytes they take, tags included. */
function layAnswer({ arena, batch, texts }: Trial, keys: readonly number[]): number {
  batch.clear();
  let at = texts;
  for (const [i, length] of ANSWER_LENGTHS.entries()) {
    for (let j = 0; j < length; j++) arena.u8[at + j] = i + 7 * j;
    batch.push(at, length, (0xffff_fffe + i) >>> 0, i, keys[i % keys.length] as number);
    at += length + AEAD_TAG_SIZE;
  }
  return at - texts;
}

/** Returns what is wrong with the backend, or undefined. Run it again when the code may have been recompiled. */
export function testAnswers(trial: Trial): string | undefined {
  const { arena, aead, batch, texts } = trial;
  const keys = [0x00, 0x5a, 0xff].map((fill) => aead.addKey(new Uint8Array(KEY_SIZE).fill(fill)));
  try {
    const size = layAnswer(trial, keys);
    const plain = arena.u8.slice(texts, texts + size);
    aead.seal(batch);
    const sealed = arena.u8.slice(texts, texts + size);
    const digest = toHex(createHash('sha256').update(sealed).digest());
    if (digest !== ANSWER_SHA256) return 'seals wrongly';
    for (let i = 0; i < batch.count; i += 3) {
      const at = batch.at(i) + (i % (batch.length(i) + AEAD_TAG_SIZE));
      arena.u8[at] = (arena.u8[at] as number) ^ (1 << (i % 8));
    }
    aead.open(batch);
    for (let i = 0; i < batch.count; i++) {
      if (batch.status(i) !== (i % 3 === 0 ? AEAD_FORGED : AEAD_OK)) return 'takes a tag for what it is not';
      if (i % 3 === 0) continue;
      const at = batch.at(i);
      const end = at + batch.length(i);
      const text = plain.subarray(at - texts, end - texts);
      if (Buffer.compare(arena.u8.subarray(at, end), text) !== 0) return 'opens wrongly';
    }
    return undefined;
  } finally {
    for (const key of keys) aead.dropKey(key);
  }
}

/** Nanoseconds of a packet, the mean of sealing and opening, for each of TRIAL_SIZES. */
export function measureTrial(trial: Trial, clock: Clock): number[] {
  const { aead } = trial;
  const key = aead.addKey(new Uint8Array(KEY_SIZE));
  const results = TRIAL_SIZES.map((size, i) => {
    layPackets(trial, key, size, TRIAL_BATCHES[i] as number);
    return measure(trial, clock);
  });
  aead.dropKey(key);
  return results;
}

/** Works until V8 has seen that this is hot and has compiled it well. */
export function warmUp(trial: Trial, clock: Clock): void {
  const { aead, batch } = trial;
  const key = aead.addKey(new Uint8Array(KEY_SIZE));
  const end = clock.now() + WARM_UP_MS;
  // Alone and together, short and long: they take different ways through the kernels.
  for (let round = 0; round < MAX_ROUNDS && (round < WARM_UP_ROUNDS || clock.now() < end); round++) {
    const kind = round % 4;
    layPackets(trial, key, kind < 2 ? 1420 : 64, kind % 2 === 0 ? 16 : 1);
    if (round % PAUSE_EVERY_ROUNDS === PAUSE_EVERY_ROUNDS - 1) pause();
    for (let i = 0; i < 8; i++) {
      aead.seal(batch);
      aead.open(batch);
    }
  }
  aead.dropKey(key);
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
}

/** A round may be hit by the garbage collector or by another process. */
const MIN_ROUNDS = 3;
/** Bounds the loops for a clock that stands still. */
const MAX_ROUNDS = 10_000;

function layPackets({ batch, texts }: Trial, key: number, size: number, count: number): void {
  batch.clear();
  for (let i = 0; i < count; i++) batch.push(texts + i * (size + AEAD_TAG_SIZE), size, i, 0, key);
}

/** The fastest of several rounds, so that a busy machine does not count. */
function measure({ aead, batch }: Trial, clock: Clock): number {
  let best = Number.POSITIVE_INFINITY;
  const start = clock.now();
  let now = start;
  for (let round = 0; round < MAX_ROUNDS && (round < MIN_ROUNDS || now - start < MEASURE_MS); round++) {
    aead.seal(batch);
    aead.open(batch);
    const end = clock.now();
    best = Math.min(best, end - now);
    now = end;
  }
  return (best * 1e6) / (2 * batch.count);
}
