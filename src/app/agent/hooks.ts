/** The commands of `--on-up` and `--on-down`. */
import { spawn } from 'node:child_process';
import type { Logger } from '../../core/log.ts';

export interface HookOptions {
  readonly onUp: string | undefined;
  readonly onDown: string | undefined;
  readonly logger: Logger;
}

/** A command that takes longer is ended. */
const HOOK_TIMEOUT_MS = 60_000;

/** Runs them one after the other, in the order in which things happened. */
export class Hooks {
  readonly #options: HookOptions;
  #serial: Promise<void> = Promise.resolve();

  constructor(options: HookOptions) {
    this.#options = options;
  }

  /** `variables` go into the environment of the command. Resolves when it has ended. */
  run(which: 'up' | 'down', variables: Readonly<Record<string, string>>): Promise<void> {
    const command = which === 'up' ? this.#options.onUp : this.#options.onDown;
    if (command === undefined) return this.#serial;
    this.#serial = this.#serial.then(() => this.#run(which, command, variables));
    return this.#serial;
  }

  /** A hook that fails is told and changes nothing. */
  #run(which: string, command: string, variables: Readonly<Record<string, string>>): Promise<void> {
    const { logger } = this.#options;
    return new Promise((resolve) => {
      const child = spawn('sh', ['-c', command], {
        stdio: ['ignore', 2, 2],
        env: { ...process.env, ...variables, CULVERT_EVENT: which },
        timeout: HOOK_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      });
      const failed = (reason: string) => logger.log('error', 'hook_failed', { hook: `on-${which}`, reason });
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
