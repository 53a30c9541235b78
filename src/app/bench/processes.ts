/** What /proc says of processes and processors. */
import { readFileSync } from 'node:fs';

/** Part of Linux's interface, whatever the kernel's own clock. */
const TICKS_PER_SECOND = 100;

/** User and system time of all threads of a process, 0 when it has ended. */
export function processCpuSeconds(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}

export interface CpuTimes {
  /** Seconds of all processors together. */
  readonly busy: number;
  /** Seconds that a hypervisor gave to others while there was work here. */
  readonly steal: number;
  readonly total: number;
}

/** The first line of /proc/stat (proc(5)). Undefined where there is none. */
export function cpuTimes(text: string = readStat()): CpuTimes | undefined {
  const ticks = /^cpu +(.*)$/m.exec(text)?.[1]?.split(' ').map(Number);
  if (!ticks || ticks.length < 8 || ticks.some(Number.isNaN)) return undefined;
  const [user = 0, nice = 0, system = 0, idle = 0, ioWait = 0, irq = 0, softIrq = 0, steal = 0] = ticks;
  const busy = user + nice + system + irq + softIrq;
  const all = busy + idle + ioWait + steal;
  return {
    busy: busy / TICKS_PER_SECOND,
    steal: steal / TICKS_PER_SECOND,
    total: all / TICKS_PER_SECOND,
  };
}

function readStat(): string {
  try {
    return readFileSync('/proc/stat', 'latin1');
  } catch {
    return '';
  }
}
