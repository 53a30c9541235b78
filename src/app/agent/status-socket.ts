/** Running programs tell about themselves on a Unix socket each: who connects is sent one JSON object. */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { basename, dirname, extname, join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { STATE_DIRECTORY } from '../undo-store.ts';

const SUFFIX = '.status';
const ANSWER_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 16;
const MAX_ANSWER: number = 4 << 20;

export function statusPath(name: string, directory: string = STATE_DIRECTORY): string {
  return join(directory, `${name}${SUFFIX}`);
}

export interface StatusSocket {
  close(): Promise<void>;
}

/** Only root can connect. A socket that a killed process left behind is taken over; a live one is AppError `in_use`. */
export async function openStatusSocket(path: string, answer: () => object): Promise<StatusSocket> {
  if (existsSync(path)) {
    const isLive = await askStatus(path).then(
      () => true,
      () => false,
    );
    if (isLive) {
      throw new AppError('in_use', `${basename(path, SUFFIX)} is run by another process already`, {
        hint: '"culvert status" shows it; --interface chooses another name',
      });
    }
  }
  return serveAnswers(path, answer);
}

/** Whoever connects is sent one JSON object. Only root can. Takes the place of whatever is there. */
export async function serveAnswers(
  path: string,
  answer: () => object | Promise<object>,
): Promise<StatusSocket> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    socket.on('error', () => {});
    void Promise.resolve(answer()).then((value) => socket.end(`${JSON.stringify(value)}\n`));
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, path);
  chmodSync(path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(new AppError('io', `${path}: ${error.code ?? error.message}`, { cause: error })),
    );
    server.listen(path, resolve);
  });
}

/** What the program behind the socket says. Rejects with AppError when nobody answers in time. */
export function askStatus(path: string, timeoutMs: number = ANSWER_TIMEOUT_MS): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const name = basename(path, extname(path));
    const fail = (reason: string, cause?: unknown) => {
      socket.destroy();
      reject(new AppError('not_found', `${name} is not running: ${reason}`, { cause }));
    };
    const socket = connect(path);
    const chunks: Buffer[] = [];
    let size = 0;
    socket.setTimeout(timeoutMs, () => fail('no answer'));
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_ANSWER) fail('the answer is too long');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message, error));
    socket.on('end', () => {
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      } catch (error) {
        fail('it answers with something else', error);
      }
    });
  });
}

/** Names of all programs that left a socket, whether they still run or not. */
export function statusNames(directory: string = STATE_DIRECTORY): string[] {
  try {
    return readdirSync(directory)
      .filter((file) => file.endsWith(SUFFIX))
      .map((file) => file.slice(0, -SUFFIX.length))
      .toSorted();
  } catch {
    return [];
  }
}
