/** The primitives of a handshake, backend by backend. */
import { systemRandom } from '../../src/core/random.ts';
import { wasmBlake2s } from '../../src/noise/blake2s-wasm.ts';
import { nobleAead, nobleBlake2s } from '../../src/noise/crypto-noble.ts';
import { nodeAead, nodeX25519 } from '../../src/noise/crypto-node.ts';
import { nobleX25519 } from '../../src/noise/x25519-noble.ts';
import { type Row, formatRow, nanoseconds } from './measure.ts';

const X25519S = [nobleX25519, nodeX25519];
const AEADS = [nobleAead, nodeAead];
const BLAKE2SS = [nobleBlake2s, wasmBlake2s()];

export function benchCrypto(say: (line: string) => void): readonly Row[] {
  const rows: Row[] = [];
  const report = (row: Row): void => {
    rows.push(row);
    say(formatRow(row));
  };
  benchHandshakePrimitives(report);
  return rows;
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
