/**
 * An array of struct mmsghdr in an arena for sendmmsg and recvmmsg, with one iovec, one name and one control buffer
 * per message. It is laid out once; per call only lengths and buffer pointers change.
 */
import type { Arena } from '../core/arena.ts';
import { arenaAddress, isInside } from './memory.ts';
import { IOVEC, MMSGHDR, SOCKADDR_IN6, writeU64 } from './structs.ts';

/** Room for a sockaddr_in6, rounded so that names stay aligned. */
const NAME_STRIDE = 32;

const HEADER_WORDS = MMSGHDR.size / 4;
const IOVEC_WORDS = IOVEC.size / 4;

export class MessageTable {
  readonly count: number;
  readonly #u32: Uint32Array;
  readonly #arenaBase: number;
  readonly #arenaSize: number;
  readonly #controlStride: number;
  readonly #headers: number;
  readonly #iovecs: number;
  readonly #names: number;
  readonly #controls: number;

  /** `controlSize`: bytes of control messages per message, a multiple of 8. */
  constructor(arena: Arena, count: number, controlSize: number) {
    this.count = count;
    this.#u32 = arena.u32;
    this.#arenaBase = arenaAddress(arena);
    this.#arenaSize = arena.u8.length;
    this.#controlStride = controlSize;
    this.#headers = arena.alloc(count * MMSGHDR.size);
    this.#iovecs = arena.alloc(count * IOVEC.size);
    this.#names = arena.alloc(count * NAME_STRIDE);
    this.#controls = arena.alloc(count * controlSize);
    for (let i = 0; i < count; i++) {
      const header = this.#headers + i * MMSGHDR.size;
      writeU64(arena.view, header + MMSGHDR.name, this.#arenaBase + this.name(i));
      writeU64(arena.view, header + MMSGHDR.iov, this.#arenaBase + this.#iovecs + i * IOVEC.size);
      writeU64(arena.view, header + MMSGHDR.iovLength, 1);
      this.setControl(i, 0, controlSize);
      this.setNameLength(i, SOCKADDR_IN6.size);
    }
  }

  /** Bytes of arena that a table takes, alignment included. */
  static arenaBytes(count: number, controlSize: number): number {
    return count * (MMSGHDR.size + IOVEC.size + NAME_STRIDE + controlSize) + 4 * 64;
  }

  /** Address of the header of message `i`, for the system call. */
  address(i: number): number {
    return this.#arenaBase + this.#headers + i * MMSGHDR.size;
  }

  /** Arena offset of the socket address of message `i`. */
  name(i: number): number {
    return this.#names + i * NAME_STRIDE;
  }

  /** Arena offset of the control buffer of message `i`. */
  control(i: number): number {
    return this.#controls + i * this.#controlStride;
  }

  /** False, and nothing written, when the bytes do not lie in the arena. */
  setBuffer(i: number, at: number, length: number): boolean {
    if (!isInside(this.#arenaSize, at, length)) return false;
    const word = this.#iovecs / 4 + i * IOVEC_WORDS;
    const address = this.#arenaBase + at;
    this.#u32[word] = address;
    this.#u32[word + 1] = address / 2 ** 32;
    this.#u32[word + 2] = length;
    return true;
  }

  setNameLength(i: number, length: number): void {
    this.#u32[this.#word(i) + MMSGHDR.nameLength / 4] = length;
  }

  /** The part of the control buffer to use: `skip` bytes into it, `length` bytes long; none of it when that is too long. */
  setControl(i: number, skip: number, wanted: number): void {
    const length = isInside(this.#controlStride, skip, wanted) ? wanted : 0;
    const word = this.#word(i);
    const address = this.#arenaBase + this.control(i) + skip;
    this.#u32[word + MMSGHDR.control / 4] = address;
    this.#u32[word + MMSGHDR.control / 4 + 1] = address / 2 ** 32;
    this.#u32[word + MMSGHDR.controlLength / 4] = length;
  }

  /** Gives a message back to recvmmsg, which overwrites these lengths on every call. */
  resetForReceive(i: number): void {
    const word = this.#word(i);
    this.#u32[word + MMSGHDR.nameLength / 4] = SOCKADDR_IN6.size;
    this.#u32[word + MMSGHDR.controlLength / 4] = this.#controlStride;
  }

  /** Bytes received. */
  received(i: number): number {
    return this.#u32[this.#word(i) + MMSGHDR.length / 4] as number;
  }

  /** MSG_TRUNC, MSG_CTRUNC. */
  flags(i: number): number {
    return this.#u32[this.#word(i) + MMSGHDR.flags / 4] as number;
  }

  /** Bytes of control messages received. */
  controlLength(i: number): number {
    return this.#u32[this.#word(i) + MMSGHDR.controlLength / 4] as number;
  }

  #word(i: number): number {
    return this.#headers / 4 + i * HEADER_WORDS;
  }
}
