/**
 * Remembers what has to be undone when an interface is gone, in a file per interface, so that a killed process is
 * cleaned up after by whoever comes next. Whoever takes the file away undoes it: nothing is undone twice.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NetworkUndo } from './network-plan.ts';

export const STATE_DIRECTORY = '/var/run/culvert';

export class UndoStore {
  readonly #directory: string;

  constructor(directory: string = STATE_DIRECTORY) {
    this.#directory = directory;
  }

  save(undo: NetworkUndo): void {
    const path = this.#path(undo.interfaceName);
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const temporary = `${path}.${process.pid}`;
    writeFileSync(temporary, JSON.stringify(undo), { mode: 0o600 });
    renameSync(temporary, path);
  }

  /** The caller undoes what it gets. Undefined when there is nothing to undo, or somebody else does it. */
  take(interfaceName: string): NetworkUndo | undefined {
    const taken = `${this.#path(interfaceName)}.${process.pid}`;
    try {
      renameSync(this.#path(interfaceName), taken);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const undo = JSON.parse(readFileSync(taken, 'utf8')) as NetworkUndo;
    rmSync(taken);
    return undo;
  }

  /** Says that this process runs the interface, until `markEnded`. */
  markRunning(interfaceName: string): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    writeFileSync(this.#pidPath(interfaceName), `${process.pid}\n`, { mode: 0o600 });
  }

  markEnded(interfaceName: string): void {
    rmSync(this.#pidPath(interfaceName), { force: true });
  }

  /** Whether the process of `markRunning` has not come to its end yet. */
  isRunning(interfaceName: string): boolean {
    try {
      process.kill(Number(readFileSync(this.#pidPath(interfaceName), 'utf8')), 0);
      return true;
    } catch {
      return false;
    }
  }

  #pidPath(interfaceName: string): string {
    return join(this.#directory, `${interfaceName}.pid`);
  }

  #path(interfaceName: string): string {
    return join(this.#directory, `${interfaceName}.json`);
  }
}
