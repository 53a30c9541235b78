import { fstatSync } from 'node:fs';
import type { PresharedKey, PrivateKey } from '../noise/keys.ts';

/** Writes a secret to standard output and wipes it; warns, as `wg` does, when that is a file everybody may read. */
export function printKey(key: PrivateKey | PresharedKey): void {
  const stat = fstatSync(1);
  if (stat.isFile() && (stat.mode & 0o007) !== 0) {
    process.stderr.write('Warning: writing to world accessible file.\n');
    process.stderr.write('Consider setting the umask to 077 and trying again.\n');
  }
  process.stdout.write(`${key.exposeBase64()}\n`);
  key.zero();
}
