/**
 * Two lanes report late, each in its own time, and the timers need to know what came last: a packet that was sent before
 * its answer came must not look unanswered because it is heard of afterwards. So whenever a report turns out to be older
 * than one of the other lane, that one is repeated: the later fact has the last word, as on one thread.
 */
import { ACTIVITY, type LaneEvents } from './control.ts';

/** Clock.now() of the latest of one direction: of any packet, and of one with data. */
interface Latest {
  any: number;
  data: number;
}

interface PeerActivity {
  readonly out: Latest;
  readonly in: Latest;
}

const never = (): Latest => ({ any: Number.NEGATIVE_INFINITY, data: Number.NEGATIVE_INFINITY });

export class ActivityOrder {
  readonly #events: Pick<LaneEvents, 'activity'>;
  readonly #peers = new Map<number, PeerActivity>();

  constructor(events: Pick<LaneEvents, 'activity'>) {
    this.#events = events;
  }

  addPeer(peer: number): void {
    this.#peers.set(peer, { out: never(), in: never() });
  }

  removePeer(peer: number): void {
    this.#peers.delete(peer);
  }

  /** Bits of one lane. */
  activity(peer: number, bits: number, at: number): void {
    this.#events.activity(peer, bits, at);
    const last = this.#peers.get(peer);
    if (!last) return;
    if ((bits & ACTIVITY.sent) !== 0) {
      note(last.out, (bits & ACTIVITY.dataSent) !== 0, at);
      if (last.in.any <= at) return;
      const later = ACTIVITY.received | (last.in.data > at ? ACTIVITY.dataReceived : 0);
      this.#events.activity(peer, later, last.in.any);
    } else if ((bits & ACTIVITY.received) !== 0) {
      note(last.in, (bits & ACTIVITY.dataReceived) !== 0, at);
      if (last.out.any <= at) return;
      const later = ACTIVITY.sent | (last.out.data > at ? ACTIVITY.dataSent : 0);
      this.#events.activity(peer, later, last.out.any);
    }
  }
}

function note(latest: Latest, isData: boolean, at: number): void {
  latest.any = Math.max(latest.any, at);
  if (isData) latest.data = Math.max(latest.data, at);
}
