/**
 * Network namespaces (network_namespaces(7)). A thread is in one, not a process: entering moves the calling thread, and
 * with it the sockets it opens and the processes it starts from then on. What is open already stays where it was made.
 */
import { closeSync, openSync } from 'node:fs';
import { AppError } from '../core/errors.ts';
import { EINVAL, ENOSPC, ENOSYS, EPERM, systemError } from './errno.ts';
import { libc } from './libc.ts';

const CLONE_NEWNET = 0x4000_0000;

/** A descriptor of one namespace, which keeps it alive. */
export class NetworkNamespace {
  /** To hand it to a child process. */
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** That of the calling thread. Throws AppError `unavailable` without /proc. */
  static current(): NetworkNamespace {
    try {
      return new NetworkNamespace(openSync('/proc/thread-self/ns/net', 'r'));
    } catch (cause) {
      throw new AppError('unavailable', 'network namespaces: /proc/thread-self/ns/net cannot be opened', {
        cause,
      });
    }
  }

  /** An inherited descriptor. Ours from then on. */
  static inherited(fd: number): NetworkNamespace {
    return new NetworkNamespace(fd);
  }

  /** A new one, empty but for a loopback device that is down. Throws SystemError: EPERM without CAP_SYS_ADMIN. */
  static create(): NetworkNamespace {
    const system = libc();
    const home = NetworkNamespace.current();
    try {
      if (system.unshare(CLONE_NEWNET) < 0) throw unshareError(system.errno());
      try {
        return NetworkNamespace.current();
      } finally {
        home.enter();
      }
    } finally {
      home.close();
    }
  }

  /** Moves the calling thread here. */
  enter(): void {
    if (libc().setns(this.fd, CLONE_NEWNET) < 0) throw systemError('enter network namespace', libc().errno());
  }

  /** Runs `task`, which must be synchronous, on this thread in this namespace. */
  run<Result>(task: () => Result): Result {
    const home = NetworkNamespace.current();
    try {
      this.enter();
      try {
        return task();
      } finally {
        home.enter();
      }
    } finally {
      home.close();
    }
  }

  /** The namespace ends with the last descriptor and the last thread in it. Idempotence is the caller's business. */
  close(): void {
    closeSync(this.fd);
  }
}

function unshareError(errno: number): AppError {
  const what = 'cannot make a network namespace';
  if (errno === EPERM) return systemError(what, errno, 'run as root, in a container with CAP_SYS_ADMIN');
  // EINVAL and ENOSYS: a kernel without them. ENOSPC: user.max_net_namespaces is reached.
  const isLacking = errno === EINVAL || errno === ENOSYS || errno === ENOSPC;
  const cause = systemError(what, errno);
  return isLacking ? new AppError('unavailable', cause.message, { cause }) : cause;
}
