/**
 * The admin operations on a unix socket, as HTTP: `POST /v1/OPERATION` with the input as JSON answers with the output,
 * or with `{"error":{code,message,hint}}`. `POST /v1/machines.follow` answers with one entry a line, and goes on. Whoever
 * may open the socket may do everything; the state directory is its owner's alone.
 */
import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { AppError, usageError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { closeServer } from '../http/server.ts';
import type { Admin } from './admin.ts';
import { Input, readEntriesInput, runOperation } from './admin-operations.ts';
import { type EntrySink, followEntries } from './entry-feed.ts';

export const FOLLOW_OPERATION = 'machines.follow';
const PREFIX = '/v1/';
const MAX_INPUT_BYTES: number = 64 * 1024;
const MAX_CONNECTIONS = 64;
/** Room in sockaddr_un (unix(7)) without the NUL. */
const MAX_PATH_BYTES = 107;

export function adminSocketPath(stateDirectory: string): string {
  return join(stateDirectory, 'admin.sock');
}

export class AdminSocket {
  readonly #path: string;
  readonly #admin: Admin;
  readonly #logger: Logger;
  readonly #server: Server;

  constructor(path: string, admin: Admin, logger: Logger) {
    this.#path = path;
    this.#admin = admin;
    this.#logger = logger;
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Takes the place of a socket that nobody listens on. Throws AppError `in_use` when somebody does. */
  async listen(): Promise<void> {
    const path = this.#path;
    if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
      throw new AppError('usage', `${path}: a socket path has at most ${MAX_PATH_BYTES} bytes`, {
        hint: 'choose a shorter state directory',
      });
    }
    if (lstatSync(path, { throwIfNoEntry: false })) {
      if (await isAlive(path)) throw new AppError('in_use', `${path}: a gateway listens there already`);
      rmSync(path);
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) =>
        reject(new AppError('io', `${path}: ${error.message}`, { cause: error })),
      );
      this.#server.listen(path, resolve);
    });
    // The directory is closed to others from the start; this is the second lock.
    chmodSync(path, 0o600);
  }

  close(): Promise<void> {
    return closeServer(this.#server);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    try {
      if (request.method !== 'POST' || !request.url?.startsWith(PREFIX)) {
        throw usageError(`expected POST ${PREFIX}OPERATION`);
      }
      const name = request.url.slice(PREFIX.length);
      const input = await readJson(request);
      if (name === FOLLOW_OPERATION) this.#follow(new Input(input), response);
      else answer(response, 200, await runOperation(this.#admin, name, input));
    } catch (error) {
      if (!(error instanceof AppError)) {
        this.#logger.log('error', 'admin_operation_failed', {
          operation: request.url,
          reason: String(error),
        });
      }
      answer(response, error instanceof AppError && error.exitCode === 2 ? 400 : 500, {
        error: errorData(error),
      });
    }
  }

  /** Sends what is there, then what comes, one entry a line. */
  #follow(input: Input, response: ServerResponse): void {
    const { machine, kind, count, after } = readEntriesInput(input);
    const sink: EntrySink = {
      get isBusy() {
        return response.writableNeedDrain;
      },
      get isEnded() {
        return response.destroyed;
      },
      send: (_kind, json) => void response.write(`${json}\n`),
      onDrain: (listener) => void response.on('drain', listener),
      end: () => void response.end(),
    };
    const end = followEntries({ admin: this.#admin, machine, kinds: [kind], count, after }, sink);
    response.on('close', end);
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

function errorData(error: unknown): { code: string; message: string; hint?: string } {
  if (!(error instanceof AppError))
    return { code: 'internal', message: 'internal error; the gateway logged it' };
  const { code, message, hint } = error;
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_INPUT_BYTES) throw usageError(`the input is larger than ${MAX_INPUT_BYTES} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text);
  } catch (error) {
    throw usageError(`the input is not JSON: ${(error as Error).message}`);
  }
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
