/** Datagrams in memory: a network of addresses whose wire tests can tap, cut and bend. */
import type { Arena } from '../core/arena.ts';
import { SystemError } from '../core/errors.ts';
import { addressesEqual, formatAddress, type Address } from '../core/ip.ts';
import { allocEndpoints, type Bind, type DatagramBatch, type DatagramPort, type SendErrors } from './bind.ts';
import { ENDPOINT, decodeEndpoint, encodeEndpoint, type Endpoint } from './endpoint.ts';
import { StickySources } from './sticky-sources.ts';

const EADDRINUSE = 98;
const FIRST_EPHEMERAL_PORT = 32_768;
const BATCH_SIZE = 64;
const MAX_DATAGRAM = 65_535;
const AREA_SIZE: number = 2 * MAX_DATAGRAM;
/** What fits into an IP packet behind the UDP header, by length of the address. */
const MAX_PAYLOAD: Readonly<Record<number, number>> = { 4: 65_507, 16: 65_527 };

export interface WireDatagram {
  readonly bytes: Uint8Array;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly tos: number;
}

/** What an interceptor makes of a datagram: itself, something else, several, or nothing. */
export type Interceptor = (datagram: WireDatagram) => readonly WireDatagram[];

export class MemoryNetwork {
  readonly #binds = new Map<string, MemoryBind>();
  #queue: WireDatagram[] = [];
  #interceptor: Interceptor = (datagram) => [datagram];
  #nextPort = FIRST_EPHEMERAL_PORT;

  /** All datagrams pass it when they are sent. */
  intercept(interceptor: Interceptor): void {
    this.#interceptor = interceptor;
  }

  send(datagram: WireDatagram): void {
    this.#queue.push(...this.#interceptor(datagram));
  }

  /** Puts a datagram on the wire behind the interceptor. */
  inject(datagram: WireDatagram): void {
    this.#queue.push(datagram);
  }

  /** Hands what is on the wire to the binds it is for. Returns false when there was nothing. */
  deliver(): boolean {
    const queue = this.#queue;
    this.#queue = [];
    for (const datagram of queue) this.#binds.get(key(datagram.to))?.accept(datagram);
    return queue.length > 0;
  }

  register(bind: MemoryBind, endpoint: Endpoint): void {
    this.#binds.set(key(endpoint), bind);
  }

  unregister(endpoint: Endpoint): void {
    this.#binds.delete(key(endpoint));
  }

  isFree(endpoint: Endpoint): boolean {
    return !this.#binds.has(key(endpoint));
  }

  freePort(): number {
    return this.#nextPort++;
  }
}

function key(endpoint: Endpoint): string {
  return `${formatAddress(endpoint.address)} ${endpoint.port}`;
}

export class MemoryBind implements Bind, DatagramPort {
  readonly kind = 'memory';
  readonly datagrams: DatagramPort = this;
  readonly batchSize = BATCH_SIZE;
  readonly sendErrors: SendErrors = { full: 0, tooLarge: 0, unreachable: 0, other: 0 };
  readonly #network: MemoryNetwork;
  readonly #arena: Arena;
  readonly #area: number;
  readonly #endpoints: number;
  readonly #waiting: WireDatagram[] = [];
  /** Index of the interface by which datagrams leave. They always come in by the first. */
  routeInterface = 1;
  readonly #sources: StickySources;
  /** One or more local addresses; the first of each family is the source when nothing else is asked. */
  readonly addresses: Address[];
  #port = 0;
  #mark = 0;
  #ready: (() => void) | undefined;

  constructor(network: MemoryNetwork, arena: Arena, addresses: readonly Address[]) {
    this.#network = network;
    this.#arena = arena;
    this.#area = arena.alloc(AREA_SIZE);
    this.#endpoints = allocEndpoints(arena, BATCH_SIZE);
    this.addresses = [...addresses];
    this.#sources = new StickySources(arena, (interfaceIndex) => interfaceIndex === this.routeInterface);
  }

  get mark(): number {
    return this.#mark;
  }

  open(port: number): Promise<number> {
    const wanted = port === 0 ? this.#network.freePort() : port;
    if (wanted !== this.#port) {
      const taken = this.#locals(wanted).some((local) => !this.#network.isFree(local));
      if (taken) return Promise.reject(new SystemError('in_use', `port ${wanted}`, EADDRINUSE, 'EADDRINUSE'));
      this.#unregister();
      this.#port = wanted;
      for (const local of this.#locals(wanted)) this.#network.register(this, local);
    }
    return Promise.resolve(wanted);
  }

  setMark(mark: number): void {
    this.#mark = mark;
  }

  close(): Promise<void> {
    this.#unregister();
    this.#waiting.length = 0;
    return Promise.resolve();
  }

  get lostSources(): number {
    return this.#sources.cleared;
  }

  routesChanged(): void {
    this.#sources.routesChanged();
  }

  onReadable(ready: () => void): void {
    this.#ready = ready;
  }

  /** Called by the network. */
  accept(datagram: WireDatagram): void {
    this.#waiting.push(datagram);
    this.#ready?.();
  }

  receive(batch: DatagramBatch): number {
    batch.clear();
    let at = this.#area;
    const limit = Math.min(BATCH_SIZE, batch.capacity);
    while (batch.count < limit) {
      const datagram = this.#waiting[0];
      if (!datagram || at + datagram.bytes.length > this.#area + AREA_SIZE) break;
      this.#waiting.shift();
      this.#arena.u8.set(datagram.bytes, at);
      const record = this.#endpoints + batch.count * ENDPOINT.size;
      const source = { address: datagram.to.address, interfaceIndex: 1 };
      encodeEndpoint({ ...datagram.from, source }, this.#arena.u8, record);
      batch.push(at, datagram.bytes.length, record, datagram.tos);
      at += datagram.bytes.length;
    }
    return batch.count;
  }

  send(batch: DatagramBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const at = batch.at[i] as number;
      const record = batch.endpoint[i] as number;
      this.#sources.check(record);
      const to = decodeEndpoint(this.#arena.u8, record);
      const from = to && this.#source(to, record);
      if (!to || !from || this.#port === 0) {
        this.sendErrors.unreachable++;
        continue;
      }
      const length = batch.length[i] as number;
      if (length > (MAX_PAYLOAD[to.address.length] as number)) {
        this.sendErrors.tooLarge++;
        continue;
      }
      const bytes = this.#arena.u8.slice(at, at + length);
      this.#network.send({ bytes, from, to, tos: batch.tos[i] as number });
    }
  }

  /** The sticky source while it exists; one that vanished is cleared from the record. */
  #source(to: Endpoint, record: number): Endpoint | undefined {
    const sticky = to.source?.address;
    if (sticky && !this.addresses.some((address) => addressesEqual(address, sticky))) {
      this.#sources.clear(record);
    } else if (sticky) {
      return { address: sticky, port: this.#port, scope: 0, carrier: 0 };
    }
    const address = this.addresses.find((local) => local.length === to.address.length);
    return address && { address, port: this.#port, scope: 0, carrier: 0 };
  }

  #locals(port: number): Endpoint[] {
    return this.addresses.map((address) => ({ address, port, scope: 0, carrier: 0 }));
  }

  #unregister(): void {
    if (this.#port !== 0) for (const local of this.#locals(this.#port)) this.#network.unregister(local);
    this.#port = 0;
  }
}
