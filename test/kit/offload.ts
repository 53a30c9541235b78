/** Segmenter and Coalescer over plain arrays, with guard zones around everything that they may write to. */
import assert from 'node:assert/strict';
import { Arena } from '../../src/core/arena.ts';
import { type Checksums, PortableChecksums } from '../../src/core/checksums.ts';
import { Coalescer, type CoalescerOptions } from '../../src/tun/offload/coalescer.ts';
import { Segmenter } from '../../src/tun/offload/segmenter.ts';
import type { PacketSink } from '../../src/tun/offload/sink.ts';
import { VIRTIO_SIZE, type VirtioHeader, decodeVirtio, encodeVirtio } from '../reference/tun/virtio.ts';

const MAX_READ = VIRTIO_SIZE + 65_535;
const GUARD = 64;
const GUARD_BYTE = 0xa5;

export class SegmenterBench {
  readonly arena: Arena = new Arena({ bytes: 1 << 19 });
  readonly segmenter: Segmenter;
  readonly #read: number;
  readonly #out: number;

  constructor(create: (arena: Arena) => Checksums = (arena) => new PortableChecksums(arena)) {
    this.segmenter = new Segmenter(this.arena, create(this.arena));
    this.#read = this.arena.alloc(6 + MAX_READ + 1 + GUARD) + 6;
    this.#out = this.arena.alloc(MAX_READ + 3 * GUARD) + GUARD;
  }

  /** All packets of a read, or undefined when it is refused. They are written at an offset from alignment. */
  split(header: VirtioHeader | Uint8Array, packet: Uint8Array, shift = 0): readonly Uint8Array[] | undefined {
    if (!this.start(header, packet)) {
      assert.equal(this.segmenter.nextLength, 0, 'a refused read has no packets');
      assert.equal(this.segmenter.next(this.#out), 0);
      return undefined;
    }
    const packets: Uint8Array[] = [];
    while (this.segmenter.nextLength > 0) packets.push(this.next(shift));
    assert.equal(this.segmenter.next(this.#out), 0, 'nothing is left');
    assert.equal(
      this.arena.u8[this.#read + VIRTIO_SIZE + packet.length],
      GUARD_BYTE,
      'written behind the read',
    );
    return packets;
  }

  /** Lays a read into the arena and offers it. */
  start(header: VirtioHeader | Uint8Array, packet: Uint8Array): boolean {
    const { u8 } = this.arena;
    u8.set(header instanceof Uint8Array ? header : encodeVirtio(header), this.#read);
    u8.set(packet, this.#read + VIRTIO_SIZE);
    u8.fill(
      GUARD_BYTE,
      this.#read + VIRTIO_SIZE + packet.length,
      this.#read + VIRTIO_SIZE + packet.length + GUARD,
    );
    return this.segmenter.start(this.#read, this.#read + VIRTIO_SIZE, packet.length);
  }

  /** The next packet, which must be as long as it was announced and written nowhere else. */
  next(shift = 0): Uint8Array {
    const { u8 } = this.arena;
    const at = this.#out + shift;
    const room = this.segmenter.nextLength;
    u8.fill(GUARD_BYTE, at - GUARD, at + room + GUARD);
    const length = this.segmenter.next(at);
    assert.equal(length, room, 'as long as it was announced');
    for (let i = 1; i <= GUARD; i++) {
      assert.equal(u8[at - i], GUARD_BYTE, `written ${i} before the room`);
      assert.equal(u8[at + length + i - 1], GUARD_BYTE, `written ${i} behind the room`);
    }
    return u8.slice(at, at + length);
  }
}

export interface Write {
  readonly header: VirtioHeader;
  readonly packet: Uint8Array;
}

/** Stands for the TUN: keeps what is written, and answers what the test wants. */
class CollectingSink implements PacketSink {
  readonly writes: Write[] = [];
  /** The result of the next write; what it is given by default is the length. */
  answer: (kind: 'single' | 'joined', header: VirtioHeader, length: number) => number = (_k, _h, length) =>
    length;
  readonly #arena: Arena;
  readonly #address: bigint;

  constructor(arena: Arena, address: number) {
    this.#arena = arena;
    this.#address = BigInt(address);
  }

  write(at: number, length: number): number {
    return this.#take('single', this.#arena.u8.slice(at, at + length));
  }

  writev(table: number, count: number, length: number): number {
    assert.ok(count >= 2, 'one piece needs no table');
    const pieces: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const base = this.#arena.view.getBigUint64(table + 16 * i, true) - this.#address;
      const size = this.#arena.view.getBigUint64(table + 16 * i + 8, true);
      assert.ok(base >= 0n && base + size <= BigInt(this.#arena.u8.length), 'a piece outside of the arena');
      pieces.push(this.#arena.u8.slice(Number(base), Number(base + size)));
    }
    const bytes = new Uint8Array(Buffer.concat(pieces));
    assert.equal(bytes.length, length, 'the pieces have the length that was given');
    return this.#take('joined', bytes);
  }

  #take(kind: 'single' | 'joined', bytes: Uint8Array): number {
    const header = decodeVirtio(bytes);
    const result = this.answer(kind, header, bytes.length);
    if (result >= 0) this.writes.push({ header, packet: bytes.slice(VIRTIO_SIZE) });
    return result;
  }
}

/** Where packets lie: behind a transport header, before a tag. */
const BEFORE = 16;
const BEHIND = 16;

export class CoalescerBench {
  readonly arena: Arena = new Arena({ bytes: 4 << 20 });
  readonly sink: CollectingSink;
  readonly coalescer: Coalescer;
  readonly #area: number;
  readonly #end: number;
  #cursor: number;
  readonly #laid: { readonly at: number; readonly packet: Uint8Array }[] = [];

  constructor(
    options: Partial<CoalescerOptions> = {},
    create: (arena: Arena) => Checksums = (arena) => new PortableChecksums(arena),
  ) {
    const address = options.address ?? 0x7f01_2345_6000;
    this.sink = new CollectingSink(this.arena, address);
    this.coalescer = new Coalescer(this.arena, create(this.arena), this.sink, {
      tcp: true,
      udp: true,
      ...options,
      address,
    });
    this.#area = this.arena.alloc(this.arena.free - GUARD);
    this.#end = this.arena.u8.length;
    this.#cursor = this.#area;
  }

  /** Lays the packet into the arena, `shift` bytes from alignment, and adds it. */
  add(packet: Uint8Array, shift = 0): void {
    const at = ((this.#cursor + BEFORE + 15) & ~15) + shift;
    this.#cursor = at + packet.length + BEHIND;
    if (this.#cursor > this.#end) throw new RangeError('the bench has no room for so many packets');
    this.arena.u8.fill(GUARD_BYTE, at - BEFORE, this.#cursor);
    this.arena.u8.set(packet, at);
    this.#laid.push({ at, packet });
    this.coalescer.add(at, packet.length);
  }

  /** Flushes, forgets the packets and looks for bytes that nobody may have touched. Returns what `flush` did. */
  flush(): number {
    const result = this.coalescer.flush();
    const { u8 } = this.arena;
    for (const { at, packet } of this.#laid) {
      for (let i = VIRTIO_SIZE + 1; i <= BEFORE; i++) assert.equal(u8[at - i], GUARD_BYTE, 'too far before');
      for (let i = 0; i < BEHIND; i++)
        assert.equal(u8[at + packet.length + i], GUARD_BYTE, 'behind a packet');
    }
    this.#laid.length = 0;
    this.#cursor = this.#area;
    return result;
  }

  /** Adds and flushes a batch; returns what was written for it, in order. */
  batch(packets: readonly Uint8Array[], shift = 0): readonly Write[] {
    for (const packet of packets) this.add(packet, shift);
    assert.equal(this.flush(), 0, 'nothing was refused');
    return this.sink.writes.splice(0);
  }
}
