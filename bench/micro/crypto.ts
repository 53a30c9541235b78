/** The primitives, backend by backend: packets of the data path in batches, and the operations of a handshake. */
import assert from 'node:assert/strict';
import { Arena } from '../../src/core/arena.ts';
import { systemRandom } from '../../src/core/random.ts';
import { NobleTransportAead } from '../../src/noise/aead-noble.ts';
import { NodeTransportAead } from '../../src/noise/aead-node.ts';
import { OpensslTransportAead } from '../../src/noise/aead-openssl.ts';
import { WasmTransportAead } from '../../src/noise/aead-wasm.ts';
import { AEAD_OK, AeadBatch, type TransportAead } from '../../src/noise/aead.ts';
import { wasmBlake2s } from '../../src/noise/blake2s-wasm.ts';
import { nobleAead, nobleBlake2s } from '../../src/noise/crypto-noble.ts';
import { nodeAead, nodeX25519 } from '../../src/noise/crypto-node.ts';
import { nobleX25519 } from '../../src/noise/x25519-noble.ts';
import { type Row, formatRow, nanoseconds } from './measure.ts';

const TRANSPORT_AEADS: readonly ((arena: Arena) => TransportAead)[] = [
  (arena) => new NobleTransportAead(arena),
  (arena) => new NodeTransportAead(arena),
  (arena) => new OpensslTransportAead(arena),
  (arena) => new WasmTransportAead(arena),
];
const X25519S = [nobleX25519, nodeX25519];
const AEADS = [nobleAead, nodeAead];
const BLAKE2SS = [nobleBlake2s, wasmBlake2s()];

const BATCH = 64;
const PACKET_SIZES = [64, 512, 1420];

export function benchCrypto(say: (line: string) => void): readonly Row[] {
  const rows: Row[] = [];
  const report = (row: Row): void => {
    rows.push(row);
    say(formatRow(row));
  };
  for (const size of PACKET_SIZES) benchTransport(size, report);
  benchHandshakePrimitives(report);
  return rows;
}

function benchTransport(size: number, report: (row: Row) => void): void {
  const key = new Uint8Array(32).fill(7);
  let expected: Uint8Array | undefined;
  for (const make of TRANSPORT_AEADS) {
    const arena = new Arena({ bytes: 1 << 20 });
    const aead = make(arena);
    const batch = new AeadBatch(arena, BATCH);
    const handle = aead.addKey(key);
    const stride = 2048;
    const slots = arena.alloc(BATCH * stride);
    for (let i = 0; i < BATCH; i++) batch.push(slots + i * stride + 16, size, i, 0, handle);

    aead.seal(batch);
    const sealed = arena.u8.slice(slots, slots + BATCH * stride);
    expected ??= sealed;
    assert.ok(Buffer.compare(sealed, expected) === 0, `${aead.name} seals as the first backend does`);

    const seal = nanoseconds(() => aead.seal(batch)) / BATCH;
    report({ operation: `seal ${size} B, batch ${BATCH}`, backend: aead.name, ns: seal, bytes: size });
    arena.u8.set(sealed, slots);
    // Opening is in place, so every run needs the sealed packets again; the copy is taken off.
    const restore = nanoseconds(() => arena.u8.set(sealed, slots)) / BATCH;
    const open = nanoseconds(() => {
      arena.u8.set(sealed, slots);
      aead.open(batch);
    });
    assert.ok(batch.status(0) === AEAD_OK && batch.status(BATCH - 1) === AEAD_OK);
    const ns = open / BATCH - restore;
    report({ operation: `open ${size} B, batch ${BATCH}`, backend: aead.name, ns, bytes: size });
  }
}

function benchHandshakePrimitives(report: (row: Row) => void): void {
  const bytes = (size: number) => new Uint8Array(size).fill(9);
  for (const x25519 of X25519S) {
    const key = x25519.importPrivateKey(bytes(32));
    const point = x25519.generate(systemRandom).publicKey;
    const remote = x25519.importPublicKey(point);
    const name = x25519.name;
    report({
      operation: 'X25519 generate',
      backend: name,
      ns: nanoseconds(() => x25519.generate(systemRandom)),
    });
    report({
      operation: 'X25519 import public key',
      backend: name,
      ns: nanoseconds(() => x25519.importPublicKey(point)),
    });
    report({
      operation: 'X25519 shared secret',
      backend: name,
      ns: nanoseconds(() => key.diffieHellman(remote)),
    });
  }
  for (const aead of AEADS) {
    const nonce = bytes(12);
    const ns = nanoseconds(() => aead.seal(bytes(32), nonce, bytes(32), bytes(32)));
    report({ operation: 'AEAD 32 B with 32 B of data', backend: aead.name, ns });
  }
  for (const blake2s of BLAKE2SS) {
    const name = blake2s.name;
    report({
      operation: 'BLAKE2s 64 B',
      backend: name,
      ns: nanoseconds(() => blake2s.hash(bytes(32), bytes(32))),
    });
    report({
      operation: 'keyed BLAKE2s 116 B',
      backend: name,
      ns: nanoseconds(() => blake2s.mac(bytes(32), bytes(116))),
    });
    report({
      operation: 'HMAC-BLAKE2s 32 B',
      backend: name,
      ns: nanoseconds(() => blake2s.hmac(bytes(32), bytes(32))),
    });
  }
}
