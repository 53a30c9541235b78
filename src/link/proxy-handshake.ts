/** Asking a proxy for a connection: HTTP CONNECT (RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928, RFC 1929). */
import type { Duplex } from 'node:stream';
import { AppError } from '../core/errors.ts';
import { parseAddress } from '../core/ip.ts';
import type { Proxy } from './proxy.ts';

/** A proxy's answer is short; this much is enough for any error page's head. */
const MAX_HEAD_SIZE = 16_384;

/** Resolves when bytes pass through to `host:port`. Rejects with AppError `io`; the socket is then of no use. */
export async function askProxy(socket: Duplex, proxy: Proxy, host: string, port: number): Promise<void> {
  const reader = new Reader(socket, `proxy ${proxy.host} port ${proxy.port}`);
  try {
    if (proxy.scheme === 'socks5') await askSocks(socket, reader, proxy, host, port);
    else await askHttp(socket, reader, proxy, host, port);
    reader.putBack();
  } finally {
    reader.release();
  }
}

async function askHttp(
  socket: Duplex,
  reader: Reader,
  proxy: Proxy,
  host: string,
  port: number,
): Promise<void> {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const credentials =
    proxy.username === undefined
      ? ''
      : `Proxy-Authorization: Basic ${Buffer.from(`${proxy.username}:${proxy.password ?? ''}`).toString('base64')}\r\n`;
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${credentials}\r\n`);
  const head = await reader.until('\r\n\r\n');
  const status = /^HTTP\/1\.[01] (\d{3})(?: ([^\r\n]*))?/.exec(head);
  if (!status) throw reader.problem('does not speak HTTP');
  if (status[1]?.startsWith('2')) return;
  const hint =
    status[1] === '407'
      ? 'put user name and password into the proxy URL'
      : 'the proxy may allow port 443 only';
  throw reader.problem(`refused ${authority}: ${status[1]} ${status[2] ?? ''}`.trim(), hint);
}

const SOCKS_VERSION = 5;
const METHOD_NONE = 0;
const METHOD_PASSWORD = 2;
const COMMAND_CONNECT = 1;
const ADDRESS_IPV4 = 1;
const ADDRESS_NAME = 3;
const ADDRESS_IPV6 = 4;

/** RFC 1928 section 6. */
const SOCKS_REPLIES: readonly string[] = [
  'succeeded',
  'general failure',
  'connection not allowed by its rules',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'TTL expired',
  'command not supported',
  'address type not supported',
];

async function askSocks(
  socket: Duplex,
  reader: Reader,
  proxy: Proxy,
  host: string,
  port: number,
): Promise<void> {
  const methods = proxy.username === undefined ? [METHOD_NONE] : [METHOD_NONE, METHOD_PASSWORD];
  socket.write(Uint8Array.of(SOCKS_VERSION, methods.length, ...methods));
  const [version, method] = await reader.exactly(2);
  if (version !== SOCKS_VERSION) throw reader.problem('does not speak SOCKS5');
  if (method === METHOD_PASSWORD) {
    const [user, password] = [Buffer.from(proxy.username ?? ''), Buffer.from(proxy.password ?? '')];
    if (user.length > 255 || password.length > 255) throw reader.problem('takes no credentials this long');
    socket.write(Uint8Array.of(1, user.length, ...user, password.length, ...password));
    const [, accepted] = await reader.exactly(2);
    if (accepted !== 0) throw reader.problem('refused user name and password');
  } else if (method !== METHOD_NONE) {
    throw reader.problem('wants authentication', 'put user name and password into the proxy URL');
  }
  const address = parseAddress(host);
  const name = Buffer.from(host, 'utf8');
  if (!address && name.length > 255) throw reader.problem('takes no host name this long');
  const target = address
    ? [address.length === 4 ? ADDRESS_IPV4 : ADDRESS_IPV6, ...address]
    : [ADDRESS_NAME, name.length, ...name];
  socket.write(Uint8Array.of(SOCKS_VERSION, COMMAND_CONNECT, 0, ...target, port >> 8, port & 0xff));
  const [, reply, , boundType] = await reader.exactly(4);
  if (reply !== 0) {
    throw reader.problem(
      `refused ${host} port ${port}: ${SOCKS_REPLIES[reply as number] ?? `reply ${reply}`}`,
    );
  }
  const boundSize =
    boundType === ADDRESS_IPV4
      ? 4
      : boundType === ADDRESS_IPV6
        ? 16
        : ((await reader.exactly(1))[0] as number);
  await reader.exactly(boundSize + 2);
}

/** Takes exactly what the handshake needs from a socket; the rest stays in it. */
class Reader {
  readonly #socket: Duplex;
  readonly #name: string;
  #bytes: Buffer = Buffer.alloc(0);
  #error: AppError | undefined;
  #wake: () => void = () => {};
  readonly #onReadable = (): void => {
    for (let chunk = this.#read(); chunk !== null; chunk = this.#read())
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
    this.#wake();
  };
  readonly #onEnd = (): void => this.#fail('closed the connection');
  readonly #onError = (error: Error): void => this.#fail(error.message);

  constructor(socket: Duplex, name: string) {
    this.#socket = socket;
    this.#name = name;
    socket.on('readable', this.#onReadable);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onEnd);
    socket.on('error', this.#onError);
  }

  problem(what: string, hint?: string): AppError {
    return new AppError('io', `${this.#name} ${what}`, hint === undefined ? {} : { hint });
  }

  async exactly(size: number): Promise<Buffer> {
    return this.#take(() => (this.#bytes.length >= size ? size : -1));
  }

  /** Text up to and with `mark`. */
  async until(mark: string): Promise<string> {
    const bytes = await this.#take(() => {
      const at = this.#bytes.indexOf(mark);
      return at < 0 ? -1 : at + mark.length;
    });
    return bytes.toString('latin1');
  }

  /** What came after the handshake belongs to whoever uses the socket next. */
  putBack(): void {
    if (this.#bytes.length === 0) return;
    if (this.#socket.readableEnded) throw this.problem('closed the connection');
    this.#socket.unshift(this.#bytes);
  }

  release(): void {
    this.#socket.off('readable', this.#onReadable);
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('close', this.#onEnd);
    this.#socket.off('error', this.#onError);
  }

  async #take(size: () => number): Promise<Buffer> {
    for (;;) {
      const end = size();
      if (end >= 0) {
        const taken = this.#bytes.subarray(0, end);
        this.#bytes = this.#bytes.subarray(end);
        return taken;
      }
      if (this.#bytes.length > MAX_HEAD_SIZE) throw this.problem('sends an endless answer');
      if (this.#error) throw this.#error;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #read(): Buffer | null {
    return this.#socket.read() as Buffer | null;
  }

  #fail(what: string): void {
    this.#error ??= this.problem(what);
    this.#wake();
  }
}
