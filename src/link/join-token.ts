/**
 * The forms of a join token: plain, and signed (`v1:`, `v2:`) with data that a third party adds for a machine. A signed
 * token is the base64 of `{"extra_data":{…},"signature":"…"}`; the signature is HMAC-SHA256 with the plain token as key
 * over the compact JSON of `extra_data`.
 */
import { createHmac } from 'node:crypto';
import { constantTimeEqual, parseBase64, toBase64 } from '../core/bytes.ts';
import type { Random } from '../core/random.ts';

export type TokenVersion = 'plain' | 'v1' | 'v2';

export interface PresentedToken {
  readonly version: TokenVersion;
  /** The plain token; empty for signed ones, which do not carry it. */
  readonly plain: string;
  readonly extraData: Readonly<Record<string, string>>;
  readonly signature: Uint8Array | undefined;
}

/** Names the infra provider whose own token signed a v2 token. */
export const PROVIDER_KEY = 'omni.sidero.dev/infra-provider-id';
export const MACHINE_REQUEST_KEY = 'omni.sidero.dev/machine-request';

/** Extra data that becomes labels of the machine. */
export const LABEL_KEYS: readonly string[] = [PROVIDER_KEY, MACHINE_REQUEST_KEY];

const SIGNATURE_SIZE = 32;
const MAX_LENGTH = 8192;

/** Throws SyntaxError with the text for the status when a signed token is malformed. */
export function parseJoinToken(text: string): PresentedToken {
  if (text.length > MAX_LENGTH) throw new SyntaxError(`join token is longer than ${MAX_LENGTH} characters`);
  const version = text.startsWith('v1:') ? 'v1' : text.startsWith('v2:') ? 'v2' : 'plain';
  if (version === 'plain') return { version, plain: text, extraData: {}, signature: undefined };
  const value = decodeObject(text.slice(3));
  const extraData = stringMap(value['extra_data']);
  const signature = value['signature'];
  if (signature !== undefined && typeof signature !== 'string') {
    throw new SyntaxError('"signature" is not a string');
  }
  // A missing or odd signature is not malformed, it merely verifies nothing.
  return {
    version,
    plain: '',
    extraData,
    signature: signature === undefined ? undefined : parseBase64(signature, SIGNATURE_SIZE),
  };
}

function decodeObject(encoded: string): Record<string, unknown> {
  const decoded = Buffer.from(encoded, 'base64');
  if (decoded.toString('base64') !== encoded) throw new SyntaxError('not standard base64');
  let value: unknown;
  try {
    value = JSON.parse(decoded.toString('utf8'));
  } catch {
    throw new SyntaxError('not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SyntaxError('not a JSON object');
  }
  return { ...value };
}

function stringMap(value: unknown): Record<string, string> {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new SyntaxError('"extra_data" is not an object');
  }
  const map: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw new SyntaxError(`"extra_data": "${key}" is not a string`);
    map[key] = text;
  }
  return map;
}

/** True when `plain` signed the token. Takes the same time for every wrong signature. */
export function verifySignature(token: PresentedToken, plain: string): boolean {
  if (token.signature === undefined) return false;
  return constantTimeEqual(token.signature, sign(token.extraData, plain));
}

export function formatSignedToken(
  version: 'v1' | 'v2',
  extraData: Readonly<Record<string, string>>,
  plain: string,
): string {
  const signature = toBase64(sign(extraData, plain));
  const json = `{"extra_data":${canonicalJson(extraData)},"signature":"${signature}"}`;
  return `${version}:${Buffer.from(json, 'utf8').toString('base64')}`;
}

export function sign(extraData: Readonly<Record<string, string>>, plain: string): Uint8Array {
  return createHmac('sha256', plain).update(canonicalJson(extraData), 'utf8').digest();
}

/** As Go's encoding/json writes a map of strings: keys sorted by bytes, no spaces, HTML characters escaped. */
function canonicalJson(map: Readonly<Record<string, string>>): string {
  const members = Object.entries(map)
    .toSorted(([a], [b]) => Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8')))
    .map(([key, text]) => `${goString(key)}:${goString(text)}`);
  return `{${members.join(',')}}`;
}

function goString(text: string): string {
  // Lone surrogates become U+FFFD, as Go's encoder does with invalid UTF-8.
  const wellFormed = Buffer.from(text, 'utf8').toString('utf8');
  return JSON.stringify(wellFormed).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** 32 random bytes in base62: 43 characters. */
export function generatePlainToken(random: Random): string {
  const bytes = new Uint8Array(32);
  random.fill(bytes);
  let rest = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  bytes.fill(0);
  let text = '';
  for (let i = 0; i < 43; i++) {
    text = BASE62.charAt(Number(rest % 62n)) + text;
    rest /= 62n;
  }
  return text;
}
