/** `culvert up --user`: from root to somebody else, and who does what only root can when the device has ended. */
import { spawn, spawnSync } from 'node:child_process';
import { openSync, closeSync } from 'node:fs';
import { AppError, usageError } from '../core/errors.ts';
import { CAP_NET_ADMIN, dropPrivileges, type Identity } from '../sys/privileges.ts';
import type { WgConf } from './wg-conf.ts';

/** Throws AppError `not_found` when there is no such user, `usage` for root. */
export function findUser(name: string): Identity {
  const ask = (flag: string): number => {
    const { status, stdout } = spawnSync('id', [flag, '--', name], { encoding: 'utf8' });
    return status === 0 ? Number(stdout) : Number.NaN;
  };
  const [uid, gid] = [ask('-u'), ask('-g')];
  if (!Number.isInteger(uid) || !Number.isInteger(gid))
    throw new AppError('not_found', `--user ${name}: there is no such user`);
  if (uid === 0) throw usageError(`--user ${name}: that is root`, 'name an unprivileged user');
  return { uid, gid };
}

/** What a file asks for that only root can do at the end. Throws a usage error. */
export function checkDroppable({ device }: WgConf, runsHooks: boolean): void {
  const asked = [
    ...(device.saveConfig === true ? ['SaveConfig'] : []),
    ...(runsHooks && device.preDown.length > 0 ? ['PreDown'] : []),
    ...(runsHooks && device.postDown.length > 0 ? ['PostDown'] : []),
  ];
  if (asked.length > 0)
    throw usageError(
      `--user: ${asked.join(', ')} of the file would need root at the end`,
      'leave one of them out',
    );
}

/**
 * Becomes `user`. A shell that holds no more than the other end of a pipe stays root: when this process has ended, in
 * whatever way, it takes back routes, rules, DNS and the socket file by `culvert down`.
 */
export function dropTo(user: Identity, interfaceName: string): void {
  const [program = '', script = ''] = process.argv;
  // Standard output belongs to whoever started us, and may be a pipe that must not be held open.
  const none = openSync('/dev/null', 'r+');
  const keeper = spawn(
    'sh',
    ['-c', 'cat >/dev/null; exec "$@" 2>/dev/null', 'culvert-keeper', program, script, 'down', interfaceName],
    { detached: true, stdio: ['pipe', none, none], cwd: '/' },
  );
  closeSync(none);
  keeper.on('error', () => {});
  keeper.stdin?.on('error', () => {});
  keeper.unref();
  (keeper.stdin as { unref?(): void } | null)?.unref?.();
  dropPrivileges(user, [CAP_NET_ADMIN]);
}
