/** What an operator does with join tokens, as changes for the store, and what a gateway makes at its first start. */
import { AppError, usageError } from '../core/errors.ts';
import type { Random } from '../core/random.ts';
import { PrivateKey } from '../noise/keys.ts';
import { generatePlainToken } from './join-token.ts';
import type { StoreChange } from './records.ts';
import type { StoreContents } from './store.ts';
import { descriptionProblem, plainTokenProblem, tokenNameProblem, type TokenRecord } from './tokens.ts';

const INITIAL_TOKEN_NAME = 'initial token';

/** Server key and first token, as far as they are missing. Empty on every later start. */
export function firstStart(
  contents: StoreContents,
  random: Random,
  wallMs: number,
  initialToken?: string,
): StoreChange[] {
  const changes: StoreChange[] = [];
  if (!contents.serverKey) {
    changes.push({ kind: 'set_server_key', privateKey: PrivateKey.generate(random) });
  }
  if (contents.tokens.length === 0) {
    const record = newToken({ name: INITIAL_TOKEN_NAME, token: initialToken }, random, wallMs);
    changes.push({ kind: 'put_token', record, before: undefined });
    changes.push({ kind: 'set_default_token', token: record.token });
  }
  return changes;
}

export interface NewToken {
  readonly name: string;
  readonly description?: string | undefined;
  /** Made up when absent. */
  readonly token?: string | undefined;
  readonly expiresAtMs?: number | undefined;
  readonly useLimit?: number | undefined;
  readonly provider?: string | undefined;
}

/** Throws AppError `usage` when name, token or limits cannot be. */
export function newToken(wanted: NewToken, random: Random, wallMs: number): TokenRecord {
  const token = wanted.token ?? generatePlainToken(random);
  const { name, description, expiresAtMs, useLimit, provider } = wanted;
  const problem = tokenNameProblem(name) ?? plainTokenProblem(token) ?? descriptionProblem(description ?? '');
  if (problem !== undefined) throw usageError(problem);
  if (useLimit !== undefined && !(Number.isSafeInteger(useLimit) && useLimit > 0)) {
    throw usageError(`use limit must be 1 or more, got ${useLimit}`);
  }
  if (expiresAtMs !== undefined && !(expiresAtMs > wallMs)) throw usageError('expiry must lie in the future');
  return {
    token,
    name,
    createdAtMs: wallMs,
    isRevoked: false,
    ...(description === undefined ? {} : { description }),
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    ...(useLimit === undefined ? {} : { useLimit }),
    ...(provider === undefined ? {} : { provider }),
  };
}

/** By name, or by the token itself. Throws AppError `not_found`. */
export function findToken(text: string, tokens: readonly TokenRecord[]): TokenRecord {
  const found = tokens.find(({ name }) => name === text) ?? tokens.find(({ token }) => token === text);
  if (found) return found;
  const names = tokens.map(({ name }) => `"${name}"`).join(', ');
  throw new AppError('not_found', 'no join token has this name', {
    hint: names === '' ? 'there is none' : `there are ${names}`,
  });
}

/** Machines that joined with it stay. */
export function revokeToken(token: TokenRecord, isRevoked: boolean): StoreChange[] {
  return [{ kind: 'put_token', record: { ...token, isRevoked }, before: token }];
}
