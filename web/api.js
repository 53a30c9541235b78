/** The HTTP API: requests, and streams of server-sent events. The token is kept in this tab only. */

const PREFIX = '/api/v1';
const KEY = 'culvert-token';
const RETRY_MS = [500, 1_000, 2_000, 5_000];

/** What the API refuses, in its words. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} detail
   * @param {string} [hint]
   */
  constructor(status, detail, hint) {
    super(hint === undefined ? detail : `${detail}. ${hint}`);
    this.status = status;
  }
}

/** Takes the token out of the address, where it would be in the history. */
export function takeTokenFromAddress() {
  const [, token] = /^#token=([\w-]+)$/.exec(location.hash) ?? [];
  if (token === undefined) return;
  setToken(token);
  history.replaceState(null, '', '#/');
}

export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

/** @param {string | null} token */
export function setToken(token) {
  if (token === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, token);
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{ body?: unknown, signal?: AbortSignal }} [options]
 */
async function send(method, path, { body, signal } = {}) {
  const response = await fetch(PREFIX + path, {
    method,
    headers: {
      authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ''}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
    credentials: 'omit',
    cache: 'no-store',
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ detail: response.statusText }));
  throw new Refusal(response.status, problem.detail, problem.hint);
}

/**
 * @param {'GET' | 'POST' | 'PUT' | 'DELETE'} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>} undefined when the answer is empty
 */
export async function call(method, path, body) {
  const response = await send(method, path, { body });
  return response.status === 204 ? undefined : response.json();
}

/**
 * @param {string} path
 * @returns {Promise<Blob>}
 */
export async function picture(path) {
  return (await send('GET', path)).blob();
}

/**
 * @typedef {object} WatchHandlers
 * @property {(name: string, data: any) => void} onEvent
 * @property {() => void} [onOpen] what was known may be outdated: everything comes again
 * @property {() => void} [onLost] it is tried again
 * @property {(refusal: Refusal) => void} onRefused it is not
 */

/**
 * Follows a stream of events until the signal ends it, and comes back after failures.
 * @param {() => string} path asked for at every attempt
 * @param {WatchHandlers} handlers
 * @param {AbortSignal} signal
 */
export async function watch(path, handlers, signal) {
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const response = await send('GET', path(), { signal });
      handlers.onOpen?.();
      failures = 0;
      if (response.body) await readEvents(response.body, handlers.onEvent);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refusal && error.status !== 503) {
        handlers.onRefused(error);
        return;
      }
    }
    if (signal.aborted) return;
    handlers.onLost?.();
    await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 0, signal);
  }
}

/**
 * @param {ReadableStream<Uint8Array>} body
 * @param {(name: string, data: any) => void} onEvent
 */
async function readEvents(body, onEvent) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    let end;
    while ((end = text.indexOf('\n\n')) >= 0) {
      readEvent(text.slice(0, end), onEvent);
      text = text.slice(end + 2);
    }
  }
}

/**
 * @param {string} block
 * @param {(name: string, data: any) => void} onEvent
 */
function readEvent(block, onEvent) {
  let name = '';
  let data = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) name = line.slice(7);
    else if (line.startsWith('data: ')) data = line.slice(6);
  }
  if (name !== '') onEvent(name, JSON.parse(data));
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
