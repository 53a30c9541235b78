/** Giving up root for good (credentials(7), capabilities(7)). */
import { systemError } from './errno.ts';
import { libc } from './libc.ts';
import { Block } from './memory.ts';

/** May open marked sockets with large buffers and speak to rtnetlink. */
export const CAP_NET_ADMIN = 12;

const PR_SET_KEEPCAPS = 8;
const PR_SET_NO_NEW_PRIVS = 38;

/** struct __user_cap_header_struct and two of __user_cap_data_struct (linux/capability.h). */
const CAP_HEADER = { version: 0, pid: 4, size: 8 } as const;
const CAP_DATA = { effective: 0, permitted: 4, inheritable: 8, size: 12 } as const;
const CAPABILITY_VERSION_3 = 0x2008_0522;

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The process becomes `identity`, without supplementary groups, on all its threads. The calling thread, which must be the main one, keeps `capabilities`
 * (numbers below 32) and nothing else; other threads keep none, and threads that it starts later have what it has. No
 * program that is executed from here on gains anything. Throws SystemError.
 */
export function dropPrivileges(identity: Identity, capabilities: readonly number[]): void {
  prctl('keep capabilities', PR_SET_KEEPCAPS, 1);
  // These three reach every thread of the process; what follows reaches the calling one.
  process.setgroups?.([identity.gid]);
  process.setgid?.(identity.gid);
  process.setuid?.(identity.uid);
  setCapabilities(capabilities.reduce((mask, capability) => mask | (1 << capability), 0) >>> 0);
  prctl('keep from gaining privileges', PR_SET_NO_NEW_PRIVS, 1);
}

function prctl(what: string, option: number, value: number): void {
  if (libc().prctl(option, value) < 0) throw systemError(what, libc().errno());
}

function setCapabilities(mask: number): void {
  const block = new Block(CAP_HEADER.size + 2 * CAP_DATA.size);
  block.view.setUint32(CAP_HEADER.version, CAPABILITY_VERSION_3, true);
  const data = CAP_HEADER.size;
  block.view.setUint32(data + CAP_DATA.effective, mask, true);
  block.view.setUint32(data + CAP_DATA.permitted, mask, true);
  if (libc().capset(block.address, block.address + data) < 0)
    throw systemError('give up capabilities', libc().errno());
}
