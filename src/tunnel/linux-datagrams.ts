/**
 * The data half of the Linux bind: recvmmsg and sendmmsg over both UDP sockets, datagrams in place in the arena.
 *
 * Where the kernel can, datagrams of one size to one endpoint that follow each other in memory leave as one message
 * (UDP_SEGMENT), and what arrives joined (UDP_GRO) is split here. Callers see datagrams only.
 */
import type { Arena } from '../core/arena.ts';
import { SystemError } from '../core/errors.ts';
import {
  EADDRNOTAVAIL,
  EAGAIN,
  ECONNREFUSED,
  EFAULT,
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
import { RouteClient } from '../sys/route-client.ts';
import { socketMark } from '../sys/udp-socket.ts';
import { allocEndpoints, type DatagramBatch, type DatagramPort, type SendErrors } from './bind.ts';
import { ENDPOINT, hasSource } from './endpoint.ts';
import { CONTROL_SIZE, type ReceivedInfo, readReceived, writeControls, writeName } from './linux-records.ts';
import { type RouteCheck, StickySources } from './sticky-sources.ts';

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
  readonly #sources: StickySources;
  #routes: RouteClient | undefined;
  /** Of each received message: the TOS byte, and the size of its datagrams when it holds several, else 0. */
  readonly #tos = new Uint8Array(RECEIVE_MESSAGES);
  readonly #segment = new Uint16Array(RECEIVE_MESSAGES);
  readonly #info: ReceivedInfo = { tos: 0, segment: 0, overflow: 0 };
  /** The kernel's overflow counters of the two sockets, as last told. */
  #overflow4 = 0;
  #overflow6 = 0;
  #overflowBefore = 0;
  #ipv4 = -1;
  #ipv6 = -1;
  #gso: boolean;
  /**
   * The sockets worth asking. A host that polls sets these before it receives, and saves calls that would find nothing;
   * any other leaves them be.
   */
  readonly waits: { ipv4: boolean; ipv6: boolean } = { ipv4: true, ipv6: true };
  /** The family that `receive` asks first; it alternates, so that neither starves. */
  #startWithIpv6 = false;
  /** Messages received and not yet handed out, and how far the first of them was split. */
  #waiting = 0;
  /** Messages that the last call has written to: an idle tunnel should not touch the others. */
  #used = RECEIVE_MESSAGES;
  #isFromIpv4 = false;
  #next = 0;
  #split = 0;
  #ready: (() => void) | undefined;

  constructor(arena: Arena, options: LinuxDatagramsOptions) {
    this.#arena = arena;
    this.#options = options;
    this.#gso = options.gso;
    this.#sources = new StickySources(arena, this.#leavesBy);
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
    this.#overflowBefore = this.receiveOverflow;
    this.#overflow4 = 0;
    this.#overflow6 = 0;
    this.#ipv4 = ipv4;
    this.#ipv6 = ipv6;
    this.#waiting = 0;
    this.#gso = this.#options.gso;
    this.#routes?.close();
    this.#routes = ipv4 < 0 && ipv6 < 0 ? undefined : openRoutes();
  }

  get receiveOverflow(): number {
    return (this.#overflowBefore + this.#overflow4 + this.#overflow6) >>> 0;
  }

  get lostSources(): number {
    return this.#sources.cleared;
  }

  routesChanged(): void {
    this.#sources.routesChanged();
  }

  readonly #leavesBy: RouteCheck = (interfaceIndex, destination, source, scope) => {
    if (!this.#routes) return true;
    try {
      const mark = socketMark(destination.length === 4 ? this.#ipv4 : this.#ipv6);
      const route = this.#routes.routeTo(destination, { source, mark, interfaceIndex: scope });
      return route?.interfaceIndex === interfaceIndex;
    } catch (error) {
      // Out of memory, for instance: the send itself will tell.
      if (error instanceof SystemError) return true;
      throw error;
    }
  };

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
    this.#isFromIpv4 = !first;
    this.#waiting = this.#receiveFrom(this.#isFromIpv4);
    if (this.#waiting === 0) {
      this.#isFromIpv4 = first;
      this.#waiting = this.#receiveFrom(this.#isFromIpv4);
    }
    for (let i = 0; i < this.#waiting; i++) this.#readMessage(i);
  }

  #receiveFrom(isIpv4: boolean): number {
    const fd = isIpv4 ? this.#ipv4 : this.#ipv6;
    if (fd < 0 || !(isIpv4 ? this.waits.ipv4 : this.waits.ipv6)) return 0;
    for (let i = 0; i < this.#used; i++) this.#receive.resetForReceive(i);
    this.#used = 0;
    // A pending error (an ICMP message about an earlier datagram) comes first and is cleared by being read.
    for (let attempt = 0; attempt < 3; attempt++) {
      const count = this.#libc.recvmmsg(fd, this.#receive.address(0), RECEIVE_MESSAGES, MSG_DONTWAIT, 0);
      if (count >= 0) {
        this.#used = count;
        return count;
      }
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

  #readMessage(i: number): void {
    const record = this.#endpoints + i * ENDPOINT.size;
    const isIpv4 = this.#isFromIpv4;
    const info = this.#info;
    info.overflow = isIpv4 ? this.#overflow4 : this.#overflow6;
    readReceived(this.#arena, this.#receive, i, record, info);
    this.#tos[i] = info.tos;
    this.#segment[i] = info.segment;
    if (isIpv4) this.#overflow4 = info.overflow;
    else this.#overflow6 = info.overflow;
  }

  send(batch: DatagramBatch): void {
    for (let i = 0; i < batch.count;) {
      if (!this.#isInArena(batch, i)) {
        this.#count(EFAULT, 1);
        i++;
        continue;
      }
      const isIpv4 = this.#isIpv4(batch, i);
      let messages = 0;
      const start = i;
      while (
        messages < SEND_MESSAGES &&
        i < batch.count &&
        this.#isIpv4(batch, i) === isIpv4 &&
        this.#isInArena(batch, i)
      ) {
        this.#first[messages] = i;
        i = this.#compose(messages, batch, i, isIpv4);
        messages++;
      }
      this.#first[messages] = i;
      const fd = isIpv4 ? this.#ipv4 : this.#ipv6;
      if (fd < 0) this.#count(ENETUNREACH, i - start);
      else this.#transmit(fd, messages, batch, isIpv4);
    }
  }

  /** Bytes of other memory are never sent, whatever the caller believes. */
  #isInArena(batch: DatagramBatch, i: number): boolean {
    return (batch.at[i] as number) + (batch.length[i] as number) <= this.#arena.u8.length;
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
    // An empty datagram has nothing that could be told apart once joined.
    if (this.#gso && segment > 0) {
      const limit = Math.min(batch.count, first + MAX_SEGMENTS);
      while (next < limit) {
        const length = batch.length[next] as number;
        // A shorter one may only be the last.
        if (length > segment || batch.length[next - 1] !== segment || total + length > MAX_GSO_BYTES) break;
        if (batch.at[next] !== at + total || batch.endpoint[next] !== record || batch.tos[next] !== tos)
          break;
        if (!this.#isInArena(batch, next)) break;
        total += length;
        next++;
      }
    }
    this.#send.setBuffer(slot, at, total);
    this.#sources.check(record);
    writeName(this.#arena, this.#send, slot, record, isIpv4);
    writeControls(this.#arena, this.#send, slot, record, tos, next - first > 1 ? segment : 0, isIpv4);
    return next;
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
      this.#sendAgain(fd, slot, messages, batch, isIpv4, errno);
      slot++;
    }
  }

  /** Message `slot` of `messages` was refused: without the sticky source, without GSO, or not at all. */
  #sendAgain(
    fd: number,
    slot: number,
    messages: number,
    batch: DatagramBatch,
    isIpv4: boolean,
    refusal: number,
  ): void {
    const first = this.#first[slot] as number;
    const end = this.#first[slot + 1] as number;
    const record = batch.endpoint[first] as number;
    let errno = refusal;
    // A pending ICMP error about an earlier datagram, reported now and thereby gone.
    if (errno === ECONNREFUSED) errno = this.#sendOne(fd, slot);
    if (isSourceFault(errno) && hasSource(this.#arena, record)) {
      this.#sources.clear(record);
      // The following messages to the same endpoint were composed with the source, too.
      for (let each = slot; each < messages; each++) {
        if (batch.endpoint[this.#first[each] as number] === record)
          this.#rewriteControls(each, batch, isIpv4);
      }
      errno = this.#sendOne(fd, slot);
    }
    if (isGsoFault(errno) && end - first > 1) {
      // EMSGSIZE is a matter of the path to one peer: the others keep GSO.
      if (errno !== EMSGSIZE) this.#gso = false;
      this.#sendSingly(fd, slot, batch, isIpv4);
      return;
    }
    this.#count(errno, end - first);
  }

  #rewriteControls(slot: number, batch: DatagramBatch, isIpv4: boolean): void {
    const first = this.#first[slot] as number;
    const segment = (this.#first[slot + 1] as number) - first > 1 ? (batch.length[first] as number) : 0;
    const record = batch.endpoint[first] as number;
    writeControls(this.#arena, this.#send, slot, record, batch.tos[first] as number, segment, isIpv4);
  }

  #sendSingly(fd: number, slot: number, batch: DatagramBatch, isIpv4: boolean): void {
    const end = this.#first[slot + 1] as number;
    for (let i = this.#first[slot] as number; i < end; i++) {
      const record = batch.endpoint[i] as number;
      this.#send.setBuffer(slot, batch.at[i] as number, batch.length[i] as number);
      writeControls(this.#arena, this.#send, slot, record, batch.tos[i] as number, 0, isIpv4);
      this.#count(this.#sendOne(fd, slot), 1);
    }
  }

  /** Returns the error number, 0 when it was sent. */
  #sendOne(fd: number, slot: number): number {
    return this.#libc.sendmmsg(fd, this.#send.address(slot), 1, MSG_DONTWAIT) === 1 ? 0 : this.#libc.errno();
  }

  #count(errno: number, datagrams: number): void {
    if (errno === 0) return;
    const cause = causeOf(errno);
    this.sendErrors[cause] = (this.sendErrors[cause] + datagrams) >>> 0;
  }
}

function causeOf(errno: number): keyof SendErrors {
  if (errno === EAGAIN || errno === ENOBUFS) return 'full';
  if (errno === EMSGSIZE) return 'tooLarge';
  return isSourceFault(errno) ? 'unreachable' : 'other';
}

/** Undefined where there is no netlink (some sandboxes): then only a send that fails tells about a source. */
function openRoutes(): RouteClient | undefined {
  try {
    return new RouteClient();
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}
