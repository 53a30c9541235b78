/** Where the configuration of an interface is: a file, or a name that stands for /etc/wireguard/NAME.conf. */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { AppError } from '../core/errors.ts';
import { interfaceNameOf, isInterfaceName, parseWgConf, type WgConf } from './wg-conf.ts';

const CONF_DIRECTORY = '/etc/wireguard';

export interface FoundConf {
  readonly interfaceName: string;
  /** Absolute, symbolic links resolved. */
  readonly path: string;
  readonly conf: WgConf;
  /** Sentences for the user. */
  readonly warnings: readonly string[];
}

/** Throws usage and configuration errors, and `not_found`. */
export function findConf(fileOrInterface: string, directory: string = CONF_DIRECTORY): FoundConf {
  const isName = isInterfaceName(fileOrInterface) && !fileOrInterface.endsWith('.conf');
  const asked = isName ? join(directory, `${fileOrInterface}.conf`) : fileOrInterface;
  const interfaceName = interfaceNameOf(asked);
  let text: string;
  let path: string;
  try {
    path = realpathSync(asked);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const kind = code === 'ENOENT' ? 'not_found' : code === 'EACCES' ? 'permission' : 'io';
    throw new AppError(kind, `${asked}: ${code ?? message}`, { cause: error });
  }
  const { conf, warnings } = parseWgConf(text, basename(asked));
  // As wg-quick: a file with keys that everybody can reach and read.
  const isExposed = (statSync(path).mode & statSync(dirname(path)).mode & 0o007) !== 0;
  return {
    interfaceName,
    path,
    conf,
    warnings: isExposed ? [`${path} is world accessible`, ...warnings] : warnings,
  };
}
