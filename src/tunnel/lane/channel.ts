/**
 * What control thread and lane thread share besides the arena: a ring of commands, a ring of events, and the word that
 * ends the thread. Each side has an eventfd that the other one raises: after it has put something in, and after it has made
 * room that was asked for.
 *
 * A message that finds no room waits with its sender, in order.
 */
import { RecordRing, ringSize } from '../../core/ring.ts';
import type { Forms, MessageOf } from './link.ts';
import { MessageMemory, MessageReader, MessageWriter } from './message-codec.ts';

/** Of either ring, in bytes: 8,192 of the smallest messages, 2,048 peers with an endpoint and an allowed IP each. */
const CAPACITY: number = 1 << 19;
const COMMANDS_AT = 64;
const EVENTS_AT: number = COMMANDS_AT + ringSize(CAPACITY);
const SIZE: number = EVENTS_AT + ringSize(CAPACITY);

/** Both sides make one of their own over the same memory. */
export class LaneChannel {
  readonly memory: SharedArrayBuffer;
  readonly commands: RecordRing;
  readonly events: RecordRing;
  readonly messages: MessageMemory;
  readonly #stop: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(SIZE)) {
    this.memory = memory;
    this.messages = new MessageMemory(memory);
    this.commands = new RecordRing(this.messages.u32, COMMANDS_AT, CAPACITY);
    this.events = new RecordRing(this.messages.u32, EVENTS_AT, CAPACITY);
    this.#stop = new Int32Array(memory, 0, 1);
  }

  /** The thread ends when it has taken the commands before. */
  stop(): void {
    Atomics.store(this.#stop, 0, 1);
  }

  get isStopped(): boolean {
    return Atomics.load(this.#stop, 0) === 1;
  }

  /** Session keys may be in it that nobody has taken. Nobody uses it any more. */
  wipe(): void {
    this.messages.u8.fill(0);
  }
}

export interface OutboxOptions<Methods> {
  readonly ring: RecordRing;
  readonly messages: MessageMemory;
  readonly forms: Forms<Methods>;
  /** A copy of what the sender may change: what waits outlives the call that it came with. */
  readonly keep?: (message: MessageOf<Methods>) => MessageOf<Methods>;
  /** What was kept is in the ring now. */
  readonly forget?: (kept: MessageOf<Methods>) => void;
  /** Called before the other side sees what was put in. False: not yet, and `flush` must follow. */
  readonly mayPublish?: () => boolean;
  /** Raises the other side's eventfd. */
  readonly wake: () => void;
}

/** Messages on their way into a ring. */
export class Outbox<Methods> {
  readonly #options: OutboxOptions<Methods>;
  readonly #writer: MessageWriter<Methods>;
  #waiting: MessageOf<Methods>[] = [];
  #hasNews = false;

  constructor(options: OutboxOptions<Methods>) {
    this.#options = options;
    this.#writer = new MessageWriter(options.ring, options.messages, options.forms);
  }

  /** The other side sees it after `flush`. */
  post(message: MessageOf<Methods>): void {
    if (this.#waiting.length === 0 && this.#writer.put(message)) this.#hasNews = true;
    else this.#waiting.push(this.#options.keep?.(message) ?? message);
  }

  /** Shows the other side what there is. False: something waits still, and the other side tells when there is room. */
  flush(): boolean {
    const { ring, mayPublish } = this.#options;
    for (;;) {
      if (mayPublish?.() === false) return false;
      this.#publish();
      if (this.#waiting.length === 0) return true;
      if (this.#refill()) continue;
      // It may have come since.
      ring.wantRoom();
      if (!this.#refill()) return false;
    }
  }

  /** Forgets what waits. */
  clear(): void {
    for (const message of this.#waiting) this.#options.forget?.(message);
    this.#waiting = [];
  }

  #publish(): void {
    if (!this.#hasNews) return;
    this.#hasNews = false;
    this.#options.ring.publish();
    this.#options.wake();
  }

  /** Whether any of those that wait went in. */
  #refill(): boolean {
    let count = 0;
    while (count < this.#waiting.length) {
      const message = this.#waiting[count] as MessageOf<Methods>;
      if (!this.#writer.put(message)) break;
      this.#options.forget?.(message);
      count++;
    }
    this.#waiting.splice(0, count);
    this.#hasNews ||= count > 0;
    return count > 0;
  }
}

export interface InboxOptions<Methods> {
  readonly ring: RecordRing;
  readonly messages: MessageMemory;
  readonly forms: Forms<Methods>;
  /** False: what comes after it is for a later `takeAll`. */
  readonly take: (message: MessageOf<Methods>) => boolean;
  /** Raises the other side's eventfd. */
  readonly wake: () => void;
}

/** Messages on their way out of a ring. */
export class Inbox<Methods> {
  readonly #options: InboxOptions<Methods>;
  readonly #reader: MessageReader<Methods>;

  constructor(options: InboxOptions<Methods>) {
    this.#options = options;
    this.#reader = new MessageReader(options.ring, options.messages, options.forms);
  }

  /** Whether there is something to take. */
  get isWaiting(): boolean {
    const { ring } = this.#options;
    return ring.position !== ring.head;
  }

  /** Takes what there is now; of what comes meanwhile the other side tells. False: `take` has left some. */
  takeAll(): boolean {
    const { ring, take, wake } = this.#options;
    const end = ring.head;
    let goesOn = true;
    while (goesOn && ring.position !== end) goesOn = take(this.#reader.next());
    ring.release();
    if (ring.mustTellRoom()) wake();
    return ring.position === end;
  }
}
