/** Other programs: whether they are there, and running them without stopping the event loop. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { AppError } from '../core/errors.ts';

export function hasProgram(name: string, path: string = process.env['PATH'] ?? ''): boolean {
  return path.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Runs a program with `input`. Its output goes to standard error. Throws AppError when it fails. */
export function runProgram(program: string, args: readonly string[], input = ''): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 2, 2] });
    child.once('error', (error) =>
      reject(new AppError('unavailable', `${program}: ${error.message}`, { cause: error })),
    );
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else
        reject(
          new AppError('io', `${program} ${args.join(' ')} ended with ${signal ?? `exit code ${code}`}`),
        );
    });
    // A program that ends without reading is judged by its exit code.
    child.stdin?.on('error', () => {}).end(input);
  });
}

/** Runs a hook of a configuration file as wg-quick does: by bash, with `%i` replaced by the interface. */
export function runHook(command: string, interfaceName: string): Promise<void> {
  const text = command.replaceAll('%i', interfaceName);
  process.stderr.write(`[#] ${text}\n`);
  return runProgram('bash', ['-c', text]);
}
