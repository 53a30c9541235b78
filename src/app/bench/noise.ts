/**
 * Whether a machine is quiet enough for its figures to mean something. Three witnesses: what others compute while this
 * process rests, what a hypervisor takes away meanwhile, and how far repetitions of one measurement lie apart.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { type CpuTimes, cpuTimes } from './processes.ts';

const REST_MS = 200;
/** Of one processor. */
const MAX_OTHER_LOAD = 0.15;
/** Of all processors' time. */
const MAX_STEAL = 0.01;
/** Of the figure: the typical row, not the worst one. */
const MAX_SPREAD = 0.15;

export interface NoiseReport {
  /** Processors that others kept busy while this process rested; undefined where /proc/stat is missing. */
  readonly otherLoad?: number;
  /** Share of the machine's time that a hypervisor took. */
  readonly steal?: number;
  /** The median of the spreads of all rows; undefined when nothing was repeated. */
  readonly spread?: number;
  /** Sentences; empty on a quiet machine. */
  readonly warnings: readonly string[];
}

export class NoiseWatch {
  readonly #times: () => CpuTimes | undefined;
  readonly #rest: () => Promise<unknown>;
  readonly #start: CpuTimes | undefined;
  readonly #spreads: number[] = [];
  #restBusy = 0;
  #restSeconds = 0;

  constructor(
    times: () => CpuTimes | undefined = cpuTimes,
    rest: () => Promise<unknown> = () => pause(REST_MS),
  ) {
    this.#times = times;
    this.#rest = rest;
    this.#start = times();
  }

  /** Does nothing for a moment and notes who else does something. `cores` of the machine share `total`. */
  async rest(cores: number): Promise<void> {
    const before = this.#times();
    await this.#rest();
    const after = this.#times();
    if (!before || !after || after.total <= before.total) return;
    this.#restBusy += after.busy - before.busy;
    this.#restSeconds += (after.total - before.total) / cores;
  }

  addSpread(spread: number | undefined): void {
    if (spread !== undefined) this.#spreads.push(spread);
  }

  report(): NoiseReport {
    const end = this.#times();
    const otherLoad = this.#restSeconds === 0 ? undefined : this.#restBusy / this.#restSeconds;
    const elapsed = this.#start && end ? end.total - this.#start.total : 0;
    const steal = this.#start && end && elapsed > 0 ? (end.steal - this.#start.steal) / elapsed : undefined;
    const spread = [...this.#spreads].sort((a, b) => a - b)[this.#spreads.length >> 1];
    const warnings: string[] = [];
    if (otherLoad !== undefined && otherLoad > MAX_OTHER_LOAD)
      warnings.push(`other programs kept ${otherLoad.toFixed(1)} processors busy while this one rested`);
    if (steal !== undefined && steal > MAX_STEAL)
      warnings.push(`the hypervisor took ${percent(steal)} of the machine's time`);
    if (spread !== undefined && spread > MAX_SPREAD)
      warnings.push(`repetitions of one measurement differ by ${percent(spread)}`);
    return {
      ...(otherLoad === undefined ? {} : { otherLoad }),
      ...(steal === undefined ? {} : { steal }),
      ...(spread === undefined ? {} : { spread }),
      warnings,
    };
  }
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
