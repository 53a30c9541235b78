/**
 * ChaCha20-Poly1305 of the data path: every backend at every packet size, and beside them in the same run what
 * `openssl speed` reaches on this machine without any calls between packets.
 */
import assert from 'node:assert/strict';
import { Arena } from '../../core/arena.ts';
import { AppError } from '../../core/errors.ts';
import { NobleTransportAead } from '../../noise/aead-noble.ts';
import { NodeTransportAead } from '../../noise/aead-node.ts';
import { OpensslCoreTransportAead } from '../../noise/aead-openssl-core.ts';
import { OpensslTransportAead } from '../../noise/aead-openssl.ts';
import { WasmTransportAead } from '../../noise/aead-wasm.ts';
import { AEAD_OK, AeadBatch, type TransportAead } from '../../noise/aead.ts';
import { AEAD_TAG_SIZE } from '../../noise/constants.ts';
import { output } from './facts.ts';
import { ROUNDS, type Row, type Step, type Timing, timings } from './measure.ts';

const SIZES = [64, 256, 512, 1280, 1420, 16_384];
const LARGEST_BATCH = 64;

interface Subject {
  readonly make: (arena: Arena) => TransportAead;
  readonly batch: number;
}

const SUBJECTS: readonly Subject[] = [
  { make: (arena) => new NobleTransportAead(arena), batch: 1 },
  { make: (arena) => new NodeTransportAead(arena), batch: 1 },
  { make: (arena) => new OpensslTransportAead(arena), batch: LARGEST_BATCH },
  { make: (arena) => new OpensslCoreTransportAead(arena), batch: 1 },
  { make: (arena) => new OpensslCoreTransportAead(arena), batch: LARGEST_BATCH },
  { make: (arena) => new WasmTransportAead(arena), batch: 1 },
  { make: (arena) => new WasmTransportAead(arena), batch: LARGEST_BATCH },
];

/** `sizes`: bytes of a packet; `rounds`: of each measurement. */
export function aeadSteps(sizes: readonly number[] = SIZES, rounds: number = ROUNDS): Step[] {
  return sizes.flatMap((size) => {
    let reference: Uint8Array | undefined;
    const backends = SUBJECTS.map((subject): Step => ({
      label: `ChaCha20-Poly1305 of ${size} B`,
      run: () => {
        const bench = openBench(subject, size);
        if (typeof bench === 'string') return [];
        reference ??= bench.firstSealed;
        assert.deepEqual(bench.firstSealed, reference, `${bench.backend} seals as the first backend does`);
        const { seal, open } = bench.measure(rounds);
        return [
          { operation: `seal ${size} B`, backend: bench.backend, bytes: size, ...seal },
          { operation: `open ${size} B`, backend: bench.backend, bytes: size, ...open },
        ];
      },
    }));
    return [...backends, { label: `openssl speed of ${size} B`, run: () => opensslSpeed(size) }];
  });
}

/** A backend that this machine lacks (an OpenSSL without the functions) is left out. */
function openBench(subject: Subject, size: number): PacketBench | string {
  try {
    return new PacketBench(subject, size);
  } catch (error) {
    if (error instanceof AppError && error.code === 'unavailable') return error.message;
    throw error;
  }
}

/** A batch of equal packets, one behind the other, as a socket with segmentation offload has them. */
class PacketBench {
  readonly backend: string;
  /** The first packet after sealing, tag included. */
  readonly firstSealed: Uint8Array;
  readonly #aead: TransportAead;
  readonly #batch: AeadBatch;

  constructor({ make, batch }: Subject, size: number) {
    const stride = size + AEAD_TAG_SIZE;
    const arena = new Arena({ bytes: batch * stride + 65_536 });
    this.#aead = make(arena);
    this.#batch = new AeadBatch(arena, batch);
    const at = arena.alloc(batch * stride);
    this.backend = `${this.#aead.name} x${batch}`;
    const key = this.#aead.addKey(new Uint8Array(32).fill(7));
    for (let i = 0; i < batch; i++) this.#batch.push(at + i * stride, size, i, 0, key);
    this.#aead.seal(this.#batch);
    this.firstSealed = arena.u8.slice(at, at + stride);
  }

  /** Of a packet. Opening is in place, so each run has to seal first; that is taken off. */
  measure(rounds: number): { readonly seal: Timing; readonly open: Timing } {
    const [seal, both] = timings(
      [
        () => this.#aead.seal(this.#batch),
        () => {
          this.#aead.seal(this.#batch);
          this.#aead.open(this.#batch);
        },
      ],
      rounds,
    ) as [Timing, Timing];
    const { count } = this.#batch;
    for (let i = 0; i < this.#batch.count; i++) assert.equal(this.#batch.status(i), AEAD_OK);
    return {
      seal: { ns: seal.ns / count, spread: seal.spread },
      open: { ns: (both.ns - seal.ns) / count, spread: both.spread },
    };
  }
}

/** The program counts bytes per second of one endless message per size. Empty where it is not installed. */
function opensslSpeed(size: number): Row[] {
  const args = ['speed', '-seconds', '1', '-bytes', String(size), '-evp', 'chacha20-poly1305'];
  const rate = /^ChaCha20-Poly1305\s+([\d.]+)k/im.exec(output('openssl', args))?.[1];
  if (rate === undefined) return [];
  const ns = (size * 1e6) / Number(rate);
  return [{ operation: `seal ${size} B`, backend: 'openssl speed', ns, bytes: size }];
}
