/**
 * The node unique token: a machine's identity beyond its UUID, kept on its disk. On the wire it is the JSON object
 * `{"Fingerprint":"…","Token":"…"}`.
 */
import { createHash } from 'node:crypto';
import { constantTimeEqual } from '../core/bytes.ts';
import type { Random } from '../core/random.ts';

export interface UniqueToken {
  /** Hex SHA-256 of the machine's sorted, joined MAC addresses; empty when unknown. Not secret. */
  readonly fingerprint: string;
  /** A random UUID. Secret. */
  readonly token: string;
}

const MAX_LENGTH = 4096;

/** Undefined for absent or empty; throws SyntaxError with the text for the status when it is malformed. */
export function parseUniqueToken(text: string | undefined): UniqueToken | undefined {
  if (text === undefined || text === '') return undefined;
  if (text.length > MAX_LENGTH)
    throw new SyntaxError(`node unique token is longer than ${MAX_LENGTH} characters`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which is a secret.
    throw new SyntaxError('node unique token is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SyntaxError('node unique token is not a JSON object');
  }
  const fingerprint = member(value, 'Fingerprint');
  const token = member(value, 'Token');
  // An empty token would be equal to any other empty one.
  if (token === '') throw new SyntaxError('node unique token has no "Token"');
  return { fingerprint, token };
}

/** Names match in any case, as in the encoder of the machines that write it. */
function member(object: object, name: string): string {
  const found = Object.entries(object).findLast(([key]) => key.toLowerCase() === name.toLowerCase());
  if (found === undefined || found[1] === null) return '';
  if (typeof found[1] !== 'string') throw new SyntaxError(`node unique token: "${name}" is not a string`);
  return found[1];
}

export function formatUniqueToken(token: UniqueToken): string {
  return JSON.stringify({ Fingerprint: token.fingerprint, Token: token.token });
}

/** Equal identity: the secret part alone decides. */
export function sameToken(a: UniqueToken, b: UniqueToken): boolean {
  return constantTimeEqual(Buffer.from(a.token, 'utf8'), Buffer.from(b.token, 'utf8'));
}

/** The same hardware: both fingerprints known and equal. */
export function sameFingerprint(a: UniqueToken, b: UniqueToken): boolean {
  return a.fingerprint !== '' && a.fingerprint === b.fingerprint;
}

/** Fingerprint over the hardware addresses of the physical links (`52:54:00:…`, lower case). */
export function machineFingerprint(macs: readonly string[]): string {
  return createHash('sha256').update(macs.toSorted().join(''), 'utf8').digest('hex');
}

export function generateUniqueToken(random: Random, fingerprint: string): UniqueToken {
  return { fingerprint, token: randomUuid(random) };
}

/** RFC 9562 version 4. */
export function randomUuid(random: Random): string {
  const bytes = new Uint8Array(16);
  random.fill(bytes);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = Buffer.from(bytes).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
