/** The commands' side of the admin socket. */
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { createInterface } from 'node:readline';
import { AppError, ERROR_CODES, type ErrorCode } from '../../core/errors.ts';
import type { AdminOperation, AdminOperations, EntriesInput } from './admin-operations.ts';
import { adminSocketPath, FOLLOW_OPERATION } from './admin-socket.ts';
import type { EntryView } from './admin-views.ts';

export class AdminClient {
  readonly #path: string;

  constructor(stateDirectory: string) {
    this.#path = adminSocketPath(stateDirectory);
  }

  /** Rejects with the gateway's AppError, `not_found` when none runs, `permission` when the socket is another user's. */
  async call<Name extends AdminOperation>(
    name: Name,
    input: AdminOperations[Name]['input'],
  ): Promise<AdminOperations[Name]['output']> {
    const response = await this.#post(name, input);
    return (await readJson(response)) as AdminOperations[Name]['output'];
  }

  /** Entries that are there and those to come, until the gateway ends or the consumer stops. */
  async *follow(input: EntriesInput): AsyncGenerator<EntryView> {
    const response = await this.#post(FOLLOW_OPERATION, input);
    try {
      for await (const line of createInterface({ input: response })) yield JSON.parse(line) as EntryView;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
    } finally {
      response.destroy();
    }
  }

  async #post(name: string, input: object): Promise<IncomingMessage> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = httpRequest({ socketPath: this.#path, path: `/v1/${name}`, method: 'POST' }, resolve);
      request.on('error', (error) => reject(this.#explain(error)));
      request.end(JSON.stringify(input));
    });
    if (response.statusCode === 200) return response;
    const { error } = (await readJson(response)) as {
      error: { code: string; message: string; hint?: string };
    };
    const code = Object.hasOwn(ERROR_CODES, error.code) ? (error.code as ErrorCode) : 'io';
    throw new AppError(code, error.message, error.hint === undefined ? {} : { hint: error.hint });
  }

  #explain(error: NodeJS.ErrnoException): AppError {
    const { code } = error;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return new NoGateway(this.#path);
    if (code === 'EACCES') {
      return new AppError('permission', `${this.#path}: ${code}`, {
        hint: 'run this as the user that runs the gateway, or name its directory with --state',
        cause: error,
      });
    }
    return new AppError('io', `${this.#path}: ${error.message}`, { cause: error });
  }
}

/** Nobody listens: commands that only read can look at the state instead. */
export class NoGateway extends AppError {
  constructor(path: string) {
    super('not_found', `no gateway listens on ${path}`, {
      hint: 'start one with "culvert serve", or name its directory with --state',
    });
  }
}

async function readJson(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}
