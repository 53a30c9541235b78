/** The routes of the HTTP API as data: what a request may say, and who answers. docs/api/openapi.yaml has the same. */
import { nearest, usageError } from '../../core/errors.ts';
import { Input } from '../gateway/admin-operations.ts';
import type { EventStream } from './event-stream.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface Call {
  /** Parameters of the path. */
  readonly path: Input;
  readonly query: Input;
  readonly body: Input;
}

interface RouteHead {
  /** `operationId`. */
  readonly id: string;
  readonly method: Method;
  /** Below the prefix, with parameters in braces: `/machines/{machine}`. */
  readonly path: string;
  /** Names that the query and the JSON body may have. */
  readonly query?: readonly string[];
  readonly body?: readonly string[];
}

export interface JsonRoute extends RouteHead {
  readonly kind: 'json';
  /** 200 when absent; with 204 nothing is sent. */
  readonly status?: 201 | 204;
  readonly answer: (call: Call) => unknown;
}

/** Answers with something else than JSON. */
export interface TextRoute extends RouteHead {
  readonly kind: 'text';
  readonly contentType: string;
  readonly answer: (call: Call) => string;
}

/** Server-sent events. */
export interface StreamRoute extends RouteHead {
  readonly kind: 'stream';
  readonly method: 'GET';
  /** Throws before it has started the stream, or keeps it going. */
  readonly open: (call: Call, stream: EventStream) => void;
}

export type Route = JsonRoute | TextRoute | StreamRoute;

export interface Match {
  readonly route: Route;
  readonly parameters: Readonly<Record<string, string>>;
}

export class Router {
  readonly #routes: readonly { readonly route: Route; readonly parts: readonly string[] }[];

  constructor(routes: readonly Route[]) {
    this.#routes = routes.map((route) => ({ route, parts: route.path.split('/') }));
  }

  /** The route, or the methods that the path has: none for an unknown one. */
  match(method: string, path: string): Match | readonly Method[] {
    const given = path.split('/');
    const methods: Method[] = [];
    for (const { route, parts } of this.#routes) {
      const parameters = matchPath(parts, given);
      if (!parameters) continue;
      if (route.method === method) return { route, parameters };
      methods.push(route.method);
    }
    return methods;
  }
}

function matchPath(parts: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  if (parts.length !== given.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [i, part] of parts.entries()) {
    const value = given[i] as string;
    if (!part.startsWith('{')) {
      if (part !== value) return undefined;
      continue;
    }
    const decoded = decode(value);
    if (decoded === undefined || decoded === '') return undefined;
    parameters[part.slice(1, -1)] = decoded;
  }
  return parameters;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Throws AppError `usage` for a parameter that the route does not know, or that comes twice. */
export function readQuery(search: string, known: readonly string[] = []): Input {
  const values: Record<string, unknown> = {};
  for (const [name, value] of new URLSearchParams(search)) {
    checkName('query parameter', name, known);
    if (Object.hasOwn(values, name)) throw usageError(`query parameter "${name}" comes twice`);
    values[name] = value;
  }
  return new Input(values);
}

/** `text` is JSON, or empty. Throws AppError `usage`. */
export function readBody(text: string, known: readonly string[] = []): Input {
  if (text.trim() === '') return new Input({});
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw usageError(`the body is not JSON: ${(error as Error).message}`);
  }
  const input = new Input(value);
  for (const name of Object.keys(value as object)) checkName('member', name, known);
  return input;
}

function checkName(what: string, name: string, known: readonly string[]): void {
  if (known.includes(name)) return;
  const near = nearest(name, known);
  throw usageError(
    `there is no ${what} ${JSON.stringify(name)}`,
    near !== undefined
      ? `did you mean ${near}?`
      : known.length > 0
        ? `there are ${known.join(', ')}`
        : undefined,
  );
}

/** A whole number of a query; `fallback` when absent. */
export function queryNumber(query: Input, name: string, fallback: number, min: number, max: number): number {
  const text = query.optionalText(name);
  if (text === undefined) return fallback;
  const value = Number(text);
  if (/^\d{1,15}$/.test(text) && value >= min && value <= max) return value;
  throw usageError(
    `query parameter "${name}": expected a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`,
  );
}

/** Most rows in one answer. */
const MAX_ROWS_PER_ANSWER = 1_000;
const DEFAULT_ROWS = 100;

/** Those of all that match which `offset` and `limit` ask for. */
export function queryPage<Row>(query: Input, matching: readonly Row[]): readonly Row[] {
  const offset = queryNumber(query, 'offset', 0, 0, Number.MAX_SAFE_INTEGER);
  const limit = queryNumber(query, 'limit', DEFAULT_ROWS, 1, MAX_ROWS_PER_ANSWER);
  return matching.slice(offset, offset + limit);
}

/** `true` or `false`; false when absent. */
export function queryFlag(query: Input, name: string): boolean {
  const text = query.optionalText(name);
  if (text === undefined || text === 'false') return false;
  if (text === 'true') return true;
  throw usageError(`query parameter "${name}": expected true or false, got ${JSON.stringify(text)}`);
}
