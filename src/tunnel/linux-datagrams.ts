/**
 * The data half of the Linux bind: recvmmsg and sendmmsg over both UDP sockets, datagrams in place in the arena.
 *
 * Where the kernel can, datagrams of one size to one endpoint that follow each other in memory leave as one message
 * (UDP_SEGMENT), and what arrives joined (UDP_GRO) is split here. Callers see datagrams only.
 */
import type { Arena } from '../core/arena.ts';
import {
  EADDRNOTAVAIL,
  EAGAIN,
  ECONNREFUSED,
  EHOSTUNREACH,
  EINTR,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENETUNREACH,
  ENOBUFS,
} from '../sys/errno.ts';
import { type Libc, libc } from '../sys/libc.ts';
import { MessageTable } from '../sys/messages.ts';
import { POLLOUT, PollSet } from '../sys/poll.ts';
import {
  AF_INET,
  AF_INET6,
  CMSGHDR,
  IN6_PKTINFO,
  IN_PKTINFO,
  SOCKADDR_IN,
  SOCKADDR_IN6,
  controlSpace,
  writeControlHeader,
} from '../sys/structs.ts';
import {
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  IP_PKTINFO,
  IP_TOS,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from '../sys/udp-socket.ts';
import { allocEndpoints, type DatagramBatch, type DatagramPort, type SendErrors } from './bind.ts';
import { ENDPOINT } from './endpoint.ts';

const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

/** Messages per recvmmsg. With GRO each may hold 64 datagrams; what does not fit the batch waits for the next call. */
const RECEIVE_MESSAGES = 32;
const SEND_MESSAGES = 64;
const BATCH_SIZE = 512;

const MAX_DATAGRAM = 65_535;
/**
 * Distance of the receive buffers. A bare 64 KiB would map all of them to the same sets of the processor's caches. Only
 * pages that were written to exist: a full datagram takes one, so 32 buffers are 128 KiB in ordinary use, 2 MiB at most.
 */
const BUFFER_STRIDE: number = 65_536 + 2_112;

/** UDP_MAX_SEGMENTS of older kernels; newer ones take more. */
const MAX_SEGMENTS = 64;
/** Payload of the largest IPv4 datagram (65,535 less IP and UDP header); IPv6 could take 20 bytes more. */
const MAX_GSO_BYTES = 65_507;

/** Room for PKTINFO, the TOS byte and the segment size of one message, in either family. */
const CONTROL_SIZE: number = controlSpace(IN6_PKTINFO.size) + controlSpace(4) + controlSpace(4);

const SOURCE_WORDS = (ENDPOINT.carrier - ENDPOINT.source) / 4;

/** A vanished source address, or a route that it does not fit. */
function isSourceFault(errno: number): boolean {
  return errno === EINVAL || errno === ENETUNREACH || errno === EADDRNOTAVAIL || errno === EHOSTUNREACH;
}

/** The NIC cannot checksum, the kernel does not like the size: the same datagrams one by one may pass. */
function isGsoFault(errno: number): boolean {
  return errno === EIO || errno === EINVAL || errno === EMSGSIZE;
}

export interface LinuxDatagramsOptions {
  /** UDP_SEGMENT and UDP_GRO, where the kernel has them. */
  readonly gso: boolean;
  readonly gro: boolean;
  /** How long a full socket may hold up the lane; 0 drops at once. A lane on the control thread must not wait. */
  readonly maxWaitMs: number;
}

export class LinuxDatagrams implements DatagramPort {
  readonly batchSize = BATCH_SIZE;
  readonly sendErrors: SendErrors = { full: 0, tooLarge: 0, unreachable: 0, other: 0 };
  readonly #libc: Libc = libc();
  readonly #arena: Arena;
  readonly #options: LinuxDatagramsOptions;
  readonly #receive: MessageTable;
  readonly #send: MessageTable;
  readonly #buffers: number;
  readonly #endpoints: number;
  /** First datagram of each message to send, for dropping and for sending again. */
  readonly #first = new Uint32Array(SEND_MESSAGES + 1);
  /** Of each received message: the TOS byte, and the size of its datagrams when it holds several, else 0. */
  readonly #tos = new Uint8Array(RECEIVE_MESSAGES);
  readonly #segment = new Uint16Array(RECEIVE_MESSAGES);
  #ipv4 = -1;
  #ipv6 = -1;
  #gso: boolean;
  /** The family that `receive` asks first; it alternates, so that neither starves. */
  #startWithIpv6 = false;
  /** Messages received and not yet handed out, and how far the first of them was split. */
  #waiting = 0;
  #next = 0;
  #split = 0;
  #ready: (() => void) | undefined;

  constructor(arena: Arena, options: LinuxDatagramsOptions) {
    this.#arena = arena;
    this.#options = options;
    this.#gso = options.gso;
    this.#receive = new MessageTable(arena, RECEIVE_MESSAGES, CONTROL_SIZE);
    this.#send = new MessageTable(arena, SEND_MESSAGES, CONTROL_SIZE);
    this.#buffers = arena.alloc(RECEIVE_MESSAGES * BUFFER_STRIDE);
    this.#endpoints = allocEndpoints(arena, RECEIVE_MESSAGES);
    for (let i = 0; i < RECEIVE_MESSAGES; i++) {
      this.#receive.setBuffer(i, this.#buffers + i * BUFFER_STRIDE, MAX_DATAGRAM);
    }
  }

  /** Uses these descriptors from now on; -1 = none. Waiting datagrams of the old ones are forgotten. */
  use(ipv4: number, ipv6: number): void {
    this.#ipv4 = ipv4;
    this.#ipv6 = ipv6;
    this.#waiting = 0;
    this.#gso = this.#options.gso;
  }

  get usesGso(): boolean {
    return this.#gso;
  }

  onReadable(ready: () => void): void {
    this.#ready = ready;
  }

  /** The owner of the descriptors watches them and says so here. */
  readable(): void {
    this.#ready?.();
  }

  receive(batch: DatagramBatch): number {
    batch.clear();
    if (this.#waiting === 0) this.#fetch();
    while (this.#waiting > 0 && batch.count < batch.capacity)
      this.#split = this.#handOut(this.#next, this.#split, batch);
    return batch.count;
  }

  #fetch(): void {
    this.#next = 0;
    this.#split = 0;
    const first = this.#startWithIpv6;
    this.#startWithIpv6 = !first;
    this.#waiting = this.#receiveFrom(first ? this.#ipv6 : this.#ipv4);
    if (this.#waiting === 0) this.#waiting = this.#receiveFrom(first ? this.#ipv4 : this.#ipv6);
    for (let i = 0; i < this.#waiting; i++) this.#readEndpoint(i);
  }

  #receiveFrom(fd: number): number {
    if (fd < 0) return 0;
    for (let i = 0; i < RECEIVE_MESSAGES; i++) this.#receive.resetForReceive(i);
    // A pending error (an ICMP message about an earlier datagram) comes first and is cleared by being read.
    for (let attempt = 0; attempt < 3; attempt++) {
      const count = this.#libc.recvmmsg(fd, this.#receive.address(0), RECEIVE_MESSAGES, MSG_DONTWAIT, 0);
      if (count >= 0) return count;
      if (this.#libc.errno() === EAGAIN) return 0;
    }
    return 0;
  }

  /** Hands out datagrams of message `i` from byte `from` on. Returns where to go on, 0 when the message is done. */
  #handOut(i: number, from: number, batch: DatagramBatch): number {
    const length = this.#receive.received(i);
    const usable = (this.#receive.flags(i) & MSG_TRUNC) === 0;
    const record = this.#endpoints + i * ENDPOINT.size;
    const tos = this.#tos[i] as number;
    const segment = (this.#segment[i] as number) || length;
    const at = this.#buffers + i * BUFFER_STRIDE;
    let offset = from;
    // An empty datagram is one, too.
    do {
      if (!usable) offset = length;
      else {
        if (batch.count === batch.capacity) return offset;
        const size = Math.min(segment, length - offset);
        batch.push(at + offset, size, record, tos);
        offset += size;
      }
    } while (offset < length);
    this.#next++;
    this.#waiting--;
    return 0;
  }

  /** Sender, local address, TOS and segment size of a received message. */
  #readEndpoint(i: number): void {
    const { u8, u32, view } = this.#arena;
    const record = this.#endpoints + i * ENDPOINT.size;
    u32.fill(0, record / 4, (record + ENDPOINT.size) / 4);
    const name = this.#receive.name(i);
    const isIpv4 = view.getUint16(name, true) === AF_INET;
    view.setUint16(record + ENDPOINT.family, isIpv4 ? 4 : 6, true);
    view.setUint16(record + ENDPOINT.port, view.getUint16(name + SOCKADDR_IN.port), true);
    if (isIpv4) {
      u32[(record + ENDPOINT.address) / 4] = u32[(name + SOCKADDR_IN.address) / 4] as number;
    } else {
      u8.copyWithin(record + ENDPOINT.address, name + SOCKADDR_IN6.address, name + SOCKADDR_IN6.address + 16);
      view.setUint32(record + ENDPOINT.scope, view.getUint32(name + SOCKADDR_IN6.scope, true), true);
    }
    this.#tos[i] = 0;
    this.#segment[i] = 0;
    const control = this.#receive.control(i);
    const end = control + this.#receive.controlLength(i);
    for (let at = control; at + CMSGHDR.size <= end;) {
      const size = view.getUint32(at + CMSGHDR.length, true);
      if (size < CMSGHDR.size || at + size > end) break;
      this.#readControl(i, at, record);
      at += (size + 7) & ~7;
    }
  }

  #readControl(i: number, at: number, record: number): void {
    const { u8, view } = this.#arena;
    const level = view.getInt32(at + CMSGHDR.level, true);
    const type = view.getInt32(at + CMSGHDR.type, true);
    const data = at + CMSGHDR.size;
    if (level === IPPROTO_IP && type === IP_PKTINFO) {
      u8.copyWithin(
        record + ENDPOINT.source,
        data + IN_PKTINFO.specificDestination,
        data + IN_PKTINFO.address,
      );
      view.setUint32(
        record + ENDPOINT.sourceInterface,
        view.getUint32(data + IN_PKTINFO.interfaceIndex, true),
        true,
      );
    } else if (level === IPPROTO_IPV6 && type === IPV6_PKTINFO) {
      u8.copyWithin(record + ENDPOINT.source, data + IN6_PKTINFO.address, data + IN6_PKTINFO.address + 16);
      view.setUint32(
        record + ENDPOINT.sourceInterface,
        view.getUint32(data + IN6_PKTINFO.interfaceIndex, true),
        true,
      );
    } else if (
      (level === IPPROTO_IP && type === IP_TOS) ||
      (level === IPPROTO_IPV6 && type === IPV6_TCLASS)
    ) {
      this.#tos[i] = u8[data] as number;
    } else if (level === SOL_UDP && type === UDP_GRO) {
      this.#segment[i] = view.getUint16(data, true);
    }
  }

  send(batch: DatagramBatch): void {
    for (let i = 0; i < batch.count;) {
      const isIpv4 = this.#isIpv4(batch, i);
      let messages = 0;
      const start = i;
      while (messages < SEND_MESSAGES && i < batch.count && this.#isIpv4(batch, i) === isIpv4) {
        this.#first[messages] = i;
        i = this.#compose(messages, batch, i, isIpv4);
        messages++;
      }
      this.#first[messages] = i;
      const fd = isIpv4 ? this.#ipv4 : this.#ipv6;
      if (fd < 0) this.sendErrors.unreachable += i - start;
      else this.#transmit(fd, messages, batch, isIpv4);
    }
  }

  #isIpv4(batch: DatagramBatch, i: number): boolean {
    return this.#arena.u16[((batch.endpoint[i] as number) + ENDPOINT.family) >> 1] === 4;
  }

  /** Makes message `slot` of datagram `first` and those after it that may join it. Returns the next one. */
  #compose(slot: number, batch: DatagramBatch, first: number, isIpv4: boolean): number {
    const record = batch.endpoint[first] as number;
    const tos = batch.tos[first] as number;
    const at = batch.at[first] as number;
    const segment = batch.length[first] as number;
    let total = segment;
    let next = first + 1;
    if (this.#gso) {
      const limit = Math.min(batch.count, first + MAX_SEGMENTS);
      while (next < limit) {
        const length = batch.length[next] as number;
        // A shorter one may only be the last.
        if (length > segment || batch.length[next - 1] !== segment || total + length > MAX_GSO_BYTES) break;
        if (batch.at[next] !== at + total || batch.endpoint[next] !== record || batch.tos[next] !== tos)
          break;
        total += length;
        next++;
      }
    }
    this.#send.setBuffer(slot, at, total);
    this.#writeName(slot, record, isIpv4);
    this.#writeControls(slot, record, tos, next - first > 1 ? segment : 0, isIpv4);
    return next;
  }

  #writeName(slot: number, record: number, isIpv4: boolean): void {
    const { u8, u32, view } = this.#arena;
    const name = this.#send.name(slot);
    const port = view.getUint16(record + ENDPOINT.port, true);
    if (isIpv4) {
      view.setUint16(name, AF_INET, true);
      view.setUint16(name + SOCKADDR_IN.port, port);
      u32[(name + SOCKADDR_IN.address) / 4] = u32[(record + ENDPOINT.address) / 4] as number;
      this.#send.setNameLength(slot, SOCKADDR_IN.size);
    } else {
      view.setUint16(name, AF_INET6, true);
      view.setUint16(name + SOCKADDR_IN6.port, port);
      view.setUint32(name + SOCKADDR_IN6.flowInfo, 0, true);
      u8.copyWithin(name + SOCKADDR_IN6.address, record + ENDPOINT.address, record + ENDPOINT.address + 16);
      view.setUint32(name + SOCKADDR_IN6.scope, view.getUint32(record + ENDPOINT.scope, true), true);
      this.#send.setNameLength(slot, SOCKADDR_IN6.size);
    }
  }

  #writeControls(slot: number, record: number, tos: number, segment: number, isIpv4: boolean): void {
    const { u8, u32, view } = this.#arena;
    const start = this.#send.control(slot);
    let at = start;
    if (this.#hasSource(record)) {
      const interfaceIndex = u32[(record + ENDPOINT.sourceInterface) / 4] as number;
      if (isIpv4) {
        const data = writeControlHeader(view, at, IPPROTO_IP, IP_PKTINFO, IN_PKTINFO.size);
        view.setUint32(data + IN_PKTINFO.interfaceIndex, interfaceIndex, true);
        u8.copyWithin(
          data + IN_PKTINFO.specificDestination,
          record + ENDPOINT.source,
          record + ENDPOINT.source + 4,
        );
        view.setUint32(data + IN_PKTINFO.address, 0, true);
        at += controlSpace(IN_PKTINFO.size);
      } else {
        const data = writeControlHeader(view, at, IPPROTO_IPV6, IPV6_PKTINFO, IN6_PKTINFO.size);
        u8.copyWithin(data + IN6_PKTINFO.address, record + ENDPOINT.source, record + ENDPOINT.source + 16);
        view.setUint32(data + IN6_PKTINFO.interfaceIndex, interfaceIndex, true);
        at += controlSpace(IN6_PKTINFO.size);
      }
    }
    if (tos !== 0) {
      const level = isIpv4 ? IPPROTO_IP : IPPROTO_IPV6;
      const data = writeControlHeader(view, at, level, isIpv4 ? IP_TOS : IPV6_TCLASS, 4);
      view.setUint32(data, tos, true);
      at += controlSpace(4);
    }
    if (segment !== 0) {
      const data = writeControlHeader(view, at, SOL_UDP, UDP_SEGMENT, 2);
      view.setUint16(data, segment, true);
      at += controlSpace(2);
    }
    this.#send.setControl(slot, 0, at - start);
  }

  #hasSource(record: number): boolean {
    const { u32 } = this.#arena;
    const word = (record + ENDPOINT.source) / 4;
    for (let i = 0; i < SOURCE_WORDS; i++) if (u32[word + i] !== 0) return true;
    return false;
  }

  /** Sends composed messages; what fails is sent again in another way, or dropped and counted. */
  #transmit(fd: number, messages: number, batch: DatagramBatch, isIpv4: boolean): void {
    let waited = false;
    for (let slot = 0; slot < messages;) {
      const sent = this.#libc.sendmmsg(fd, this.#send.address(slot), messages - slot, MSG_DONTWAIT);
      if (sent > 0) {
        slot += sent;
        continue;
      }
      const errno = this.#libc.errno();
      if (errno === EINTR) continue;
      if (errno === EAGAIN && !waited && this.#options.maxWaitMs > 0) {
        waited = true;
        new PollSet([{ fd, events: POLLOUT }]).wait(this.#options.maxWaitMs);
        continue;
      }
      this.#sendAgain(fd, slot, batch, isIpv4, errno);
      slot++;
    }
  }

  /** Message `slot` was refused: without GSO, without the sticky source, or not at all. */
  #sendAgain(fd: number, slot: number, batch: DatagramBatch, isIpv4: boolean, refusal: number): void {
    const first = this.#first[slot] as number;
    const end = this.#first[slot + 1] as number;
    const record = batch.endpoint[first] as number;
    let errno = refusal;
    if (isSourceFault(errno) && this.#hasSource(record)) {
      const word = (record + ENDPOINT.source) / 4;
      this.#arena.u32.fill(0, word, word + SOURCE_WORDS);
      const segment = end - first > 1 ? (batch.length[first] as number) : 0;
      this.#writeControls(slot, record, batch.tos[first] as number, segment, isIpv4);
      errno = this.#sendOne(fd, slot);
    } else if (errno === ECONNREFUSED) {
      // A pending ICMP error about an earlier datagram, reported now and thereby gone.
      errno = this.#sendOne(fd, slot);
    }
    if (isGsoFault(errno) && end - first > 1) {
      this.#gso = false;
      for (let i = first; i < end; i++) {
        this.#compose(slot, batch, i, isIpv4);
        this.#count(this.#sendOne(fd, slot), 1);
      }
      return;
    }
    this.#count(errno, end - first);
  }

  /** Returns the error number, 0 when it was sent. */
  #sendOne(fd: number, slot: number): number {
    return this.#libc.sendmmsg(fd, this.#send.address(slot), 1, MSG_DONTWAIT) === 1 ? 0 : this.#libc.errno();
  }

  #count(errno: number, datagrams: number): void {
    if (errno === 0) return;
    if (errno === EAGAIN || errno === ENOBUFS) this.sendErrors.full += datagrams;
    else if (errno === EMSGSIZE) this.sendErrors.tooLarge += datagrams;
    else if (isSourceFault(errno)) this.sendErrors.unreachable += datagrams;
    else this.sendErrors.other += datagrams;
  }
}
