/** A connection to a gateway: TCP, through a proxy if there is one, TLS with h2 on top unless the URL says otherwise. */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { AppError } from '../core/errors.ts';
import { type Proxy, proxyFor, type ProxySettings } from './proxy.ts';
import { askProxy } from './proxy-handshake.ts';

export interface DialTarget {
  /** Name or address, IPv6 without brackets. Names are looked up anew for every connection. */
  readonly host: string;
  readonly port: number;
  readonly isPlaintext: boolean;
}

export interface DialOptions {
  readonly proxies: ProxySettings;
  /** PEM certificates to trust instead of Node's own list. */
  readonly ca?: readonly string[] | undefined;
  /** Told of the TCP socket, to set its options (mark, buffer sizes) before anything is sent. */
  readonly onSocket?: ((socket: Socket) => void) | undefined;
}

const KEEPALIVE_DELAY_MS = 30_000;

/** Resolves to a connection ready for HTTP/2. Rejects with AppError; aborting the signal makes it reject too. */
export async function dial(target: DialTarget, options: DialOptions, signal: AbortSignal): Promise<Duplex> {
  const proxy = proxyFor(target.host, target.port, options.proxies);
  let socket: Duplex = await openTcp(proxy ?? target, options, signal);
  try {
    if (proxy) socket = await throughProxy(socket, proxy, target, options, signal);
    return target.isPlaintext ? socket : await openTls(socket, target.host, ['h2'], options, signal);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function throughProxy(
  raw: Duplex,
  proxy: Proxy,
  target: DialTarget,
  options: DialOptions,
  signal: AbortSignal,
): Promise<Duplex> {
  const socket =
    proxy.scheme === 'https' ? await openTls(raw, proxy.host, ['http/1.1'], options, signal) : raw;
  const abort = () => socket.destroy(abortError(signal));
  signal.addEventListener('abort', abort, { once: true });
  try {
    await askProxy(socket, proxy, target.host, target.port);
    return socket;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function openTcp(
  { host, port }: { host: string; port: number },
  options: DialOptions,
  signal: AbortSignal,
): Promise<Socket> {
  const socket = connectTcp({
    host,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_DELAY_MS,
  });
  options.onSocket?.(socket);
  return ready(socket, 'connect', `${host} port ${port}`, signal);
}

async function openTls(
  socket: Duplex,
  host: string,
  protocols: readonly string[],
  options: DialOptions,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const secure = connectTls({
    socket,
    ...(isIP(host) === 0 ? { servername: host } : { host }),
    ALPNProtocols: [...protocols],
    ...(options.ca ? { ca: [...options.ca] } : {}),
  });
  await ready(secure, 'secureConnect', `TLS to ${host}`, signal);
  if (protocols.includes('h2') && secure.alpnProtocol !== 'h2') {
    secure.destroy();
    throw new AppError('protocol', `${host} does not offer HTTP/2 over TLS (ALPN h2)`, {
      hint: 'is this the port of a gRPC service?',
    });
  }
  return secure;
}

function ready<T extends Duplex>(socket: T, event: string, what: string, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      signal.removeEventListener('abort', onAbort);
      socket.off(event, onReady);
      socket.off('error', onError);
      socket.off('close', onClose);
    };
    const onReady = () => {
      settle();
      resolve(socket);
    };
    const fail = (message: string, cause?: unknown) => {
      settle();
      // Later errors of a socket that nobody uses any more.
      socket.on('error', () => {});
      socket.destroy();
      reject(new AppError('io', `${what}: ${message}`, { cause }));
    };
    const onError = (error: Error) => fail(describe(error), error);
    const onClose = () => fail('the connection was closed');
    const onAbort = () => fail(abortError(signal).message, signal.reason);
    socket.on(event, onReady);
    socket.on('error', onError);
    socket.on('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/** Several addresses of a name fail together as an AggregateError without a text of its own. */
function describe(error: Error): string {
  if (error instanceof AggregateError) {
    return error.errors.map((each) => (each instanceof Error ? each.message : String(each))).join(', ');
  }
  return error.message;
}

function abortError(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('given up');
}
