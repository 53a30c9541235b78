/** Datagrams across the rings between lane and streams, both halves on one thread: what each direction costs. */
import { Arena } from '../../src/core/arena.ts';
import { DatagramBatch } from '../../src/tunnel/bind.ts';
import { encodeEndpoint, ENDPOINT, GRPC_CARRIER } from '../../src/tunnel/endpoint.ts';
import { RingBridge, type StreamSource } from '../../src/tunnel/stream-bridge.ts';
import { StreamPort } from '../../src/tunnel/stream-port.ts';
import { type Row, formatRow, timings } from '../../src/app/bench/measure.ts';

/** Datagrams of the overlay's MTU, and acknowledgments. */
const SIZES = [112, 1312] as const;
const BATCH = 64;

export function benchStreamBridge(say: (line: string) => void): readonly Row[] {
  const rows: Row[] = [];
  for (const size of SIZES) {
    const scene = new Scene(size);
    const measured = timings([() => scene.toLane(), () => scene.toStreams()]);
    for (const [i, { ns, spread }] of measured.entries()) {
      const operation = `${i === 0 ? 'streams to lane' : 'lane to streams'} ${size} B`;
      const row: Row = { operation, backend: 'ring', ns: ns / BATCH, spread, bytes: size };
      rows.push(row);
      say(formatRow(row));
    }
  }
  return rows;
}

class Scene {
  readonly #size: number;
  readonly #bridge: RingBridge;
  readonly #port: StreamPort;
  readonly #batch = new DatagramBatch(BATCH);
  readonly #sent = new DatagramBatch(BATCH);
  readonly #record = new Uint8Array(ENDPOINT.size);
  /** Of a stream: all datagrams behind each other. */
  readonly #chunk: Uint8Array;
  readonly #out = Buffer.alloc(16_384);
  #received = 0;
  #soon: () => void = () => {};

  constructor(size: number) {
    const arena = new Arena({ bytes: 8 << 20, shared: true });
    const sendErrors = { full: 0, tooLarge: 0, unreachable: 0, other: 0 };
    this.#size = size;
    this.#chunk = new Uint8Array(BATCH * size).fill(4);
    this.#port = new StreamPort({ arena, sendErrors, wakeStreams: () => {} });
    this.#bridge = new RingBridge({
      arena,
      soon: (task) => (this.#soon = task),
      defer: () => {},
      wakeLane: () => {},
    });
    this.#bridge.use(this.#port.ringsAt);
    this.#bridge.connect(this.#source());
    const virtual = new Uint8Array(16).fill(0xfd);
    encodeEndpoint({ address: virtual, port: 1, scope: 0, carrier: GRPC_CARRIER }, this.#record, 0);
    const endpoint = arena.alloc(ENDPOINT.size);
    arena.u8.set(this.#record, endpoint);
    const area = arena.alloc(BATCH * size);
    arena.u8.fill(4, area, area + BATCH * size);
    for (let i = 0; i < BATCH; i++) this.#sent.push(area + i * size, size, endpoint, 0, i);
  }

  /** A copy, as every stream makes one. */
  #source(): StreamSource {
    return {
      send: (_endpoint, _endpointAt, bytes, at, length) => {
        this.#out.set(bytes.subarray(at, at + length), 0);
        this.#received++;
      },
      flush: () => {},
      pull: () => {},
    };
  }

  toLane(): void {
    for (let i = 0; i < BATCH; i++)
      this.#bridge.deliver(this.#record, this.#chunk, i * this.#size, this.#size);
    this.#soon();
    if (this.#port.receive(this.#batch) !== BATCH) throw new Error('datagrams were lost');
  }

  toStreams(): void {
    this.#port.send(this.#sent);
    this.#received = 0;
    this.#bridge.turn();
    if (this.#received !== BATCH) throw new Error('datagrams were lost');
  }
}
