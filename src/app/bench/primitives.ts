/** The primitives of a handshake, backend by backend. */
import { systemRandom } from '../../core/random.ts';
import { wasmBlake2s } from '../../noise/blake2s-wasm.ts';
import { nobleAead, nobleBlake2s } from '../../noise/crypto-noble.ts';
import { nodeAead, nodeX25519 } from '../../noise/crypto-node.ts';
import { nobleX25519 } from '../../noise/x25519-noble.ts';
import { type Step, timing } from './measure.ts';

const X25519S = [nobleX25519, nodeX25519];
const AEADS = [nobleAead, nodeAead];

export function primitiveSteps(): Step[] {
  const bytes = (size: number) => new Uint8Array(size).fill(9);
  const step = (operation: string, backend: string, prepare: () => () => unknown): Step => ({
    label: `${operation}, ${backend}`,
    run: () => {
      const operate = prepare();
      return [{ operation, backend, ...timing(() => void operate()) }];
    },
  });
  return [
    ...X25519S.flatMap((x25519) => [
      step('X25519 generate', x25519.name, () => () => x25519.generate(systemRandom)),
      step('X25519 import public key', x25519.name, () => {
        const point = x25519.generate(systemRandom).publicKey;
        return () => x25519.importPublicKey(point);
      }),
      step('X25519 shared secret', x25519.name, () => {
        const key = x25519.importPrivateKey(bytes(32));
        const remote = x25519.importPublicKey(x25519.generate(systemRandom).publicKey);
        return () => key.diffieHellman(remote);
      }),
    ]),
    ...AEADS.map((aead) =>
      step(
        'AEAD 32 B with 32 B of data',
        aead.name,
        () => () => aead.seal(bytes(32), bytes(12), bytes(32), bytes(32)),
      ),
    ),
    ...[nobleBlake2s, wasmBlake2s()].flatMap((blake2s) => [
      step('BLAKE2s 64 B', blake2s.name, () => () => blake2s.hash(bytes(32), bytes(32))),
      step('keyed BLAKE2s 116 B', blake2s.name, () => () => blake2s.mac(bytes(32), bytes(116))),
      step('HMAC-BLAKE2s 32 B', blake2s.name, () => () => blake2s.hmac(bytes(32), bytes(32))),
    ]),
  ];
}
