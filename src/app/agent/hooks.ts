/** The commands of `--on-up` and `--on-down`. */
import { spawn } from 'node:child_process';
import type { Logger } from '../../core/log.ts';

export interface HookCommands {
  readonly onUp: string | undefined;
  readonly onDown: string | undefined;
}

/** A command that takes longer is ended. */
const HOOK_TIMEOUT_MS = 60_000;

/** Runs them one after the other, in the order in which things happened. */
export class Hooks {
  readonly #logger: Logger;
  /** May become others at any time. */
  commands: HookCommands;
  #serial: Promise<void> = Promise.resolve();

  constructor(commands: HookCommands, logger: Logger) {
    this.commands = commands;
    this.#logger = logger;
  }

  /** `variables` go into the environment of the command. Resolves when it has ended. */
  run(which: 'up' | 'down', variables: Readonly<Record<string, string>>): Promise<void> {
    const command = which === 'up' ? this.commands.onUp : this.commands.onDown;
    if (command === undefined) return this.#serial;
    this.#serial = this.#serial.then(() => this.#run(which, command, variables));
    return this.#serial;
  }

  /** A hook that fails is told and changes nothing. */
  #run(which: string, command: string, variables: Readonly<Record<string, string>>): Promise<void> {
    return new Promise((resolve) => {
      const child = spawn('sh', ['-c', command], {
        stdio: ['ignore', 2, 2],
        env: { ...process.env, ...variables, CULVERT_EVENT: which },
        timeout: HOOK_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      });
      const failed = (reason: string) =>
        this.#logger.log('error', 'hook_failed', { hook: `on-${which}`, reason });
      child.once('error', (error) => {
        failed(error.message);
        resolve();
      });
      child.once('close', (code, signal) => {
        if (code !== 0) failed(signal === null ? `exit code ${code}` : `ended by ${signal}`);
        resolve();
      });
    });
  }
}
