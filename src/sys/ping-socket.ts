/** A raw ICMP socket that measures the round trip to one address, as ping(8) does. Blocks the calling thread. */
import type { Clock } from '../core/clock.ts';
import { formatAddress, type Address } from '../core/ip.ts';
import { ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EPERM, systemError } from './errno.ts';
import { libc } from './libc.ts';
import { Block } from './memory.ts';
import { POLLIN, PollSet } from './poll.ts';
import { AF_INET, AF_INET6, writeSocketAddress } from './structs.ts';

const SOCK_RAW = 3;
const SOCK_NONBLOCK_CLOEXEC = 0o2004000;

/** RFC 792 and RFC 4443: echo and echo reply have one form. */
const ICMP = { type: 0, code: 1, checksum: 2, identifier: 4, sequence: 6, headerSize: 8 } as const;
const ICMP_V4 = { family: AF_INET, protocol: 1, echo: 8, reply: 0 } as const;
const ICMP_V6 = { family: AF_INET6, protocol: 58, echo: 128, reply: 129 } as const;
/** 64 bytes with the header, as ping(8) sends. */
const PAYLOAD_BYTES = 56;
const MESSAGE_BYTES: number = ICMP.headerSize + PAYLOAD_BYTES;
/** A raw socket of IPv4 delivers the IP header as well, of up to 60 bytes. */
const RECEIVE_BYTES = 2048;

export class PingSocket {
  readonly #icmp: typeof ICMP_V4 | typeof ICMP_V6;
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
    this.#icmp = to.length === 4 ? ICMP_V4 : ICMP_V6;
    this.#fd = libc().socket(this.#icmp.family, SOCK_RAW | SOCK_NONBLOCK_CLOEXEC, this.#icmp.protocol);
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
    view.setUint16(ICMP.type, this.#icmp.echo << 8);
    view.setUint16(ICMP.identifier, this.#identifier);
    view.setUint16(ICMP.sequence, this.#sequence);
    view.setUint16(ICMP.checksum, 0);
    // For IPv6 the kernel does this, addresses included.
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
    const at = this.#icmp === ICMP_V4 ? ((u8[0] as number) & 15) * 4 : 0;
    return (
      u8[at + ICMP.type] === this.#icmp.reply &&
      view.getUint16(at + ICMP.identifier) === this.#identifier &&
      view.getUint16(at + ICMP.sequence) === this.#sequence
    );
  }
}
