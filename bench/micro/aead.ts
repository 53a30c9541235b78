/**
 * ChaCha20-Poly1305 of the data path: every backend at every packet size, and beside them in the same run what
 * `openssl speed` reaches on this machine without any calls between packets.
 */
import assert from 'node:assert/strict';
import { Arena } from '../../src/core/arena.ts';
import { NobleTransportAead } from '../../src/noise/aead-noble.ts';
import { NodeTransportAead } from '../../src/noise/aead-node.ts';
import { OpensslCoreTransportAead } from '../../src/noise/aead-openssl-core.ts';
import { OpensslTransportAead } from '../../src/noise/aead-openssl.ts';
import { WasmTransportAead } from '../../src/noise/aead-wasm.ts';
import { AEAD_OK, AeadBatch, type TransportAead } from '../../src/noise/aead.ts';
import { AEAD_TAG_SIZE } from '../../src/noise/constants.ts';
import { output } from '../facts.ts';
import { type Row, formatRow, leastNanoseconds } from './measure.ts';

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

export function benchAead(say: (line: string) => void): readonly Row[] {
  const rows: Row[] = [];
  const report = (row: Row): void => {
    rows.push(row);
    say(formatRow(row));
  };
  for (const size of SIZES) {
    let reference: Uint8Array | undefined;
    for (const subject of SUBJECTS) {
      const bench = new PacketBench(subject, size);
      reference ??= bench.firstSealed;
      assert.deepEqual(bench.firstSealed, reference, `${bench.backend} seals as the first backend does`);
      const { sealNs, openNs } = bench.measure();
      report({ operation: `seal ${size} B`, backend: bench.backend, ns: sealNs, bytes: size });
      report({ operation: `open ${size} B`, backend: bench.backend, ns: openNs, bytes: size });
    }
    const limit = opensslSpeed(size);
    if (limit !== undefined) report(limit);
  }
  return rows;
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

  /** Nanoseconds of a packet. Opening is in place, so each run has to seal first; that is taken off. */
  measure(): { readonly sealNs: number; readonly openNs: number } {
    const [seal, both] = leastNanoseconds([
      () => this.#aead.seal(this.#batch),
      () => {
        this.#aead.seal(this.#batch);
        this.#aead.open(this.#batch);
      },
    ]) as [number, number];
    for (let i = 0; i < this.#batch.count; i++) assert.equal(this.#batch.status(i), AEAD_OK);
    return { sealNs: seal / this.#batch.count, openNs: (both - seal) / this.#batch.count };
  }
}

/** The program counts bytes per second of one endless message per size. Undefined where it is not installed. */
function opensslSpeed(size: number): Row | undefined {
  const args = ['speed', '-seconds', '1', '-bytes', String(size), '-evp', 'chacha20-poly1305'];
  const rate = /^ChaCha20-Poly1305\s+([\d.]+)k/im.exec(output('openssl', args))?.[1];
  if (rate === undefined) return undefined;
  return {
    operation: `limit ${size} B`,
    backend: 'openssl speed',
    ns: (size * 1e6) / Number(rate),
    bytes: size,
  };
}
