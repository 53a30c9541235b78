/** A packet(7) socket: sends whole packets out of an interface and sees those that came in by it. */
import { libc } from '../../src/sys/libc.ts';
import { Block } from '../../src/sys/memory.ts';

const AF_PACKET = 17;
const SOCK_DGRAM_NONBLOCK = 2 | 0o4000;
const ETH_P_ALL = 3;
/** struct sockaddr_ll: family 0, protocol 2 (big endian), ifindex 4, pkttype 10. */
const SOCKADDR_LL_SIZE = 20;
const PACKET_OUTGOING = 4;
/** Reported once for every time that the interface was down in between. */
const ENETDOWN = 100;

export class PacketSocket {
  readonly #fd: number;
  readonly #address = new Block(SOCKADDR_LL_SIZE + 4);
  readonly #packet = new Block(65_536);
  readonly #recvfrom = libc()
    .koffi.load(null)
    .func(
      'int64_t recvfrom(int fd, int64_t buffer, int64_t size, int flags, int64_t address, int64_t length)',
    );

  /** To be made inside the namespace of the interface. */
  constructor(interfaceIndex: number) {
    this.#fd = libc().socket(AF_PACKET, SOCK_DGRAM_NONBLOCK, ETH_P_ALL << 8);
    this.#setAddress(interfaceIndex, ETH_P_ALL);
    if (this.#fd < 0 || libc().bind(this.#fd, this.#address.address, SOCKADDR_LL_SIZE) < 0) {
      throw new Error(`no packet socket: errno ${libc().errno()}`);
    }
  }

  #setAddress(interfaceIndex: number, protocol: number): void {
    this.#address.u8.fill(0);
    this.#address.view.setUint16(0, AF_PACKET, true);
    this.#address.view.setUint16(2, protocol);
    this.#address.view.setInt32(4, interfaceIndex, true);
  }

  /** The interface sends the packet, as if an application had. */
  send(packet: Uint8Array): void {
    this.#packet.u8.set(packet);
    for (let attempt = 0; attempt < 2; attempt++) {
      if (libc().send(this.#fd, this.#packet.address, packet.length, 0) >= 0) return;
      if (libc().errno() !== ENETDOWN) break;
    }
    throw new Error(`the interface does not send: errno ${libc().errno()}`);
  }

  /** Packets that came in by the interface since the last call. */
  received(): Uint8Array[] {
    const packets: Uint8Array[] = [];
    const lengthAt = SOCKADDR_LL_SIZE;
    for (;;) {
      this.#address.view.setUint32(lengthAt, SOCKADDR_LL_SIZE, true);
      const size = this.#recvfrom(
        this.#fd,
        this.#packet.address,
        this.#packet.size,
        0,
        this.#address.address,
        this.#address.address + lengthAt,
      ) as number;
      if (size < 0 && libc().errno() === ENETDOWN) continue;
      if (size < 0) return packets;
      if (this.#address.u8[10] !== PACKET_OUTGOING) packets.push(this.#packet.u8.slice(0, size));
    }
  }

  close(): void {
    libc().close(this.#fd);
  }
}
