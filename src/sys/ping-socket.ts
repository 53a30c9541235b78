/** A raw ICMP socket that measures the round trip to one IPv4 address, as ping(8) does. Blocks the calling thread. */
import type { Clock } from '../core/clock.ts';
import { formatAddress, type Address } from '../core/ip.ts';
import { ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EPERM, systemError } from './errno.ts';
import { libc } from './libc.ts';
import { Block } from './memory.ts';
import { POLLIN, PollSet } from './poll.ts';
import { AF_INET, writeSocketAddress } from './structs.ts';

const SOCK_RAW = 3;
const SOCK_NONBLOCK_CLOEXEC = 0o2004000;
const IPPROTO_ICMP = 1;

/** RFC 792: echo and echo reply. */
const ICMP = { type: 0, code: 1, checksum: 2, identifier: 4, sequence: 6, headerSize: 8 } as const;
const ECHO = 8;
const ECHO_REPLY = 0;
/** 64 bytes with the header, as ping(8) sends. */
const PAYLOAD_BYTES = 56;
const MESSAGE_BYTES: number = ICMP.headerSize + PAYLOAD_BYTES;
/** A raw socket delivers the IPv4 header as well, of up to 60 bytes. */
const RECEIVE_BYTES = 2048;

export class PingSocket {
  readonly #fd: number;
  readonly #clock: Clock;
  readonly #poll: PollSet;
  readonly #send: Block = new Block(MESSAGE_BYTES);
  readonly #receive: Block = new Block(RECEIVE_BYTES);
  /** Tells our answers from those of other programs in the namespace. */
  readonly #identifier: number = process.pid & 0xffff;
  #sequence = 0;

  /** In the namespace of the calling thread. Throws SystemError: EPERM without CAP_NET_RAW. */
  constructor(to: Address, clock: Clock) {
    this.#clock = clock;
    this.#fd = libc().socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK_CLOEXEC, IPPROTO_ICMP);
    if (this.#fd < 0) {
      const errno = libc().errno();
      throw systemError('open ICMP socket', errno, errno === EPERM ? 'it needs CAP_NET_RAW' : undefined);
    }
    this.#poll = new PollSet([{ fd: this.#fd, events: POLLIN }]);
    const address = new Block(32);
    if (libc().connect(this.#fd, address.address, writeSocketAddress(address.view, 0, to, 0)) < 0) {
      const errno = libc().errno();
      this.close();
      throw systemError(`connect ICMP socket to ${formatAddress(to)}`, errno);
    }
  }

  /** Milliseconds until the answer came, or undefined when none came within `timeoutMs`. */
  ping(timeoutMs: number): number | undefined {
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#writeRequest();
    const start = this.#clock.now();
    if (libc().send(this.#fd, this.#send.address, MESSAGE_BYTES, 0) < 0) {
      const errno = libc().errno();
      if (![ECONNREFUSED, EHOSTUNREACH, ENETUNREACH].includes(errno))
        throw systemError('send ICMP echo', errno);
    }
    for (;;) {
      const left = timeoutMs - (this.#clock.now() - start);
      if (left <= 0) return undefined;
      this.#poll.wait(Math.ceil(left));
      while (this.#receiveOne()) {
        if (this.#isAnswer()) return this.#clock.now() - start;
      }
    }
  }

  close(): void {
    libc().close(this.#fd);
  }

  #writeRequest(): void {
    const { u8, view } = this.#send;
    for (let i = ICMP.headerSize; i < MESSAGE_BYTES; i++) u8[i] = i;
    view.setUint16(ICMP.type, ECHO << 8);
    view.setUint16(ICMP.identifier, this.#identifier);
    view.setUint16(ICMP.sequence, this.#sequence);
    view.setUint16(ICMP.checksum, 0);
    let sum = 0;
    for (let i = 0; i < MESSAGE_BYTES; i += 2) sum += view.getUint16(i);
    sum = (sum & 0xffff) + (sum >>> 16);
    view.setUint16(ICMP.checksum, ~(sum + (sum >>> 16)));
  }

  /** False when nothing waits. An ICMP error about an earlier packet is taken off the socket as well. */
  #receiveOne(): boolean {
    this.#receive.u8.fill(0, 0, 60 + ICMP.headerSize);
    return (
      libc().recv(this.#fd, this.#receive.address, RECEIVE_BYTES, 0) >= 0 ||
      libc().errno() === EHOSTUNREACH ||
      libc().errno() === ECONNREFUSED
    );
  }

  #isAnswer(): boolean {
    const { u8, view } = this.#receive;
    const at = ((u8[0] as number) & 15) * 4;
    return (
      u8[at + ICMP.type] === ECHO_REPLY &&
      view.getUint16(at + ICMP.identifier) === this.#identifier &&
      view.getUint16(at + ICMP.sequence) === this.#sequence
    );
  }
}
