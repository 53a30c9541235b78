/**
 * Both lanes, or one of them, on a thread that blocks in poll(2): no event loop, no promise, nothing but packets. On an idle machine a
 * packet finds cold caches, and each call into the kernel and each line of code delays it; so what is not needed to move
 * it on comes after it has left.
 */
import type { Arena } from '../../core/arena.ts';
import type { Clock } from '../../core/clock.ts';
import type { TransportAead } from '../../noise/aead.ts';
import { POLLIN, PollSet, yieldProcessor } from '../../sys/poll.ts';
import { PORT_GONE, type PacketPort } from '../../tun/tun.ts';
import type { LinuxDatagrams } from '../linux-datagrams.ts';
import { CarrierPort, type StreamPort } from '../stream-port.ts';
import { ACTIVITY, type Direction } from './control.ts';
import { DROP } from './drops.ts';
import { GAUGE } from './gauges.ts';
import { Lane } from './lane.ts';
import type { LaneNews } from './lane-news.ts';
import { type EventMessage, eventSender } from './link.ts';
import type { LanePolicy } from './policy.ts';
import { Spin } from './spin.ts';
import { MAX_HANDSHAKES_IN_FLIGHT } from './worker-protocol.ts';

/** Packets moved before the other direction gets its turn. */
const PACKETS_PER_TURN = 256;
/**
 * Activity moves timers of seconds: it is reported when it is this old and nothing else is to be done, so that a packet
 * neither waits for the report nor wakes the control thread, which would compete with it for the processor.
 */
const ACTIVITY_INTERVAL_MS = 50;
/** A lane that is never idle reports it when it is this old. */
const MAX_ACTIVITY_AGE_MS = 100;
const FOR_EVER = -1;
const NONE: number = Number.POSITIVE_INFINITY;
/** About 300 microseconds. */
const SPIN_LOOKS = 250;
const URGENT_ACTIVITY: number = ACTIVITY.needsSession | ACTIVITY.rekeyOnSend | ACTIVITY.rekeyOnReceive;

/** Entries of the poll set. */
const WAKE = 0;
const TUN = 1;
const IPV4 = 2;
const IPV6 = 3;

export interface LaneLoopOptions {
  readonly arena: Arena;
  readonly aead: TransportAead;
  readonly clock: Clock;
  readonly tun: PacketPort;
  /** That of `tun`. */
  readonly tunFd: number;
  readonly datagrams: LinuxDatagrams;
  readonly streams: StreamPort | undefined;
  readonly policy: LanePolicy;
  /** Both by default. */
  readonly direction?: Direction;
  /** Of one of two lanes: what inbound tells outbound. */
  readonly news?: LaneNews | undefined;
  /** Readable when `takeMessages` or `streams` has something. */
  readonly wakeFd: number;
  /** Called when `wakeFd` is readable; makes it unreadable. */
  readonly takeMessages: () => void;
  /**
   * Takes messages though `wakeFd` has not said that there are any. What the outbound one of two lanes sends may be
   * answered before this one has looked, on a keypair that it was told of in time.
   */
  readonly catchUp?: () => void;
  readonly post: (events: readonly EventMessage[]) => void;
}

export class LaneLoop {
  readonly lane: Lane;
  /** Arena offset at which the control thread counts the handshake messages that it has taken; a gauge has the raised ones. */
  readonly takenAt: number;
  readonly #tunFd: number;
  readonly #wakeFd: number;
  readonly #takeMessages: () => void;
  readonly #post: (events: readonly EventMessage[]) => void;
  readonly #u32: Uint32Array;
  readonly #clock: Clock;
  readonly #datagrams: LinuxDatagrams;
  /** Truths and no names: a name that came from another thread is not of the kind that code rehearsed with. */
  readonly #isAlone: boolean;
  readonly #movesOut: boolean;
  readonly #movesIn: boolean;
  /** Inbound only. */
  readonly #hasStreams: boolean;
  #sockets: readonly [number, number] = [-1, -1];
  #poll: PollSet;
  #isUp = false;
  #isTunGone = false;
  /** A direction that was stopped in the middle goes on without being named by poll. */
  #isTunFull = false;
  #isBindFull = false;
  /** The last look at the TUN found one packet or none. */
  #isTunCalm = true;
  /** The last turn sent one packet and had nothing else to do. */
  #isAnswerDue = false;
  readonly #spin = new Spin();
  #events: EventMessage[] = [];
  /** Something in `#events` should not wait any longer than for this turn. */
  #isUrgent = false;
  /** When the oldest event in `#events` came; NONE while there is none. */
  #oldestEventMs = NONE;

  constructor(options: LaneLoopOptions) {
    const { arena, aead, clock, tun, datagrams, streams, policy, catchUp } = options;
    const { direction = 'both', news } = options;
    this.#isAlone = direction === 'both';
    this.#movesOut = direction !== 'in';
    this.#movesIn = direction !== 'out';
    this.#tunFd = options.tunFd;
    this.#wakeFd = options.wakeFd;
    this.#takeMessages = options.takeMessages;
    this.#post = options.post;
    this.#u32 = arena.u32;
    this.#clock = clock;
    this.#datagrams = datagrams;
    this.#hasStreams = streams !== undefined && this.#movesIn;
    this.takenAt = arena.alloc(4);
    this.lane = new Lane({
      arena,
      aead,
      clock,
      tun,
      bind: streams ? new CarrierPort(arena, datagrams, streams) : datagrams,
      events: eventSender((event) => this.#collect(event)),
      policy,
      tells: direction === 'in' ? news : undefined,
      hears: direction === 'out' ? news : undefined,
      catchUp: direction === 'in' ? catchUp : undefined,
    });
    this.#poll = this.#pollSet();
  }

  /** Datagrams come and go by these from now on; -1: none. */
  useSockets(ipv4: number, ipv6: number): void {
    this.#datagrams.use(ipv4, ipv6);
    this.#sockets = [ipv4, ipv6];
    this.#poll = this.#pollSet();
  }

  /** While down the TUN is not read, and poll must not report what waits there. */
  setUp(up: boolean): void {
    this.#isUp = up;
    this.#poll = this.#pollSet();
  }

  /** The control thread finds out by itself and ends the device; until then poll must not spin on the descriptor. */
  tunGone(): void {
    this.#isTunGone = true;
    this.#poll = this.#pollSet();
  }

  /** Does what there is to do, and waits for it if `mayWait`. What poll does not name is left alone. */
  turn(mayWait: boolean): void {
    const poll = this.#poll;
    const isBusy = !mayWait || this.#isTunFull || this.#isBindFull;
    const hasEvents = this.#oldestEventMs !== NONE;
    const age = hasEvents ? this.#clock.now() - this.#oldestEventMs : 0;
    const patience = hasEvents ? Math.max(0, Math.trunc(ACTIVITY_INTERVAL_MS - age)) : FOR_EVER;
    const ready = isBusy ? poll.wait(0) : this.#answers(poll) || poll.wait(patience);
    if (hasEvents && ((ready === 0 && !isBusy) || age >= MAX_ACTIVITY_AGE_MS)) this.#isUrgent = true;
    if (poll.ready(WAKE) !== 0) {
      this.#takeMessages();
      // Handshakes are sent by command.
      this.lane.showBind();
      // The same descriptor says that streams have something.
      this.#isBindFull ||= this.#hasStreams;
    }
    if (poll === this.#poll) this.#move(poll);
    if (this.#isUrgent) this.#report();
  }

  /** Looks for the answer to a lone packet for a while. Returns how many descriptors are ready. */
  #answers(poll: PollSet): number {
    if (!this.#isAnswerDue || !this.#spin.isWorth()) return 0;
    let ready = 0;
    for (let look = 0; look < SPIN_LOOKS; look++) {
      ready = poll.wait(0);
      if (ready > 0) break;
      yieldProcessor();
    }
    this.#spin.note(ready > 0);
    return ready;
  }

  #move(poll: PollSet): void {
    const { waits } = this.#datagrams;
    waits.ipv4 = poll.ready(IPV4) !== 0;
    waits.ipv6 = poll.ready(IPV6) !== 0;
    this.#isAnswerDue = false;
    let moved = 0;
    if (this.#isBindFull || waits.ipv4 || waits.ipv6) {
      moved = this.lane.pumpInbound();
      // Streams wake a lane only after it has found nothing.
      this.#isBindFull = moved === this.#datagrams.batchSize || (moved > 0 && this.#hasStreams);
    }
    // The kernel answers many a packet (an echo, a segment) before the write of it returns.
    if (this.#isTunFull || moved > 0 || poll.ready(TUN) !== 0) {
      const packets = this.#outbound();
      // Of two lanes the other one would see the answer.
      this.#isAnswerDue = packets === 1 && moved === 0 && this.#isAlone;
    }
  }

  #outbound(): number {
    this.#isTunFull = false;
    if (!this.#readsTun) return 0;
    // A lone packet is not to wait for the look at whether there are more.
    const packets = this.lane.pumpOutbound(PACKETS_PER_TURN, this.#isTunCalm);
    if (packets === PORT_GONE) return 0;
    this.#isTunCalm = packets <= 1;
    this.#isTunFull = packets >= PACKETS_PER_TURN;
    return packets;
  }

  #collect(event: EventMessage): void {
    if (event[0] === 'handshake') {
      const { gauges } = this.lane;
      const raised = gauges.get(GAUGE.raisedHandshakes);
      const inFlight = (raised - Atomics.load(this.#u32, this.takenAt / 4)) >>> 0;
      if (inFlight >= MAX_HANDSHAKES_IN_FLIGHT) {
        this.lane.countDrop(DROP.handshake_queue_full);
        return;
      }
      gauges.set(GAUGE.raisedHandshakes, raised + 1);
    }
    if (this.#events.push(event) === 1) this.#oldestEventMs = this.#clock.now();
    if (event[0] !== 'activity' || (event[2] & URGENT_ACTIVITY) !== 0) this.#isUrgent = true;
  }

  #report(): void {
    this.#isUrgent = false;
    this.#oldestEventMs = NONE;
    const events = this.#events;
    this.#events = [];
    this.#post(events);
    // Not with every packet: these figures are for people.
    this.lane.showBind();
  }

  get #readsTun(): boolean {
    return this.#isUp && !this.#isTunGone && this.#movesOut;
  }

  #pollSet(): PollSet {
    const tun = this.#readsTun ? this.#tunFd : -1;
    const sockets = this.#movesIn ? this.#sockets : [-1, -1];
    const fds = [this.#wakeFd, tun, ...sockets];
    return new PollSet(fds.map((fd) => ({ fd, events: POLLIN })));
  }
}
