/**
 * Messages of link.ts as bytes of a ring: a u32 that numbers the method, then its arguments, each a multiple of 8 bytes.
 * Session keys are nowhere but in the record, which whoever reads it wipes, and in what was read from it.
 */
import { RECORD_HEAD, type RecordRing } from '../../core/ring.ts';
import type { LaneKeypairInit } from './control.ts';
import type { Form, Forms, MessageOf } from './link.ts';

/** Where a method's number lies in a record, and its first argument. */
const METHOD = RECORD_HEAD;
const ARGUMENTS = 8;

/** The memory of a ring, as everything that a message needs. */
export class MessageMemory {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly view: DataView;

  constructor(memory: SharedArrayBuffer) {
    this.u8 = new Uint8Array(memory);
    this.u32 = new Uint32Array(memory);
    this.view = new DataView(memory);
  }
}

/** Writes and reads one after the other, from `at` on. */
class Cursor {
  readonly #memory: MessageMemory;
  at = 0;

  constructor(memory: MessageMemory) {
    this.#memory = memory;
  }

  writeNumber(value: number): void {
    this.#memory.view.setFloat64(this.at, value, true);
    this.at += 8;
  }

  readNumber(): number {
    this.at += 8;
    return this.#memory.view.getFloat64(this.at - 8, true);
  }

  writeBytes(value: Uint8Array): void {
    this.writeNumber(value.length);
    this.#memory.u8.set(value, this.at);
    this.at += padded(value.length);
  }

  /** A copy. */
  readBytes(): Uint8Array {
    const length = this.readNumber();
    this.at += padded(length);
    const start = this.at - padded(length);
    return this.#memory.u8.slice(start, start + length);
  }
}

interface Codec<Value> {
  size(value: Value): number;
  write(cursor: Cursor, value: Value): void;
  read(cursor: Cursor): Value;
}

const number: Codec<number> = {
  size: () => 8,
  write: (cursor, value) => cursor.writeNumber(value),
  read: (cursor) => cursor.readNumber(),
};

const flag: Codec<boolean> = {
  size: () => 8,
  write: (cursor, value) => cursor.writeNumber(value ? 1 : 0),
  read: (cursor) => cursor.readNumber() === 1,
};

const bytes: Codec<Uint8Array> = {
  size: ({ length }) => 8 + padded(length),
  write: (cursor, value) => cursor.writeBytes(value),
  read: (cursor) => cursor.readBytes(),
};

const keypair: Codec<LaneKeypairInit> = {
  size: ({ sendKey, receiveKey }) => 5 * 8 + bytes.size(sendKey) + bytes.size(receiveKey),
  write: (cursor, { peer, index, remoteIndex, createdAtMs, isInitiator, sendKey, receiveKey }) => {
    for (const value of [peer, index, remoteIndex, createdAtMs]) cursor.writeNumber(value);
    flag.write(cursor, isInitiator);
    cursor.writeBytes(sendKey);
    cursor.writeBytes(receiveKey);
  },
  // Members are evaluated in this order.
  read: (cursor) => ({
    peer: cursor.readNumber(),
    index: cursor.readNumber(),
    remoteIndex: cursor.readNumber(),
    createdAtMs: cursor.readNumber(),
    isInitiator: flag.read(cursor),
    sendKey: cursor.readBytes(),
    receiveKey: cursor.readBytes(),
  }),
};

/** For what is rare. */
const json: Codec<object> = {
  size: (value) => bytes.size(jsonBytes(value)),
  write: (cursor, value) => cursor.writeBytes(jsonBytes(value)),
  read: (cursor) => JSON.parse(new TextDecoder().decode(cursor.readBytes())) as object,
};

const CODECS: { readonly [Name in Form]: Codec<unknown> } = { number, flag, bytes, keypair, json };

function jsonBytes(value: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function padded(length: number): number {
  return (length + 7) & -8;
}

/** No handshake message comes near it, and it fits into every ring. */
const MAX_SIZE = 4_096;

type AnyMessage = readonly [name: string, ...args: unknown[]];

type Method = readonly [name: string, codecs: readonly Codec<unknown>[]];

/** At its number each method. */
function methodsOf<Methods>(forms: Forms<Methods>): Method[] {
  return Object.entries(forms as Readonly<Record<string, readonly Form[]>>).map(([name, args]) => [
    name,
    args.map((form) => CODECS[form]),
  ]);
}

/** The end of a ring that messages go into. */
export class MessageWriter<Methods> {
  readonly #ring: RecordRing;
  readonly #memory: MessageMemory;
  readonly #cursor: Cursor;
  readonly #methods: ReadonlyMap<
    string,
    { readonly number: number; readonly codecs: readonly Codec<unknown>[] }
  >;

  constructor(ring: RecordRing, memory: MessageMemory, forms: Forms<Methods>) {
    this.#ring = ring;
    this.#memory = memory;
    this.#cursor = new Cursor(memory);
    this.#methods = new Map(
      methodsOf(forms).map(([name, codecs], number) => [name, { number, codecs }] as const),
    );
  }

  /** False: there is no room. The reader sees it after `publish` of the ring. */
  put(message: MessageOf<Methods>): boolean {
    const [name, ...args] = message as unknown as AnyMessage;
    const method = this.#methods.get(name);
    if (!method) throw new RangeError(`no message: ${name}`);
    const { number, codecs } = method;
    const size = codecs.reduce((sum, codec, i) => sum + codec.size(args[i]), ARGUMENTS);
    if (size > MAX_SIZE) throw new RangeError(`a ${name} of ${size} bytes`);
    const record = this.#ring.claim(size, 0);
    if (record === 0) return false;
    this.#memory.u32[(record + METHOD) >> 2] = number;
    this.#cursor.at = record + ARGUMENTS;
    for (const [i, codec] of codecs.entries()) codec.write(this.#cursor, args[i]);
    return true;
  }
}

/** The end of a ring that messages come out of. */
export class MessageReader<Methods> {
  readonly #ring: RecordRing;
  readonly #memory: MessageMemory;
  readonly #cursor: Cursor;
  readonly #methods: readonly Method[];

  constructor(ring: RecordRing, memory: MessageMemory, forms: Forms<Methods>) {
    this.#ring = ring;
    this.#memory = memory;
    this.#cursor = new Cursor(memory);
    this.#methods = methodsOf(forms);
  }

  /** The next message, which there must be, wiped from the ring. Its room is given back by `release` of the ring. */
  next(): MessageOf<Methods> {
    const record = this.#ring.next();
    const { u8, u32 } = this.#memory;
    const [name, codecs] = this.#methods[u32[(record + METHOD) >> 2] as number] as Method;
    const cursor = this.#cursor;
    cursor.at = record + ARGUMENTS;
    const args = codecs.map((codec) => codec.read(cursor));
    u8.fill(0, record + ARGUMENTS, cursor.at);
    return [name, ...args] as unknown as MessageOf<Methods>;
  }
}
