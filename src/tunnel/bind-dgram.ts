/**
 * UDP through node:dgram, where the system calls of Linux are out of reach: one datagram per event, no sticky source, no
 * mark, no TOS. Portable and slow.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import type { Arena } from '../core/arena.ts';
import { AppError, SystemError } from '../core/errors.ts';
import { formatAddress, parseAddress } from '../core/ip.ts';
import { EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, systemError } from '../sys/errno.ts';
import { allocEndpoints, type Bind, type DatagramBatch, type DatagramPort, type SendErrors } from './bind.ts';
import { decodeEndpoint, encodeEndpoint, ENDPOINT, type Endpoint } from './endpoint.ts';

const BATCH_SIZE = 64;
/** Holds at least one datagram of any size, and a full batch of ordinary ones. */
const AREA_SIZE = 262_144;
/** Bytes that wait to be taken, and bytes that wait in Node to be sent. */
const MAX_WAITING_BYTES = 4 << 20;
/** What a datagram costs besides its bytes, so that empty ones are bounded too. */
const OVERHEAD_BYTES = 256;
const MAX_PORT_DRAWS = 100;

interface Waiting {
  readonly bytes: Uint8Array;
  readonly from: Endpoint;
}

type Sockets = { readonly [Family in 4 | 6]: Socket | undefined };
const NONE: Sockets = { 4: undefined, 6: undefined };

export class DgramBind implements Bind, DatagramPort {
  readonly kind = 'dgram';
  readonly datagrams: DatagramPort = this;
  readonly batchSize = BATCH_SIZE;
  readonly sendErrors: SendErrors = { full: 0, tooLarge: 0, unreachable: 0, other: 0 };
  readonly #arena: Arena;
  readonly #area: number;
  readonly #endpoints: number;
  #sockets: Sockets = NONE;
  #listenPort = 0;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #overflow = 0;
  #ready: (() => void) | undefined;
  #isReadyScheduled = false;

  constructor(arena: Arena) {
    this.#arena = arena;
    this.#area = arena.alloc(AREA_SIZE);
    this.#endpoints = allocEndpoints(arena, BATCH_SIZE);
  }

  get receiveOverflow(): number {
    return this.#overflow;
  }

  async open(port: number): Promise<number> {
    if (port !== 0 && port === this.#listenPort) return port;
    const sockets = await openSockets(port, (bytes, from) => this.#accept(bytes, from));
    const former = this.#sockets;
    this.#sockets = sockets;
    this.#listenPort = (sockets[4] ?? (sockets[6] as Socket)).address().port;
    await closeSockets(former);
    return this.#listenPort;
  }

  setMark(mark: number): void {
    if (mark === 0) return;
    throw new AppError('unavailable', `fwmark ${mark}: node:dgram cannot mark packets`, {
      hint: 'the Linux sockets can; they need the package koffi to load on this machine',
    });
  }

  async close(): Promise<void> {
    const former = this.#sockets;
    this.#sockets = NONE;
    this.#listenPort = 0;
    this.#waiting = [];
    this.#waitingBytes = 0;
    await closeSockets(former);
  }

  onReadable(ready: () => void): void {
    this.#ready = ready;
  }

  #accept(bytes: Uint8Array, from: Endpoint): void {
    if (this.#waitingBytes > MAX_WAITING_BYTES) {
      this.#overflow = (this.#overflow + 1) >>> 0;
      return;
    }
    this.#waiting.push({ bytes, from });
    this.#waitingBytes += bytes.length + OVERHEAD_BYTES;
    // Node hands out up to 32 datagrams in one turn of the loop: one call for all of them.
    if (this.#isReadyScheduled) return;
    this.#isReadyScheduled = true;
    setImmediate(() => {
      this.#isReadyScheduled = false;
      if (this.#waiting.length > 0) this.#ready?.();
    });
  }

  receive(batch: DatagramBatch): number {
    batch.clear();
    const limit = Math.min(BATCH_SIZE, batch.capacity);
    let at = this.#area;
    for (const { bytes, from } of this.#waiting) {
      if (batch.count === limit || at + bytes.length > this.#area + AREA_SIZE) break;
      const record = this.#endpoints + batch.count * ENDPOINT.size;
      this.#arena.u8.set(bytes, at);
      encodeEndpoint(from, this.#arena.u8, record);
      batch.push(at, bytes.length, record, 0);
      at += (bytes.length + 63) & ~63;
      this.#waitingBytes -= bytes.length + OVERHEAD_BYTES;
    }
    this.#waiting.splice(0, batch.count);
    return batch.count;
  }

  send(batch: DatagramBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const to = decodeEndpoint(this.#arena.u8, batch.endpoint[i] as number);
      const socket = to && this.#sockets[to.address.length === 4 ? 4 : 6];
      if (!to || !socket || to.port === 0) {
        this.#count('unreachable');
      } else if (socket.getSendQueueSize() > MAX_WAITING_BYTES) {
        this.#count('full');
      } else {
        const at = batch.at[i] as number;
        // A copy: Node may send it later, when the arena has something else there.
        const bytes = this.#arena.u8.slice(at, at + (batch.length[i] as number));
        socket.send(bytes, to.port, hostText(to), this.#onSent);
      }
    }
  }

  readonly #onSent = (error: NodeJS.ErrnoException | null): void => {
    if (error) this.#count(CAUSES.get(error.code ?? '') ?? 'other');
  };

  #count(cause: keyof SendErrors): void {
    this.sendErrors[cause] = (this.sendErrors[cause] + 1) >>> 0;
  }
}

const CAUSES: ReadonlyMap<string, keyof SendErrors> = new Map([
  ['EAGAIN', 'full'],
  ['ENOBUFS', 'full'],
  ['EMSGSIZE', 'tooLarge'],
  ['ENETUNREACH', 'unreachable'],
  ['EHOSTUNREACH', 'unreachable'],
  ['EADDRNOTAVAIL', 'unreachable'],
]);

/** Node wants a link-local address with the name of its interface. */
function hostText(endpoint: Endpoint): string {
  const text = formatAddress(endpoint.address);
  if (endpoint.scope === 0) return text;
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    if (addresses.some((info) => info.family === 'IPv6' && info.scopeid === endpoint.scope)) {
      return `${text}%${name}`;
    }
  }
  return text;
}

function endpointOf({ address, port }: RemoteInfo): Endpoint | undefined {
  const [text = '', zone] = address.split('%');
  const bytes = parseAddress(text);
  if (!bytes) return undefined;
  const infos = zone === undefined ? [] : (networkInterfaces()[zone] ?? []);
  const scope = infos.find((info) => info.family === 'IPv6' && info.scopeid !== 0);
  return { address: bytes, port, scope: scope?.family === 'IPv6' ? scope.scopeid : 0, carrier: 0 };
}

type Accept = (bytes: Uint8Array, from: Endpoint) => void;

/** Sockets of both families on one port, or of the one that there is. */
async function openSockets(port: number, accept: Accept): Promise<Sockets> {
  for (let draw = 1; ; draw++) {
    const v4 = await openFamily(4, port, accept);
    try {
      const v6 = await openFamily(6, v4 instanceof SystemError ? port : v4.address().port, accept);
      if (!(v4 instanceof SystemError)) return { 4: v4, 6: v6 instanceof SystemError ? undefined : v6 };
      if (!(v6 instanceof SystemError)) return { 4: undefined, 6: v6 };
      throw v4;
    } catch (error) {
      if (!(v4 instanceof SystemError)) await closeSocket(v4);
      const isTaken = error instanceof SystemError && error.errno === EADDRINUSE;
      if (!isTaken || port !== 0 || draw === MAX_PORT_DRAWS) throw error;
    }
  }
}

/** The error, rather than the socket, when the machine lacks the family. */
async function openFamily(family: 4 | 6, port: number, accept: Accept): Promise<Socket | SystemError> {
  const socket = createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    ipv6Only: family === 6,
    // There are no names here, and Node's own look-up would cost a turn of the event loop.
    lookup: (host, _options, done) => done(null, host, family),
  });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ port, exclusive: true }, () => {
        socket.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    await closeSocket(socket);
    const { errno = 0 } = cause as NodeJS.ErrnoException;
    const error = systemError(`bind UDP port ${port} for IPv${family}`, Math.abs(errno));
    if (error.errno === EAFNOSUPPORT || error.errno === EADDRNOTAVAIL) return error;
    throw error;
  }
  // Errors of single datagrams reach the callback of `send`; those of receiving are a network's daily business.
  socket.on('error', () => {});
  socket.on('message', (bytes, info) => {
    const from = endpointOf(info);
    if (from) accept(bytes, from);
  });
  return socket;
}

function closeSocket(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.removeAllListeners('message');
    socket.close(() => resolve());
  });
}

async function closeSockets(sockets: Sockets): Promise<void> {
  await Promise.all([sockets[4], sockets[6]].filter((socket) => socket !== undefined).map(closeSocket));
}
