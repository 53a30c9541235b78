/** One stream of a relay: opened, lost, opened again. */
import type { Clock } from '../core/clock.ts';
import type { Random } from '../core/random.ts';
import type { Deadline, Deadlines } from '../tunnel/deadlines.ts';
import { Backoff } from './backoff.ts';
import { FrameParser } from './grpc-frame.ts';
import { STATUS, type Status, statusEquals } from './grpc-status.ts';
import { isWireGuard, PacketQueue, type QueuedDatagram } from './packet-queue.ts';
import { MAX_PEER_PACKET_SIZE, readPeerPacket, type Slice } from './peer-packet.ts';
import type { RelayCounters } from './relay.ts';
import type { DatagramSink } from './stream-table.ts';
import { type StreamPools, type StreamSender, StreamWriter } from './stream-writer.ts';
import { PEER_NOT_ALLOWED, PEER_REPLACED } from './tunnel-stream.ts';

/** Opens streams to the gateway. */
export interface StreamDialer {
  /** Begins to open a stream; `events` are called later, never inside this call. */
  open(request: StreamRequest, events: StreamEvents): DialedStream;
}

export interface StreamRequest {
  /** Metadata of ours; undefined: behave as a stock client. */
  readonly lane: number | undefined;
}

export interface DialedStream extends StreamSender {
  /** Asks the gateway for a sign of life; `alive` follows when there is one. */
  ping(): void;
  /** Gives it up; no event follows. */
  close(): void;
}

export interface StreamEvents {
  /** The request is on its way: datagrams may be written. */
  connected(): void;
  /** The gateway answered; it lets a client open this many streams (1 for stock ones). */
  accepted(lanes: number): void;
  received(chunk: Uint8Array): void;
  /** The oldest chunk written has left. */
  written(): void;
  alive(): void;
  /** The stream has ended, or could not be opened. */
  closed(status: Status): void;
}

export interface RelayContext {
  readonly dialer: StreamDialer;
  readonly sink: DatagramSink;
  readonly clock: Clock;
  readonly random: Random;
  readonly deadlines: Deadlines;
  readonly pools: StreamPools;
  readonly counters: RelayCounters;
  readonly endpoint: Uint8Array;
  /** A further stream may be opened: the first one is, and its gateway knows what to do with more. */
  readonly mayOpen: (lane: number) => boolean;
  readonly offered: () => void;
  readonly broken: (status: Status) => void;
  readonly ended: (status: Status) => void;
}

/** Name lookup, TCP, proxy and TLS together. */
const OPEN_TIMEOUT = 15_000;
/** A gateway that restarts sees its clients back within this time, evenly spread. */
const REOPEN_WITHIN = 1_000;
const MAX_REOPEN_DELAY = 10_000;
/** A stream that lived this long was a good one: the next attempt is a first one. */
const GOOD_AFTER = 10_000;
/** The gateway's keepalives come every 25 s. */
const PING_AFTER = 60_000;
const PING_TIMEOUT = 15_000;
/** After a change of the network, which usually ends connections without a word. */
const SUSPECT_TIMEOUT = 4_000;

const TERMINAL: readonly Status[] = [PEER_NOT_ALLOWED, PEER_REPLACED];

export class RelayLane {
  readonly #index: number;
  readonly #context: RelayContext;
  readonly #request: StreamRequest;
  readonly #writer: StreamWriter;
  /** Datagrams that the device had no room for. */
  readonly #inbound: PacketQueue;
  readonly #backoff: Backoff;
  /** Opening takes too long; or time to open again. */
  readonly #reopen: Deadline;
  readonly #silence: Deadline;
  readonly #slice: Slice = { at: 0, length: 0 };
  readonly #next: QueuedDatagram = { bytes: new Uint8Array(0), at: 0, length: 0 };
  #stream: DialedStream | undefined;
  #isOpen = false;
  /** How many streams the gateway at the other end of this one lets us open; 0 while it has not said. */
  #offered = 0;
  #openedAt = 0;
  #lastReceivedAt = 0;
  #isPinged = false;
  /** The device has no room, so nothing is read. */
  #isPaused = false;
  #isClosed = false;

  /** `asksForMore`: tell the gateway that we know more than one stream. */
  constructor(index: number, asksForMore: boolean, context: RelayContext) {
    this.#index = index;
    this.#context = context;
    this.#request = { lane: asksForMore ? index : undefined };
    this.#writer = new StreamWriter(context.pools);
    this.#inbound = new PacketQueue(context.pools.blocks);
    this.#backoff = new Backoff({ firstMs: REOPEN_WITHIN, maxMs: MAX_REOPEN_DELAY }, context.random);
    this.#reopen = context.deadlines.create(`relay ${index} reopen`, () => this.#due());
    this.#silence = context.deadlines.create(`relay ${index} silence`, (now) => this.#silent(now));
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get offered(): number {
    return this.#offered;
  }

  /** Does nothing while it is open or must not be. */
  open(): void {
    if (this.#isClosed || this.#stream || !this.#context.mayOpen(this.#index)) return;
    this.#reopen.arm(this.#context.clock.now() + OPEN_TIMEOUT);
    const stream = this.#context.dialer.open(this.#request, {
      connected: () => this.#is(stream) && this.#connected(stream),
      accepted: (lanes) => this.#is(stream) && this.#accepted(lanes),
      received: (chunk) => this.#is(stream) && this.#received(parser, chunk),
      written: () => this.#is(stream) && this.#writer.written(),
      alive: () => this.#is(stream) && this.#alive(),
      closed: (status) => this.#is(stream) && this.#lost(status),
    });
    const parser = new FrameParser(MAX_PEER_PACKET_SIZE, (bytes, at, length) =>
      this.#message(bytes, at, length),
    );
    this.#stream = stream;
  }

  send(bytes: Uint8Array, at: number, length: number): boolean {
    return this.#writer.send(bytes, at, length);
  }

  flush(): void {
    this.#writer.flush();
  }

  /** An open stream has to give a sign of life soon; another attempt to open one need not wait for its turn. */
  networkChanged(): void {
    const now = this.#context.clock.now();
    if (!this.#stream && !this.#isClosed) {
      this.#backoff.reset();
      this.#reopen.arm(now + this.#backoff.next());
    }
    if (!this.#isOpen || this.#isPinged) return;
    this.#isPinged = true;
    this.#lastReceivedAt = -Infinity;
    this.#silence.arm(now + SUSPECT_TIMEOUT);
    this.#stream?.ping();
  }

  /** Delivers what waits, until the sink is full again. */
  pull(): void {
    const next = this.#next;
    while (this.#inbound.peek(next)) {
      if (!this.#context.sink.deliver(this.#context.endpoint, next.bytes, next.at, next.length)) return;
      this.#inbound.drop();
    }
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#stream?.setPaused(false);
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
    this.#reopen.remove();
    this.#silence.remove();
    this.#writer.queue.clear();
    this.#inbound.clear();
  }

  #is(stream: DialedStream): boolean {
    return this.#stream === stream;
  }

  #connected(stream: DialedStream): void {
    const now = this.#context.clock.now();
    this.#reopen.cancel();
    this.#isOpen = true;
    this.#openedAt = now;
    this.#context.counters.opened++;
    this.#alive();
    this.#writer.attach(stream);
  }

  #accepted(lanes: number): void {
    this.#offered = lanes;
    this.#alive();
    this.#context.offered();
  }

  #alive(): void {
    this.#lastReceivedAt = this.#context.clock.now();
    this.#isPinged = false;
    this.#silence.arm(this.#lastReceivedAt + PING_AFTER);
  }

  #received(parser: FrameParser, chunk: Uint8Array): void {
    this.#lastReceivedAt = this.#context.clock.now();
    this.#isPinged = false;
    if (parser.push(chunk) === undefined) return;
    this.#lost({ code: STATUS.INTERNAL, message: 'the gateway sent a broken message' });
  }

  #message(bytes: Uint8Array, at: number, length: number): void {
    const slice = this.#slice;
    const { counters, sink, endpoint } = this.#context;
    if (!readPeerPacket(bytes, at, length, slice) || !isWireGuard(bytes, slice.at, slice.length)) {
      counters.notWireguard++;
      return;
    }
    counters.rxDatagrams++;
    counters.rxBytes += slice.length;
    if (this.#inbound.isEmpty && sink.deliver(endpoint, bytes, slice.at, slice.length)) return;
    if (this.#inbound.push(bytes, slice.at, slice.length)) counters.inboundFull++;
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#stream?.setPaused(true);
  }

  /** Checked when the time has come, so that a packet costs no timer. */
  #silent(now: number): void {
    const since = now - this.#lastReceivedAt;
    if (since < PING_AFTER) {
      this.#silence.arm(this.#lastReceivedAt + PING_AFTER);
    } else if (!this.#isPinged) {
      this.#isPinged = true;
      this.#silence.arm(now + PING_TIMEOUT);
      this.#stream?.ping();
    } else {
      this.#lost({ code: STATUS.UNAVAILABLE, message: 'the gateway does not answer' });
    }
  }

  #due(): void {
    if (this.#stream) this.#lost({ code: STATUS.UNAVAILABLE, message: 'opening the stream takes too long' });
    else this.open();
  }

  #lost(status: Status): void {
    const { clock, counters, broken, ended } = this.#context;
    const now = clock.now();
    counters.broken++;
    if (this.#isOpen && now - this.#openedAt >= GOOD_AFTER) this.#backoff.reset();
    this.#drop();
    broken(status);
    if (TERMINAL.some((terminal) => statusEquals(terminal, status))) ended(status);
    else this.#reopen.arm(now + this.#backoff.next());
  }

  #drop(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#isOpen = false;
    this.#offered = 0;
    this.#isPaused = false;
    this.#silence.cancel();
    this.#writer.detach();
    stream?.close();
  }
}
