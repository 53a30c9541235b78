/**
 * What waits in a lane and what its bind has met: numbers in memory that other threads may read. Each is one u32 that the
 * lane's thread stores and nobody else does.
 */
import type { DatagramPort } from '../bind.ts';
import type { LaneFigures } from './control.ts';

const GAUGES = [
  'stagedPackets',
  'stagedPeers',
  'stagedBytes',
  // Counted by a worker, to be held against those that the control thread has taken.
  'raisedHandshakes',
  'gso',
  'sendFull',
  'sendTooLarge',
  'sendUnreachable',
  'sendOther',
] as const;

type Gauge = (typeof GAUGES)[number];

/** Index of each, for storing without a lookup. */
export const GAUGE: { readonly [Name in Gauge]: number } = Object.fromEntries(
  GAUGES.map((name, index) => [name, index]),
) as { [Name in Gauge]: number };

/** Of the gauge `gso`; 0 is not known yet, or not to be had. */
const GSO_OFF = 1;
const GSO_ON = 2;

export class LaneGauges {
  static readonly words: number = GAUGES.length;
  readonly #words: Uint32Array;

  constructor(words: Uint32Array = new Uint32Array(LaneGauges.words)) {
    this.#words = words;
  }

  get(gauge: number): number {
    return this.#words[gauge] as number;
  }

  set(gauge: number, value: number): void {
    this.#words[gauge] = value;
  }

  add(gauge: number, change: number): void {
    this.#words[gauge] = (this.#words[gauge] as number) + change;
  }

  /** Shows what the bind has counted since it was opened. */
  showBind({ sendErrors, usesGso }: DatagramPort): void {
    this.set(GAUGE.sendFull, sendErrors.full);
    this.set(GAUGE.sendTooLarge, sendErrors.tooLarge);
    this.set(GAUGE.sendUnreachable, sendErrors.unreachable);
    this.set(GAUGE.sendOther, sendErrors.other);
    this.set(GAUGE.gso, usesGso === undefined ? 0 : usesGso ? GSO_ON : GSO_OFF);
  }

  figures(handshakesInFlight: number | undefined): LaneFigures {
    const gso = this.get(GAUGE.gso);
    return {
      stagedPackets: this.get(GAUGE.stagedPackets),
      stagedPeers: this.get(GAUGE.stagedPeers),
      stagedBytes: this.get(GAUGE.stagedBytes),
      handshakesInFlight,
      sendErrors: {
        full: this.get(GAUGE.sendFull),
        tooLarge: this.get(GAUGE.sendTooLarge),
        unreachable: this.get(GAUGE.sendUnreachable),
        other: this.get(GAUGE.sendOther),
      },
      usesGso: gso === 0 ? undefined : gso === GSO_ON,
    };
  }
}
