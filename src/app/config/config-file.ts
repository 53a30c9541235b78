/** The YAML file with the documents of `culvert serve` and `culvert join`: where it lies, and what is in it. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { AppError, configError } from '../../core/errors.ts';
import type { StateSurroundings } from '../state-directory.ts';

export const CONFIG_ENVIRONMENT = 'CULVERT_CONFIG';
export const SYSTEM_FILE = '/etc/culvert/config.yaml';
const MAX_BYTES: number = 1 << 20;

export interface ConfigFile {
  readonly path: string;
  /** Somebody named it, so it has to be there and to have what is looked for. */
  readonly isNamed: boolean;
}

/** `what`: a YAML file, and what is in it. */
export function addConfigOption(command: Command, what: string): void {
  command.addOption(
    new Option('--config <file>', `${what} (default: ${SYSTEM_FILE}, where it exists)`).env(
      CONFIG_ENVIRONMENT,
    ),
  );
}

/**
 * The file that the flag or CULVERT_CONFIG names; else, where it exists, that of the user (not for root, whom a file in
 * somebody's home must not lead) or that of the machine.
 */
export function findConfigFile(
  flag: string | undefined,
  { env, uid, home }: StateSurroundings,
  exists: (path: string) => boolean = existsSync,
): ConfigFile | undefined {
  const named = flag ?? env[CONFIG_ENVIRONMENT] ?? '';
  if (named !== '') return { path: resolve(named), isNamed: true };
  const xdg = env['XDG_CONFIG_HOME'] ?? '';
  const own = join(isAbsolute(xdg) ? xdg : join(home, '.config'), 'culvert', 'config.yaml');
  const path = (uid === 0 ? [SYSTEM_FILE] : [own, SYSTEM_FILE]).find((each) => exists(each));
  return path === undefined ? undefined : { path, isNamed: false };
}

/** Throws AppError when it cannot be read, or is too large to be one. */
export function readConfigText(path: string): string {
  try {
    const fd = openSync(path, 'r');
    try {
      if (fstatSync(fd).size > MAX_BYTES) throw configError(path, `larger than ${MAX_BYTES} bytes`);
      return readFileSync(fd, 'utf8');
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (error instanceof AppError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const kind = code === 'ENOENT' ? 'not_found' : code === 'EACCES' ? 'permission' : 'io';
    throw new AppError(kind, `${path}: ${code ?? message}`, { cause: error });
  }
}
