/** What every result carries: the machine and the software. */
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { version } from '../version.ts';

export interface MachineFacts {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly openssl: string;
  readonly culvert: string;
  /** Of a clone; undefined where only the package is installed. */
  readonly commit?: string;
}

export function machineFacts(): MachineFacts {
  const here = fileURLToPath(new URL('.', import.meta.url));
  // A package that lies inside somebody's repository is not of that repository's commit.
  const isOurs = output('git', [
    '-C',
    here,
    'ls-files',
    '--error-unmatch',
    '../../../../src/app/bench/facts.ts',
  ]);
  const commit = isOurs && output('git', ['-C', here, 'describe', '--always', '--dirty']);
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    openssl: process.versions.openssl,
    culvert: version(),
    ...(commit === '' ? {} : { commit }),
  };
}

/** Standard output of a program, trimmed; empty when it is missing or fails. */
export function output(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}
