/**
 * A thread that runs both lanes and blocks in poll(2): no event loop, no promise, nothing but packets. Commands come by
 * message port and an eventfd, events go by message port; counters lie in the shared arena.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Arena } from '../../core/arena.ts';
import { systemClock } from '../../core/clock.ts';
import { SystemError } from '../../core/errors.ts';
import { createTransportAead } from '../../noise/aead-choose.ts';
import { fdWatcher } from '../../sys/readiness.ts';
import { EventFd, POLLIN, PollSet } from '../../sys/poll.ts';
import { threadId } from '../../sys/thread.ts';
import { openPacketPort } from '../../tun/linux.ts';
import { PORT_GONE } from '../../tun/tun.ts';
import { wasmChecksums } from '../../wasm/checksums.ts';
import { LinuxDatagrams } from '../linux-datagrams.ts';
import { CarrierPort, StreamPort } from '../stream-port.ts';
import { Lane } from './lane.ts';
import { type WarmUpOptions, warmUp } from './warm-up.ts';
import { type EventMessage, applyCommand, eventSender, wipeKeys } from './link.ts';
import { ACTIVITY } from './control.ts';
import { DROP } from './drops.ts';
import {
  MAX_HANDSHAKES_IN_FLIGHT,
  type FromWorker,
  type ToWorker,
  type WorkerSetup,
} from './worker-protocol.ts';

/** Packets and batches moved before the other direction gets its turn. */
const PACKETS_PER_TURN = 256;
/** A full socket may hold the lane up this long; then the datagram is lost, as on any full queue. */
const MAX_SEND_WAIT_MS = 10;
/**
 * Activity moves timers of seconds: it is reported this much later, so that a packet does not wake the control
 * thread, which would compete with it for the processor.
 */
const ACTIVITY_INTERVAL_MS = 50;
const URGENT_ACTIVITY: number = ACTIVITY.needsSession | ACTIVITY.rekeyOnSend | ACTIVITY.rekeyOnReceive;

/** Entries of the poll set. */
const WAKE = 0;
const TUN = 1;
const IPV4 = 2;
const IPV6 = 3;

class LaneWorker {
  readonly #port: MessagePort;
  readonly #setup: WorkerSetup;
  readonly #wake: EventFd;
  readonly #datagrams: LinuxDatagrams;
  readonly #lane: Lane;
  #sockets: readonly [number, number] = [-1, -1];
  #poll: PollSet;
  #events: EventMessage[] = [];
  readonly #u32: Uint32Array;
  /** Arena offset at which the control thread counts the handshake messages that it has taken; we count the raised ones. */
  readonly #takenAt: number;
  #raisedHandshakes = 0;
  /** Something in `#events` should not wait. */
  #isUrgent = false;
  /** When the oldest event in `#events` came. */
  #waitingSinceMs = 0;
  readonly #hasStreams: boolean;
  #isUp = false;
  #isTunGone = false;

  constructor(port: MessagePort, setup: WorkerSetup) {
    this.#port = port;
    this.#setup = setup;
    this.#wake = new EventFd(setup.wakeFd);
    const arena = new Arena(setup.memory);
    this.#u32 = arena.u32;
    this.#takenAt = arena.alloc(4);
    const datagrams = { gso: setup.gso, gro: setup.gro, maxWaitMs: MAX_SEND_WAIT_MS };
    this.#datagrams = new LinuxDatagrams(arena, datagrams);
    const streams = this.#createStreams(arena);
    this.#hasStreams = streams !== undefined;
    const { aead, report } = createTransportAead(arena, {
      wanted: setup.aead,
      clock: systemClock,
      longestText: setup.longestText,
    });
    tryWarmUp({ tunFormat: setup.tunFormat, aead: report, datagrams });
    this.#lane = new Lane({
      arena,
      aead,
      clock: systemClock,
      tun: openPacketPort(setup.tunFd, setup.tunFormat, arena, wasmChecksums(arena), fdWatcher, () =>
        this.#tunGone(),
      ),
      bind: streams ? new CarrierPort(arena, this.#datagrams, streams) : this.#datagrams,
      events: eventSender((event) => this.#collect(event)),
      policy: setup.policy,
    });
    this.#poll = this.#pollSet();
    this.#post({
      kind: 'ready',
      drops: this.#lane.dropCountersAt,
      taken: this.#takenAt,
      rings: streams?.ringsAt,
      aead: aead.name,
      thread: threadId(),
    });
  }

  #createStreams(arena: Arena): StreamPort | undefined {
    const { streamsFd } = this.#setup;
    if (streamsFd === undefined) return undefined;
    const wake = new EventFd(streamsFd);
    return new StreamPort({
      arena,
      sendErrors: this.#datagrams.sendErrors,
      wakeStreams: () => wake.raise(),
    });
  }

  /** Until `stop`. What poll does not name is left alone: on an idle machine each call into the kernel delays a packet. */
  run(): void {
    // A direction that was stopped in the middle goes on without being named.
    let isTunFull = false;
    let isBindFull = false;
    for (;;) {
      const poll = this.#poll;
      poll.wait(this.#patienceMs(isTunFull || isBindFull));
      if (poll.ready(WAKE) !== 0 && this.#wake.clear()) {
        if (!this.#takeMessages()) return;
        // The same descriptor says that streams have something.
        isBindFull ||= this.#hasStreams;
      }
      if (poll !== this.#poll) continue;
      if (isTunFull || poll.ready(TUN) !== 0) isTunFull = this.#outbound() >= PACKETS_PER_TURN;
      const { waits } = this.#datagrams;
      waits.ipv4 = poll.ready(IPV4) !== 0;
      waits.ipv6 = poll.ready(IPV6) !== 0;
      if (isBindFull || waits.ipv4 || waits.ipv6) {
        const moved = this.#inbound();
        // Streams wake a lane only after it has found nothing.
        isBindFull = moved === this.#datagrams.batchSize || (moved > 0 && this.#hasStreams);
      }
      this.#report();
    }
  }

  /** What a thread that dies would leave open: its descriptors are those of the process. */
  close(): void {
    this.#datagrams.use(-1, -1);
  }

  #patienceMs(isBusy: boolean): number {
    if (isBusy) return 0;
    return this.#events.length === 0 ? -1 : ACTIVITY_INTERVAL_MS;
  }

  /** The control thread finds out by itself and ends the device; until then poll must not spin on the descriptor. */
  #tunGone(): void {
    this.#isTunGone = true;
    this.#poll = this.#pollSet();
  }

  /** While down the TUN is not read, and poll must not report what waits there. */
  #setUp(up: boolean): void {
    this.#isUp = up;
    this.#poll = this.#pollSet();
  }

  #outbound(): number {
    if (this.#isTunGone) return 0;
    const moved = this.#lane.pumpOutbound(PACKETS_PER_TURN);
    return moved === PORT_GONE ? 0 : moved;
  }

  #inbound(): number {
    return this.#lane.pumpInbound();
  }

  #collect(event: EventMessage): void {
    if (event[0] === 'handshake') {
      const inFlight = (this.#raisedHandshakes - Atomics.load(this.#u32, this.#takenAt / 4)) >>> 0;
      if (inFlight >= MAX_HANDSHAKES_IN_FLIGHT) {
        this.#lane.countDrop(DROP.handshake_queue_full);
        return;
      }
      this.#raisedHandshakes = (this.#raisedHandshakes + 1) >>> 0;
    }
    if (this.#events.push(event) === 1) this.#waitingSinceMs = systemClock.now();
    if (event[0] !== 'activity' || (event[2] & URGENT_ACTIVITY) !== 0) this.#isUrgent = true;
  }

  #report(): void {
    if (this.#events.length === 0) return;
    if (!this.#isUrgent && systemClock.now() - this.#waitingSinceMs < ACTIVITY_INTERVAL_MS) return;
    this.#isUrgent = false;
    this.#post({ kind: 'events', events: this.#events });
    this.#events = [];
  }

  /** Returns false when it is time to stop. */
  #takeMessages(): boolean {
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: ToWorker } | undefined;
      if (!received) return true;
      const { message } = received;
      switch (message.kind) {
        case 'stop':
          return false;
        case 'sockets':
          this.#datagrams.use(message.ipv4, message.ipv6);
          this.#sockets = [message.ipv4, message.ipv6];
          this.#poll = this.#pollSet();
          this.#post({ kind: 'sockets' });
          break;
        case 'commands':
          for (const command of message.commands) {
            applyCommand(this.#lane, command);
            if (command[0] === 'addKeypair') wipeKeys(command[1]);
            if (command[0] === 'setUp') this.#setUp(command[1]);
            if (command[0] === 'addPeer') {
              this.#post({ kind: 'record', peer: command[1], at: this.#lane.recordOf(command[1]) });
            }
          }
          break;
        default:
          message satisfies never;
      }
    }
  }

  #pollSet(): PollSet {
    const tun = this.#isUp && !this.#isTunGone ? this.#setup.tunFd : -1;
    return new PollSet([this.#setup.wakeFd, tun, ...this.#sockets].map((fd) => ({ fd, events: POLLIN })));
  }

  #post(message: FromWorker): void {
    this.#port.postMessage(message);
  }
}

/** Without sockets, descriptors or memory to spare the lane starts cold, that is all. */
function tryWarmUp(options: WarmUpOptions): void {
  try {
    warmUp(options);
  } catch (error) {
    if (!(error instanceof SystemError || error instanceof RangeError)) throw error;
  }
}

if (parentPort) {
  const worker = new LaneWorker(parentPort, workerData as WorkerSetup);
  try {
    worker.run();
  } finally {
    worker.close();
  }
}
