/** The gateway's join tokens: what they are worth at a given time, and which one a machine presents. */
import { createHash } from 'node:crypto';
import { parseJoinToken, PROVIDER_KEY, verifySignature } from './join-token.ts';

export interface TokenRecord {
  /** The plain token itself. Secret. */
  readonly token: string;
  /** Shown to people; unique. */
  readonly name: string;
  /** What it is for; shown to people. */
  readonly description?: string;
  /** Wall clock, milliseconds. */
  readonly createdAtMs: number;
  readonly expiresAtMs?: number;
  /** Most machines that may join with it. */
  readonly useLimit?: number;
  readonly isRevoked: boolean;
  /** The token of an infra provider, which signs v2 tokens of its own; neither expires nor is revoked. */
  readonly provider?: string;
}

export type TokenStatus = 'active' | 'revoked' | 'expired' | 'used_up';

/** `uses`: machines that joined with it. */
export function tokenStatus(token: TokenRecord, uses: number, wallMs: number): TokenStatus {
  if (token.isRevoked) return 'revoked';
  if (token.expiresAtMs !== undefined && token.expiresAtMs <= wallMs) return 'expired';
  if (token.useLimit !== undefined && uses >= token.useLimit) return 'used_up';
  return 'active';
}

const MAX_NAME_LENGTH = 16;

/** The reason why a name is not allowed, or undefined. */
export function tokenNameProblem(name: string): string | undefined {
  if (name === '') return 'a token needs a name';
  if (Array.from(name).length > MAX_NAME_LENGTH)
    return `a token name has at most ${MAX_NAME_LENGTH} characters`;
  if (/\p{Cc}/u.test(name)) return 'a token name has no control characters';
  return undefined;
}

const MAX_DESCRIPTION_LENGTH = 256;

/** The reason why a description is not allowed, or undefined. */
export function descriptionProblem(description: string): string | undefined {
  if (Array.from(description).length > MAX_DESCRIPTION_LENGTH)
    return `a description has at most ${MAX_DESCRIPTION_LENGTH} characters`;
  if (/\p{Cc}/u.test(description)) return 'a description has no control characters';
  return undefined;
}

/** The reason why a text cannot serve as a plain token, or undefined. */
export function plainTokenProblem(token: string): string | undefined {
  if (token === '' || token.length > 255) return 'a token has 1 to 255 characters';
  if (!/^[!-~]*$/.test(token)) return 'a token has printable ASCII characters only, no spaces';
  if (/^v[12]:/.test(token)) return 'a token does not begin with v1: or v2:, which mark signed tokens';
  return undefined;
}

/** All tokens at one moment. Lookups go by digest, so their time says nothing about how much of a guess was right. */
export class TokenBook {
  readonly #byDigest = new Map<string, TokenRecord>();
  readonly #byProvider = new Map<string, TokenRecord>();
  /** Signs v1 tokens, and v2 tokens without a provider. */
  readonly default: TokenRecord | undefined;

  constructor(tokens: Iterable<TokenRecord>, defaultToken: string | undefined) {
    for (const record of tokens) {
      this.#byDigest.set(digest(record.token), record);
      if (record.provider !== undefined) this.#byProvider.set(record.provider, record);
    }
    this.default = defaultToken === undefined ? undefined : this.find(defaultToken);
  }

  /** No token to join with exists. */
  get isEmpty(): boolean {
    return this.#byDigest.size === this.#byProvider.size;
  }

  find(token: string): TokenRecord | undefined {
    return this.#byDigest.get(digest(token));
  }

  ofProvider(provider: string): TokenRecord | undefined {
    return this.#byProvider.get(provider);
  }
}

function digest(token: string): string {
  return createHash('sha256').update(token, 'utf8').digest('base64');
}

export type PresentedResult =
  /** `token` signed or is what was presented. Its status is not looked at yet. */
  | {
      readonly kind: 'known';
      readonly token: TokenRecord;
      readonly extraData: Readonly<Record<string, string>>;
    }
  /** Nothing presented, or nothing that any token vouches for. */
  | { readonly kind: 'unknown'; readonly reason: 'missing' | 'unknown' | 'bad_signature' }
  /** A signed token whose base64 or JSON is broken; `problem` goes into the status. */
  | { readonly kind: 'malformed'; readonly problem: string }
  /** A v2 token of an infra provider that does not exist. */
  | { readonly kind: 'no_provider'; readonly provider: string };

/** Finds the record behind what a machine presents. */
export function resolveJoinToken(presented: string | undefined, book: TokenBook): PresentedResult {
  if (presented === undefined || presented === '') return { kind: 'unknown', reason: 'missing' };
  let parsed;
  try {
    parsed = parseJoinToken(presented);
  } catch (error) {
    if (error instanceof SyntaxError) return { kind: 'malformed', problem: error.message };
    throw error;
  }
  if (parsed.version === 'plain') {
    const token = book.find(presented);
    // A provider's token is a signing key, not something to join with.
    if (token === undefined || token.provider !== undefined) return { kind: 'unknown', reason: 'unknown' };
    return { kind: 'known', token, extraData: {} };
  }
  const provider = parsed.version === 'v2' ? parsed.extraData[PROVIDER_KEY] : undefined;
  const key = provider === undefined ? book.default : book.ofProvider(provider);
  if (provider !== undefined && key === undefined) return { kind: 'no_provider', provider };
  if (key === undefined || !verifySignature(parsed, key.token)) {
    return { kind: 'unknown', reason: 'bad_signature' };
  }
  return { kind: 'known', token: key, extraData: parsed.extraData };
}
