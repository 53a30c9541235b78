/** The UAPI on a Unix socket: where `wg` looks for a userspace device. */
import { lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { type Server, type Socket, connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { AppError } from '../core/errors.ts';
import { type UapiService, serveUapi } from './uapi.ts';
import { type FileIdentity, identify, isSameFile, watchFileGone } from './uapi-watch.ts';

export const UAPI_DIRECTORY = '/var/run/wireguard';

export function uapiPath(interfaceName: string, directory: string = UAPI_DIRECTORY): string {
  return join(directory, `${interfaceName}.sock`);
}

/** Room in sockaddr_un (unix(7)) without the NUL. Node would cut a longer path off. */
const MAX_PATH_BYTES = 107;
const MAX_CLIENTS = 64;
const BACKLOG = 128;

/** Binds `path`, takes over a stale socket and refuses a live one (AppError `in_use`). */
export async function openUapiSocket(path: string): Promise<UapiSocket> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    throw new AppError('usage', `${path}: a socket path has at most ${MAX_PATH_BYTES} bytes`);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    await removeStale(path);
    return await bind(path);
  } catch (error) {
    throw explain(error, path);
  }
}

/** Takes over the listening descriptor `fd` that another process bound to `path`. */
export async function inheritUapiSocket(path: string, fd: number): Promise<UapiSocket> {
  const identity = identify(path);
  if (!identity) throw new AppError('not_found', `${path}: the inherited UAPI socket was deleted`);
  const server = createServer({ allowHalfOpen: true });
  try {
    await listening(server, () => server.listen({ fd }));
  } catch (error) {
    throw explain(error, `descriptor ${fd}`);
  }
  return new UapiSocket(path, identity, server, 'inherited');
}

/** A listening UAPI socket. Clients that come before `serve` wait. */
export class UapiSocket {
  readonly path: string;
  readonly #identity: FileIdentity;
  readonly #server: Server;
  readonly #origin: 'bound' | 'inherited';
  /** Least recently active first. The value tells whether the client waits for us and must not be cut off. */
  readonly #clients = new Map<Socket, { isBusy: boolean }>();
  readonly #waiting: Socket[] = [];
  #service: UapiService | undefined;
  #stopWatching: (() => void) | undefined;
  #isClosed = false;

  /** Use openUapiSocket or inheritUapiSocket. `origin`: who bound the listening socket to its path. */
  constructor(path: string, identity: FileIdentity, server: Server, origin: 'bound' | 'inherited') {
    this.path = path;
    this.#identity = identity;
    this.#server = server;
    this.#origin = origin;
    server.on('connection', (socket: Socket) => this.#accept(socket));
    server.on('error', (error) =>
      this.#service?.logger.log('error', 'uapi_accept_failed', { reason: error.message }),
    );
  }

  /** Starts answering. `onRemoved` is called once when somebody deletes or replaces the socket file. */
  serve(service: UapiService, onRemoved: () => void): void {
    this.#service = service;
    this.#stopWatching = watchFileGone(this.path, this.#identity, onRemoved);
    for (const socket of this.#waiting.splice(0)) this.#accept(socket);
  }

  /** Stops serving and deletes the socket file, if it is still ours. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopWatching?.();
    for (const socket of [...this.#clients.keys(), ...this.#waiting]) socket.destroy();
    const isOurs = isSameFile(this.path, this.#identity);
    if (this.#origin === 'bound' && !isOurs) {
      // Closing would delete whatever lies at the path we bound, by now somebody else's socket. Nobody can reach this
      // one any more, so it may stay until the process exits.
      this.#server.unref();
      return;
    }
    if (this.#origin === 'inherited' && isOurs) unlinkSync(this.path);
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    // A client that vanishes is its own problem; without a listener it would be the whole process's.
    socket.on('error', () => {});
    if (this.#isClosed) {
      socket.destroy();
      return;
    }
    if (!this.#service) {
      if (this.#waiting.length < MAX_CLIENTS) this.#waiting.push(socket);
      else socket.destroy();
      return;
    }
    if (this.#clients.size >= MAX_CLIENTS && !this.#evict()) {
      socket.destroy();
      return;
    }
    void this.#serveClient(socket, this.#service);
  }

  /** Cuts off the client that was silent for longest, so that `wg show` works however many others hang about. */
  #evict(): boolean {
    for (const [socket, client] of this.#clients) {
      if (client.isBusy) continue;
      this.#clients.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }

  async #serveClient(socket: Socket, service: UapiService): Promise<void> {
    const client = { isBusy: false };
    this.#clients.set(socket, client);
    const touch = (isBusy: boolean) => {
      client.isBusy = isBusy;
      if (this.#clients.delete(socket)) this.#clients.set(socket, client);
    };
    const connection = {
      input: chunksOf(socket, touch),
      write: (bytes: Uint8Array) => {
        // From here on it is the client that has to read.
        touch(false);
        return new Promise<void>((resolve, reject) => {
          socket.write(bytes, (error) => (error ? reject(error) : resolve()));
        });
      },
    };
    try {
      await serveUapi(connection, service);
      socket.end();
    } catch (error) {
      if (!isDisconnect(error)) service.logger.log('error', 'uapi_client_failed', { reason: String(error) });
    } finally {
      this.#clients.delete(socket);
      socket.destroySoon();
    }
  }
}

async function* chunksOf(socket: Socket, touch: (isBusy: boolean) => void): AsyncGenerator<Uint8Array> {
  // The client may close its writing side and still wait for the answer.
  const chunks: AsyncIterable<Uint8Array> = socket.iterator({ destroyOnReturn: false });
  for await (const chunk of chunks) {
    touch(true);
    yield chunk;
    touch(false);
  }
}

function isDisconnect(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return (
    code === 'ECONNRESET' ||
    code === 'EPIPE' ||
    code === 'ERR_STREAM_PREMATURE_CLOSE' ||
    code === 'ERR_STREAM_DESTROYED'
  );
}

async function bind(path: string): Promise<UapiSocket> {
  const server = createServer({ allowHalfOpen: true });
  // A path is bound before `listen` returns, so the umask holds for nothing else.
  const before = process.umask(0o077);
  try {
    await listening(server, () => {
      server.listen({ path, backlog: BACKLOG });
      process.umask(before);
    });
  } finally {
    process.umask(before);
  }
  const identity = identify(path);
  if (!identity) throw new AppError('io', `${path}: deleted as soon as it was made`);
  return new UapiSocket(path, identity, server, 'bound');
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    listen();
  });
}

/** Deletes a socket nobody listens on. */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  const identity = identify(path);
  if (!stat.isSocket())
    throw new AppError('in_use', `${path} exists and is not a socket`, { hint: `move ${path} away` });
  if (await isAlive(path)) throw inUse(path);
  // Not if another process was faster in taking it over.
  if (identity && isSameFile(path, identity)) unlinkSync(path);
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // A full backlog: somebody listens.
      else if (error.code === 'EAGAIN') resolve(true);
      else reject(error);
    });
  });
}

function inUse(path: string): AppError {
  return new AppError('in_use', `${path}: another process serves this interface`, {
    hint: 'stop it, or choose another interface name',
  });
}

function explain(error: unknown, path: string): unknown {
  if (error instanceof AppError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return inUse(path);
  if (code === 'EACCES' || code === 'EPERM')
    return new AppError('permission', `${path}: ${code}`, { cause: error, hint: 'run as root' });
  return new AppError('io', `${path}: ${message}`, { cause: error });
}
