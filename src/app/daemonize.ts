/**
 * Daemons and their starters. The starter goes on only when the daemon serves, and passes on what it says when it
 * fails: the daemon writes its answer to an inherited descriptor, `ready` or what went wrong, and closes it.
 */
import { spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { AppError } from '../core/errors.ts';

/** Names the descriptor in the environment of the daemon. */
export const READY_FD = 'CULVERT_READY_FD';
/** The end of the answer of a daemon that serves. */
const READY = 'ready\n';

export interface Starter {
  /** `text` is for the starter's standard error; it goes on waiting. */
  note(text: string): void;
  /** The device serves; the starter may go. */
  ready(): void;
  /** `text` is for the starter's standard error. */
  failed(text: string): void;
}

/** The starter of this process, or undefined when nobody waits. Child processes will not take it for theirs. */
export function takeStarter(env: NodeJS.ProcessEnv): Starter | undefined {
  const fd = Number(env[READY_FD] ?? Number.NaN);
  delete env[READY_FD];
  if (!Number.isInteger(fd) || fd < 3) return undefined;
  // That the starter was killed is no reason not to serve.
  const say = (text: string) => attempt(() => writeSync(fd, text));
  const answer = (text: string) => {
    say(text);
    attempt(() => closeSync(fd));
  };
  return { note: say, ready: () => answer(READY), failed: answer };
}

function attempt(task: () => unknown): void {
  try {
    task();
  } catch {
    // Nobody is there to be told.
  }
}

export interface DaemonOptions {
  /** Program and arguments. */
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether the daemon keeps standard output and error. */
  readonly keepsOutput: boolean;
}

export interface Daemon {
  readonly pid: number;
  /** What it had to say nevertheless, for standard error. */
  readonly notes: string;
}

/** Starts a daemon in a session of its own and returns when it serves. Throws DaemonFailed otherwise. */
export async function startDaemon({ command, env, keepsOutput }: DaemonOptions): Promise<Daemon> {
  const [program, ...args] = command;
  const output = keepsOutput ? 'inherit' : 'ignore';
  const child = spawn(program, args, {
    detached: true,
    stdio: ['ignore', output, output, 'pipe'],
    env: { ...env, [READY_FD]: '3' },
  });
  const pipe = child.stdio[3];
  if (!pipe) throw new AppError('internal', 'the daemon has no readiness pipe');
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    pipe.on('data', (chunk: Buffer) => chunks.push(chunk));
    pipe.once('error', reject);
    pipe.once('close', resolve);
  });
  child.unref();
  const answer = Buffer.concat(chunks).toString('utf8');
  if (answer.endsWith(READY) && child.pid !== undefined)
    return { pid: child.pid, notes: answer.slice(0, -READY.length) };
  throw new DaemonFailed(answer);
}

/** The daemon printed its errors as a program of its own would; `text` goes to standard error as it is. */
export class DaemonFailed extends AppError {
  readonly text: string;

  constructor(text: string) {
    super('io', text.trim() === '' ? 'the daemon ended before it was ready' : text.trim());
    this.text = text;
  }
}

/** Starts this very command line again as a daemon, and says what the daemon has to say. */
export async function detach(): Promise<void> {
  try {
    const { notes } = await startDaemon({
      command: [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
      env: process.env,
      keepsOutput: false,
    });
    process.stderr.write(notes);
  } catch (error) {
    if (!(error instanceof DaemonFailed) || error.text === '') throw error;
    process.stderr.write(error.text);
    process.exitCode = 1;
  }
}
