/** Splitting and joining of TUN super-packets, per packet, and the checksum sums that they stand on. */
import { Arena } from '../../src/core/arena.ts';
import { type Checksums, PortableChecksums } from '../../src/core/checksums.ts';
import { Coalescer } from '../../src/tun/offload/coalescer.ts';
import { Segmenter } from '../../src/tun/offload/segmenter.ts';
import { VIRTIO_NET_HDR } from '../../src/tun/offload/virtio.ts';
import { wasmChecksums } from '../../src/wasm/checksums.ts';
import { type Row, formatRow, nanoseconds } from '../../src/app/bench/measure.ts';

/** Full segments of TCP with timestamps over IPv4, at the usual MTU of 1420. */
const HEADERS = 52;
const PAYLOAD = 1368;
const PACKET = HEADERS + PAYLOAD;
/** As many as fit into 65,535 bytes. */
const SEGMENTS = 47;
const STRIDE = 1536;
const FLOWS = 4;

const BACKENDS: readonly (readonly [string, (arena: Arena) => Checksums])[] = [
  ['wasm', (arena) => wasmChecksums(arena)],
  ['portable', (arena) => new PortableChecksums(arena)],
];

export function benchOffload(say: (line: string) => void): readonly Row[] {
  const rows: Row[] = [];
  for (const [backend, create] of BACKENDS) {
    for (const row of measure(new Scene(create))) {
      rows.push({ backend, ...row });
      say(formatRow({ backend, ...row }));
    }
  }
  return rows;
}

function* measure(scene: Scene): Generator<Omit<Row, 'backend'>> {
  const { checksums, packets, acknowledgment } = scene;
  const copy = packets + SEGMENTS * STRIDE;
  yield {
    operation: `sum ${PAYLOAD} B`,
    ns: nanoseconds(() => checksums.sum(packets + HEADERS, PAYLOAD)),
    bytes: PAYLOAD,
  };
  yield {
    operation: `copySum ${PAYLOAD} B`,
    ns: nanoseconds(() => checksums.copySum(copy, packets + HEADERS, PAYLOAD)),
    bytes: PAYLOAD,
  };
  const ns = nanoseconds(() => scene.split(0)) / SEGMENTS;
  yield { operation: `split TCP, ${PACKET} B`, ns, bytes: PACKET };
  for (const flows of [1, FLOWS]) {
    for (let flow = 0; flow < flows; flow++) scene.split(flow);
    const ns = nanoseconds(() => scene.join(flows)) / (SEGMENTS * flows);
    yield { operation: `join TCP, ${PACKET} B, flows: ${flows}`, ns, bytes: PACKET };
  }
  yield { operation: 'pass an acknowledgment', ns: nanoseconds(() => scene.pass(acknowledgment)) };
}

class Scene {
  readonly checksums: Checksums;
  /** The packets of all flows, one area behind the other. */
  readonly packets: number;
  readonly acknowledgment: number;
  readonly #arena = new Arena({ bytes: 2 << 20 });
  readonly #read: number;
  readonly #segmenter: Segmenter;
  readonly #coalescer: Coalescer;
  readonly #heads: Uint8Array[] = [];
  #written = 0;

  constructor(create: (arena: Arena) => Checksums) {
    const arena = this.#arena;
    this.checksums = create(arena);
    this.#segmenter = new Segmenter(arena, this.checksums);
    const count = (_at: number, length: number) => (this.#written += length);
    const sink = { write: count, writev: (at: number, _count: number, length: number) => count(at, length) };
    this.#coalescer = new Coalescer(arena, this.checksums, sink, { address: 0, tcp: true, udp: true });
    this.#read = arena.alloc(1 << 16) + 6;
    this.acknowledgment = arena.alloc(128) + 16;
    arena.u8.set(tcpHeaders(0, HEADERS), this.acknowledgment);
    this.packets = arena.alloc(FLOWS * SEGMENTS * STRIDE) + 16;
    arena.u8.fill(0x5a, this.#read, this.#read + (1 << 16) - 6);
    for (let flow = 0; flow < FLOWS; flow++) {
      this.split(flow);
      const at = this.#area(flow);
      this.#heads.push(arena.u8.slice(at, at + HEADERS));
    }
  }

  /** One read of the TUN becomes packets. */
  split(flow: number): void {
    const length = HEADERS + SEGMENTS * PAYLOAD;
    this.#arena.u8.set(VIRTIO_HEADER, this.#read);
    this.#arena.u8.set(SUPER_HEADERS[flow] as Uint8Array, this.#read + VIRTIO_NET_HDR.size);
    if (!this.#segmenter.start(this.#read, this.#read + VIRTIO_NET_HDR.size, length))
      throw new Error('the read was refused');
    let at = this.#area(flow);
    while (this.#segmenter.next(at) > 0) at += STRIDE;
  }

  /** The packets of some flows, in turns, become one for each. */
  join(flows: number): void {
    for (let i = 0; i < SEGMENTS; i++)
      for (let flow = 0; flow < flows; flow++) this.#coalescer.add(this.#area(flow) + i * STRIDE, PACKET);
    this.#coalescer.flush();
    const expected = flows * (VIRTIO_NET_HDR.size + HEADERS + SEGMENTS * PAYLOAD);
    if (this.#written !== expected) throw new Error('the packets were not joined');
    this.#written = 0;
    for (let flow = 0; flow < flows; flow++)
      this.#arena.u8.set(this.#heads[flow] as Uint8Array, this.#area(flow));
  }

  pass(at: number): void {
    this.#coalescer.add(at, HEADERS);
    this.#written = 0;
  }

  #area(flow: number): number {
    return this.packets + flow * SEGMENTS * STRIDE;
  }
}

/** IPv4 and TCP with timestamps, ACK only; the checksums are left to the segmenter. */
function tcpHeaders(flow: number, length: number): Uint8Array {
  const bytes = new Uint8Array(HEADERS);
  const view = new DataView(bytes.buffer);
  bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
  view.setUint16(2, length);
  view.setUint16(20, 5000 + flow);
  bytes.set([8 << 4, 0x10, 1, 0], 32);
  bytes.set([1, 1, 8, 10], 40);
  return bytes;
}

const SUPER_HEADERS = Array.from({ length: FLOWS }, (_, flow) =>
  tcpHeaders(flow, HEADERS + SEGMENTS * PAYLOAD),
);

/** NEEDS_CSUM, TCPV4, and where the transport header and its checksum are. */
const VIRTIO_HEADER = Uint8Array.of(1, 1, HEADERS, 0, PAYLOAD & 0xff, PAYLOAD >> 8, 20, 0, 16, 0);
