/** Error numbers of system calls: names, and how they become errors of the control path. */
import { constants } from 'node:os';
import { type ErrorCode, SystemError } from '../core/errors.ts';

/** Linux asm-generic, the numbers this project compares with. */
export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENOSPC = 28;
export const ENOTTY = 25;
export const ESRCH = 3;
export const ENOSYS = 38;
export const EPROTO = 71;
export const EBADFD = 77;
export const EMSGSIZE = 90;
export const EOPNOTSUPP = 95;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const ENOBUFS = 105;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;

const names = new Map<number, string>([[EBADFD, 'EBADFD']]);
for (const [name, number] of Object.entries(constants.errno)) {
  // Two names share a number in places (EWOULDBLOCK, EOPNOTSUPP); the first one listed is the usual one.
  if (!names.has(number)) names.set(number, name);
}

/** `EADDRINUSE`, or `errno 4711` for a number without a name. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

const CODES = new Map<number, ErrorCode>([
  [EPERM, 'permission'],
  [EACCES, 'permission'],
  [EADDRINUSE, 'in_use'],
  [EBUSY, 'in_use'],
  [EEXIST, 'in_use'],
  [ENOENT, 'not_found'],
  [ENODEV, 'not_found'],
  [ENXIO, 'not_found'],
  [ESRCH, 'not_found'],
  [EADDRNOTAVAIL, 'not_found'],
  [EAFNOSUPPORT, 'unavailable'],
  [EOPNOTSUPP, 'unavailable'],
]);

/** `what` names the call and its object: `bind UDP port 51820`. */
export function systemError(what: string, errno: number, hint?: string): SystemError {
  return new SystemError(CODES.get(errno) ?? 'io', what, errno, errnoName(errno), hint);
}
