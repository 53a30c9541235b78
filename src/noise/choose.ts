/**
 * Tries the backends of the handshake primitives at start and takes the fastest of each kind that answers correctly.
 * About 10 milliseconds in all.
 */
import { constantTimeEqual } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import { systemRandom } from '../core/random.ts';
import { wasmBlake2s } from './blake2s-wasm.ts';
import { AEAD_NONCE_SIZE, HASH_SIZE } from './constants.ts';
import { nobleAead, nobleBlake2s } from './crypto-noble.ts';
import { nodeAead, nodeX25519 } from './crypto-node.ts';
import type { Aead, Blake2s, Crypto, X25519 } from './crypto.ts';

export interface Candidate {
  readonly name: string;
  /** Nanoseconds of one operation as a handshake does it, just after start; undefined when it failed. */
  readonly ns: number | undefined;
}

export interface Measurement {
  readonly operation: 'X25519' | 'ChaCha20-Poly1305' | 'BLAKE2s';
  /** Name of the backend that is used. */
  readonly chosen: string;
  readonly candidates: readonly Candidate[];
}

export interface CryptoChoice {
  readonly crypto: Crypto;
  readonly measurements: readonly Measurement[];
}

/** What to choose from. The first of a list is the reference that the others have to agree with. */
export interface Backends {
  readonly x25519: readonly X25519[];
  readonly aead: readonly Aead[];
  readonly blake2s: readonly Blake2s[];
}

/** All there are, except noble's X25519: 25 times slower and not constant time, it steps in when all others fail. */
export function allBackends(): Backends {
  return { x25519: [nodeX25519], aead: [nobleAead, nodeAead], blake2s: [nobleBlake2s, ...compiledBlake2s()] };
}

function compiledBlake2s(): readonly Blake2s[] {
  try {
    return [wasmBlake2s()];
  } catch {
    // A processor without SIMD.
    return [];
  }
}

/** Each candidate runs for this many milliseconds, or until a group of runs has this size. */
const BUDGET_MS = 1;
const MAX_GROUP = 1_024;

export async function chooseCrypto(clock: Clock, backends: Backends = allBackends()): Promise<CryptoChoice> {
  const x25519 = tryAll(clock, backends.x25519, probeX25519);
  const aead = tryAll(clock, backends.aead, probeAead);
  const blake2s = tryAll(clock, backends.blake2s, probeBlake2s);
  const best = x25519.best ?? (await import('./x25519-noble.ts')).nobleX25519;
  const crypto = { x25519: best, aead: aead.best ?? nobleAead, blake2s: blake2s.best ?? nobleBlake2s };
  return {
    crypto,
    measurements: [
      { operation: 'X25519', chosen: crypto.x25519.name, candidates: x25519.candidates },
      { operation: 'ChaCha20-Poly1305', chosen: crypto.aead.name, candidates: aead.candidates },
      { operation: 'BLAKE2s', chosen: crypto.blake2s.name, candidates: blake2s.candidates },
    ],
  };
}

/** Prepares a backend and returns one operation. Its result is the same on all that are correct. */
type Probe<Backend> = (backend: Backend) => () => Uint8Array | undefined;

const INPUT: Uint8Array = new Uint8Array(HASH_SIZE).fill(0x5a);

/** RFC 7748 section 6.1: Alice's private key, Bob's public key and their secret. */
const ALICE_PRIVATE = '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a';
const BOB_PUBLIC = 'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f';
const SECRET = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';

function probeX25519(x25519: X25519): () => Uint8Array | undefined {
  const key = x25519.importPrivateKey(Buffer.from(ALICE_PRIVATE, 'hex'));
  const remote = Buffer.from(BOB_PUBLIC, 'hex');
  const secret = Buffer.from(SECRET, 'hex');
  // A generated key has to work as well before anything is measured.
  const ephemeral = x25519.generate(systemRandom);
  const mine = key.diffieHellman(x25519.importPublicKey(ephemeral.publicKey));
  const theirs = ephemeral.diffieHellman(x25519.importPublicKey(key.publicKey));
  ephemeral.zero();
  if (!mine || !theirs || !constantTimeEqual(mine, theirs)) return () => undefined;
  return () => {
    const result = key.diffieHellman(x25519.importPublicKey(remote));
    return result && constantTimeEqual(result, secret) ? result : undefined;
  };
}

function probeAead(aead: Aead): () => Uint8Array | undefined {
  const nonce = new Uint8Array(AEAD_NONCE_SIZE);
  return () => {
    const sealed = aead.seal(INPUT, nonce, INPUT, INPUT);
    return aead.open(INPUT, nonce, sealed, INPUT) && sealed;
  };
}

function probeBlake2s(blake2s: Blake2s): () => Uint8Array | undefined {
  return () => blake2s.mac(blake2s.hash(INPUT, INPUT), blake2s.hmac(INPUT, INPUT));
}

function tryAll<Backend extends { readonly name: string }>(
  clock: Clock,
  backends: readonly Backend[],
  probe: Probe<Backend>,
): { best: Backend | undefined; candidates: readonly Candidate[] } {
  let expected: Uint8Array | undefined;
  let best: Backend | undefined;
  let bestNs = Number.POSITIVE_INFINITY;
  const candidates: Candidate[] = [];
  for (const backend of backends) {
    let ns: number | undefined;
    try {
      const run = probe(backend);
      const result = run();
      expected ??= result;
      if (result && expected && constantTimeEqual(result, expected)) ns = measure(clock, run);
    } catch {
      // A backend that throws on valid input (an OpenSSL in FIPS mode does) is no candidate.
      ns = undefined;
    }
    candidates.push({ name: backend.name, ns });
    if (ns !== undefined && ns < bestNs) [best, bestNs] = [backend, ns];
  }
  return { best, candidates };
}

/** Nanoseconds of one run: the best of groups that double in size, so that compiling and the clock do not count. */
function measure(clock: Clock, run: () => unknown): number {
  let best = Number.POSITIVE_INFINITY;
  const start = clock.now();
  let now = start;
  for (let group = 1; now - start < BUDGET_MS && group <= MAX_GROUP; group *= 2) {
    for (let i = 0; i < group; i++) run();
    const end = clock.now();
    best = Math.min(best, (end - now) / group);
    now = end;
  }
  return best * 1e6;
}
