/** What is done with a state file that is damaged: nothing, after a copy was made that nobody will touch. */
import { copyFileSync, constants, existsSync, statSync } from 'node:fs';
import { AppError } from '../core/errors.ts';

/**
 * Runs `open`. When it finds the file corrupt, the file and its log are copied to `FILE.corrupt-DATE` and the error says
 * so. DATE is that of the file's last change, so that a hundred failed starts make one copy.
 */
export function keepingDamaged<Result>(path: string, open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'corrupt') throw error;
    const copy = copyName(path);
    const kept = copyAside(path, copy);
    throw new AppError('corrupt', `${error.message}; ${kept}`, {
      hint: `it was left as it is. With a backup: cp BACKUP ${path} && rm -f ${path}-wal. Without one: move it away to begin anew, machines then get new addresses`,
      cause: error,
    });
  }
}

function copyName(path: string): string {
  const date = statSync(path)
    .mtime.toISOString()
    .replaceAll(/[-:]|\.\d+/g, '');
  return `${path}.corrupt-${date}`;
}

/** Says in words what became of it: a full disk must not hide the damage. */
function copyAside(path: string, copy: string): string {
  try {
    for (const suffix of ['', '-wal']) {
      if (existsSync(path + suffix) && !existsSync(copy + suffix)) {
        copyFileSync(path + suffix, copy + suffix, constants.COPYFILE_EXCL);
      }
    }
    return `a copy is ${copy}`;
  } catch (error) {
    return `it could not be copied: ${(error as Error).message}`;
  }
}
