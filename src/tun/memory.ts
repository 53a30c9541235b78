/** A TUN in memory: for tests, and for the demonstration where there are no rights. */
import type { Arena } from '../core/arena.ts';
import { PORT_GONE, PORT_REFUSED, type PacketPort, type Tun, type TunEvents } from './tun.ts';

export class MemoryTun implements Tun, PacketPort {
  readonly name: string;
  readonly packets: PacketPort = this;
  readonly #arena: Arena;
  readonly #waiting: Uint8Array[] = [];
  /** Copies of what the device delivered, oldest first, unless somebody takes them. */
  readonly delivered: Uint8Array[] = [];
  /** Takes a copy of each packet in its place. Must not throw, and injects in a later turn only. */
  take: ((packet: Uint8Array) => void) | undefined;
  malformed = 0;
  #events: TunEvents | undefined;
  #ready: (() => void) | undefined;
  #mtu: number;
  #isUp = false;
  #isClosed = false;

  constructor(arena: Arena, name: string, mtu = 1420) {
    this.#arena = arena;
    this.name = name;
    this.#mtu = mtu;
  }

  get mtu(): number {
    return this.#mtu;
  }

  /** An application sends a packet into the tunnel. */
  inject(...packets: readonly Uint8Array[]): void {
    this.#waiting.push(...packets);
    this.#ready?.();
  }

  setLink(up: boolean): void {
    if (up === this.#isUp) return;
    this.#isUp = up;
    this.#events?.onLink(up);
  }

  setMtu(mtu: number): void {
    if (mtu === this.#mtu) return;
    this.#mtu = mtu;
    this.#events?.onMtu(mtu);
  }

  /** As if somebody deleted the interface. */
  vanish(): void {
    const events = this.#events;
    this.close();
    events?.onGone('the interface was deleted');
  }

  watch(events: TunEvents): void {
    this.#events = events;
    events.onLink(this.#isUp);
  }

  close(): void {
    this.#isClosed = true;
    this.#events = undefined;
    this.#ready = undefined;
  }

  onReadable(ready: (() => void) | undefined): void {
    this.#ready = ready;
    if (this.#waiting.length > 0) ready?.();
  }

  read(at: number, capacity: number): number {
    if (this.#isClosed) return PORT_GONE;
    let packet = this.#waiting.shift();
    for (; packet && packet.length > capacity; packet = this.#waiting.shift()) this.malformed++;
    if (!packet) return 0;
    this.#arena.u8.set(packet, at);
    return packet.length;
  }

  write(at: number, length: number): number {
    if (this.#isClosed) return PORT_GONE;
    if (!this.#isUp) return PORT_REFUSED;
    const packet = this.#arena.u8.slice(at, at + length);
    if (this.take) this.take(packet);
    else this.delivered.push(packet);
    return length;
  }

  flush(): number {
    return 0;
  }
}
