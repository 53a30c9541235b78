/** Talks to userspace WireGuard devices as `wg` does: one request per connection to their UAPI socket. */
import { lstatSync, opendirSync } from 'node:fs';
import { connect } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { AppError, SystemError } from '../core/errors.ts';
import { type UapiDevice, parseState } from '../tunnel/uapi-reply.ts';
import { UAPI_DIRECTORY, uapiPath } from '../tunnel/uapi-socket.ts';

const SUFFIX = '.sock';
/** A device answers in milliseconds; this is for one that hangs. */
const SILENCE_LIMIT_MS = 15_000;

/** The interfaces that have a socket somebody listens on, in the order of the directory, as `wg` lists them. */
export async function listInterfaces(directory: string = UAPI_DIRECTORY): Promise<string[]> {
  const names: string[] = [];
  try {
    const entries = opendirSync(directory);
    for (let entry = entries.readSync(); entry; entry = entries.readSync()) {
      const name = entry.name.slice(0, -SUFFIX.length);
      if (entry.isSocket() && entry.name.endsWith(SUFFIX) && name !== '') names.push(name);
    }
    entries.closeSync();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw explain(error, directory);
  }
  const alive = await Promise.all(names.map((name) => isAlive(uapiPath(name, directory))));
  return names.filter((_, i) => alive[i]);
}

/** Throws AppError `not_found` when no process serves the interface. */
export async function getDevice(name: string, directory: string = UAPI_DIRECTORY): Promise<UapiDevice> {
  const { device, errno } = parseState(await request(name, directory, 'get=1\n\n'));
  if (errno !== 0) throw refused(name, errno);
  return device;
}

/** Sends a `set` request as printChange makes it. Throws SystemError with what the device answered. */
export async function setDevice(
  name: string,
  text: string,
  directory: string = UAPI_DIRECTORY,
): Promise<void> {
  const answer = await request(name, directory, text);
  const errno = /^errno=(-?\d{1,9})\n\n$/.exec(answer)?.[1];
  if (errno === undefined) throw new AppError('protocol', `${name}: the UAPI answer is malformed`);
  if (Number(errno) !== 0) throw refused(name, Number(errno));
}

/** Whether somebody listens on the socket. */
export function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    const finish = (result: boolean) => {
      probe.destroy();
      resolve(result);
    };
    probe.once('connect', () => finish(true));
    // Whoever may not connect still sees that the interface is there.
    probe.once('error', (error: NodeJS.ErrnoException) =>
      finish(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
}

function request(name: string, directory: string, text: string): Promise<string> {
  const path = uapiPath(name, directory);
  if (name.includes('/')) return Promise.reject(notFound(name));
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false)
    return Promise.reject(new AppError('io', `${path} is not a socket`));
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const chunks: Buffer[] = [];
    socket.setTimeout(SILENCE_LIMIT_MS, () =>
      socket.destroy(new AppError('io', `${name}: no answer from the UAPI socket`)),
    );
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const isGone = error.code === 'ENOENT' || error.code === 'ECONNREFUSED';
      reject(isGone ? notFound(name) : explain(error, path));
    });
    socket.end(text);
  });
}

function notFound(name: string): AppError {
  return new AppError('not_found', `no userspace WireGuard device ${JSON.stringify(name)} is running`, {
    hint: '"culvert show interfaces" lists them; kernel devices are shown by wg(8)',
  });
}

function refused(name: string, errno: number): SystemError {
  let errnoName = `errno ${errno}`;
  try {
    errnoName = getSystemErrorName(-Math.abs(errno));
  } catch {
    // Not a number this system knows.
  }
  return new SystemError('io', `${name} refused the request`, Math.abs(errno), errnoName);
}

function explain(error: unknown, path: string): AppError {
  if (error instanceof AppError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM')
    return new AppError('permission', `${path}: ${code}`, { cause: error, hint: 'run as root' });
  return new AppError('io', `${path}: ${message}`, { cause: error });
}
