/** Calls from the demonstration to the processes it starts, over the channel that Node opens between them. */
import { type ChildProcess, fork } from 'node:child_process';
import { AppError, type ErrorCode } from '../../core/errors.ts';

/** What a process can be asked: functions of plain data. */
type Calls<Set> = { readonly [Name in keyof Set]: (argument: never) => unknown };

interface Request {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

type Answer = { readonly id: number } & (
  | { readonly result: unknown }
  | { readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string } }
);

/** Longest wait for a process to end by itself. */
const END_TIMEOUT_MS = 1_000;
/** What is kept of a process's last words. */
const MAX_STDERR_CHARS = 4_000;

export class CalledProcess<Set extends Calls<Set>> {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<
    number,
    { resolve: (result: unknown) => void; reject: (error: Error) => void }
  >();
  /** Rejects when the process ends, for whatever reason. */
  readonly end: Promise<never>;
  #lastId = 0;
  #stderr = '';
  #reason: AppError | undefined;

  /** `module` calls `answerCalls`. `fds` become descriptors 4 and up. */
  constructor(name: string, module: URL, fds: readonly number[] = []) {
    this.#name = name;
    this.#child = fork(module, {
      // A session of its own: Ctrl-C reaches the demonstration alone, which then ends its processes in order.
      detached: true,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc', ...fds],
    });
    this.#child.on('message', (answer) => this.#settle(answer as Answer));
    // Node forgets `close` after a disconnect, so both of its halves are awaited.
    const exited = new Promise<string>((resolve) => {
      this.#child.once('exit', (code, signal) => resolve(`ended with ${signal ?? `code ${code}`}`));
      this.#child.once('error', (error) => resolve(error.message));
    });
    const { stderr } = this.#child;
    const fellSilent = new Promise<void>((resolve) => {
      if (!stderr) {
        resolve();
        return;
      }
      stderr.once('close', resolve);
      stderr.setEncoding('utf8').on('data', (text: string) => {
        this.#stderr = (this.#stderr + text).slice(-MAX_STDERR_CHARS);
      });
    });
    this.end = Promise.all([exited, fellSilent]).then(([how]) => {
      throw this.#fail(how);
    });
    this.end.catch(() => {});
  }

  call<Name extends keyof Set & string>(
    name: Name,
    argument: Parameters<Set[Name]>[0],
  ): Promise<Awaited<ReturnType<Set[Name]>>> {
    if (this.#reason) return Promise.reject(this.#reason);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      // A channel that broke is told by the end of the process.
      this.#child.send({ id, name, argument } satisfies Request, () => {});
    });
  }

  /** Asks the process to end, waits a moment, then ends it. Calls under way reject. Idempotent. */
  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const deadline = setTimeout(() => this.#child.kill('SIGKILL'), END_TIMEOUT_MS);
    await this.end.catch(() => {});
    clearTimeout(deadline);
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ('result' in answer) waiting?.resolve(answer.result);
    else waiting?.reject(new AppError(answer.error.code, answer.error.message, answer.error));
  }

  #fail(how: string): AppError {
    const words = this.#stderr.trim();
    const reason = new AppError('internal', `the process of ${this.#name} ${how}${words && `:\n${words}`}`);
    this.#reason = reason;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
    return reason;
  }
}

/** The other side: answers until the demonstration hangs up, then runs `finish` and ends the process. */
export function answerCalls<Set extends Calls<Set>>(calls: Set, finish: () => Promise<void>): void {
  process.on('message', (request) => void answer(calls, request as Request));
  const end = () => {
    // Whatever hangs, nothing of this process may stay behind.
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), END_TIMEOUT_MS);
    void finish().finally(() => process.exit());
  };
  process.once('disconnect', end);
  if (!process.connected) end();
}

async function answer<Set extends Calls<Set>>(calls: Set, { id, name, argument }: Request): Promise<void> {
  const reply = (message: Answer) => process.send?.(message, () => {});
  try {
    reply({ id, result: await calls[name as keyof Set](argument as never) });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const { code, message, hint } = error;
    reply({ id, error: { code, message, ...(hint === undefined ? {} : { hint }) } });
  }
}
