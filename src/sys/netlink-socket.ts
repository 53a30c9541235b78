/** A NETLINK_ROUTE socket: requests with their answers, and multicast notifications. */
import { EAGAIN, EINTR, ENOBUFS, systemError } from './errno.ts';
import { libc } from './libc.ts';
import { Block } from './memory.ts';
import {
  type Attribute,
  decodeError,
  decodeMessages,
  encodeRequest,
  type NetlinkMessage,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from './netlink-message.ts';
import { SOCKADDR_NL } from './structs.ts';

const AF_NETLINK = 16;
const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0o2004000;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_LISTEN_ALL_NSID = 8;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

/** The kernel never builds route messages beyond 32 KiB. */
const RECEIVE_BYTES = 65_536;
const SEND_BYTES = 4_096;

export interface Request {
  readonly type: number;
  /** Besides NLM_F_REQUEST. */
  readonly flags: number;
  /** The fixed struct of the message type. */
  readonly fixed: Uint8Array;
  readonly attributes: readonly Attribute[];
}

/** The kernel's receive queue for this socket overflowed: notifications are missing. */
export const LOST = 'lost';

export class NetlinkSocket {
  readonly fd: number;
  readonly #in: Block = new Block(RECEIVE_BYTES);
  readonly #out: Block = new Block(SEND_BYTES);
  #sequence = 0;
  #closed = false;

  /** `groups`: multicast groups to listen to, RTMGRP_*; 0 for requests only. */
  constructor(groups = 0) {
    this.fd = libc().socket(AF_NETLINK, SOCK_RAW_NONBLOCK_CLOEXEC, NETLINK_ROUTE);
    if (this.fd < 0) throw systemError('open netlink socket', libc().errno());
    const view = this.#out.view;
    view.setUint16(SOCKADDR_NL.family, AF_NETLINK, true);
    view.setUint32(SOCKADDR_NL.groups, groups, true);
    if (libc().bind(this.fd, this.#out.address, SOCKADDR_NL.size) < 0) {
      const error = systemError('bind netlink socket', libc().errno());
      this.close();
      throw error;
    }
    this.#tryEnable(NETLINK_EXT_ACK);
    // Makes the kernel honour the table in a dump of routes, so that a full Internet table is not copied in vain.
    this.#tryEnable(NETLINK_GET_STRICT_CHK);
  }

  /**
   * Also delivers notifications of namespaces that have an id in this one, such as the one an interface was moved to.
   * False when the rights (CAP_NET_BROADCAST) are missing.
   */
  listenToAllNamespaces(): boolean {
    return this.#tryEnable(NETLINK_LISTEN_ALL_NSID);
  }

  #tryEnable(option: number): boolean {
    this.#out.view.setUint32(0, 1, true);
    return libc().setsockopt(this.fd, SOL_NETLINK, option, this.#out.address, 4) === 0;
  }

  /**
   * Sends a request and returns the messages that answer it; none for a plain acknowledgement. The kernel works on a
   * request within the sending call, so there is nothing to wait for. `what` names the operation in the SystemError.
   */
  request(what: string, request: Request): NetlinkMessage[] {
    const sequence = (this.#sequence = (this.#sequence + 1) >>> 0);
    const bytes = encodeRequest(
      request.type,
      request.flags | NLM_F_REQUEST,
      sequence,
      request.fixed,
      request.attributes,
    );
    this.#out.u8.set(bytes);
    if (libc().send(this.fd, this.#out.address, bytes.length, 0) < 0) throw systemError(what, libc().errno());
    const answers: NetlinkMessage[] = [];
    for (;;) {
      const datagram = this.#receive();
      if (typeof datagram === 'number') throw systemError(`${what}: no answer`, datagram);
      for (const message of decodeMessages(datagram)) {
        // Answers to an earlier request that failed half-way.
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG_DONE) return answers;
        if (message.type !== NLMSG_ERROR) {
          answers.push({ ...message, payload: message.payload.slice() });
          continue;
        }
        const error = decodeError(message);
        if (error === undefined || error.errno === 0) return answers;
        throw systemError(error.text === undefined ? what : `${what} (${error.text})`, error.errno);
      }
      // A single answer without acknowledgement (a GET that is not a dump) is complete.
      if (answers.length > 0 && request.flags === 0) return answers;
    }
  }

  /**
   * Takes the next waiting notifications, LOST, or undefined when none waits. The messages are views that the next
   * call overwrites.
   */
  next(): Iterable<NetlinkMessage> | typeof LOST | undefined {
    const datagram = this.#receive();
    if (typeof datagram !== 'number') return decodeMessages(datagram);
    if (datagram === ENOBUFS) return LOST;
    if (datagram === EAGAIN) return undefined;
    throw systemError('receive from netlink', datagram);
  }

  /** The datagram, as a view, or the errno. */
  #receive(): Uint8Array | number {
    for (;;) {
      const size = libc().recv(this.fd, this.#in.address, RECEIVE_BYTES, 0);
      if (size >= 0) return this.#in.u8.subarray(0, size);
      const errno = libc().errno();
      if (errno !== EINTR) return errno;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    libc().close(this.fd);
  }
}
