/** Notices that a socket file was deleted or replaced: deleting it is how `wg-quick down` may end the process. */
import { type FSWatcher, lstatSync, unwatchFile, watch, watchFile } from 'node:fs';
import { dirname } from 'node:path';

/** Which file it is, whatever name it has. */
export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

const POLL_MS = 500;

/** Undefined when there is no such file. */
export function identify(path: string): FileIdentity | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && { device: stat.dev, inode: stat.ino };
}

export function isSameFile(path: string, identity: FileIdentity): boolean {
  const now = identify(path);
  return now !== undefined && now.device === identity.device && now.inode === identity.inode;
}

/**
 * Calls `onGone` once, as soon as `path` is no longer the file `identity`. Does not keep the process alive. Returns the
 * function that ends the watch.
 */
export function watchFileGone(
  path: string,
  identity: FileIdentity,
  onGone: () => void,
  watchDirectory: typeof watch = watch,
): () => void {
  let isWatching = true;
  let watcher: FSWatcher | undefined;
  const stop = () => {
    isWatching = false;
    watcher?.close();
    unwatchFile(path, check);
  };
  const check = () => {
    if (!isWatching || isSameFile(path, identity)) return;
    stop();
    onGone();
  };
  // inotify can be exhausted or missing; asking twice a second is the portable answer.
  const poll = () => {
    if (isWatching) watchFile(path, { interval: POLL_MS, persistent: false }, check);
  };
  try {
    watcher = watchDirectory(dirname(path), { persistent: false }, check);
    watcher.on('error', poll);
  } catch {
    poll();
  }
  check();
  return stop;
}
