/** Threads as the kernel counts them. */
import { readFileSync, readlinkSync } from 'node:fs';

/** The kernel's number of the calling thread. */
export function threadId(): number {
  // `PID/task/TID`. Synchronous calls of node:fs run on the calling thread.
  return Number(readlinkSync('/proc/thread-self').split('/')[2]);
}

/** In which /proc counts; part of Linux's interface, whatever the kernel's own clock. */
const TICKS_PER_SECOND = 100;

/** User and system time of a thread of this process. Undefined when it has ended. */
export function threadCpuSeconds(id: number): number | undefined {
  try {
    const text = readFileSync(`/proc/self/task/${id}/stat`, 'latin1');
    // The name, in parentheses, may hold anything; state is the first field behind it (proc(5)).
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return undefined;
  }
}
