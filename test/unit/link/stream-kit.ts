// Streams without HTTP/2: a carrier that records, and packets as a machine sends them.
import assert from 'node:assert/strict';
import { FrameParser } from '../../../src/link/grpc-frame.ts';
import type { Status } from '../../../src/link/grpc-status.ts';
import {
  MAX_PEER_PACKET_SIZE,
  peerPacketOverhead,
  readPeerPacket,
  writePeerPacketHeader,
} from '../../../src/link/peer-packet.ts';
import { type DatagramSink, StreamTable } from '../../../src/link/stream-table.ts';
import type { StreamCarrier, TunnelStream } from '../../../src/link/tunnel-stream.ts';
import { decodeEndpoint, formatEndpoint } from '../../../src/tunnel/endpoint.ts';
import { parseSocketAddress } from '../../../src/core/ip.ts';

/** A transport data message, or one of another type, that says its number. */
export function datagram(n: number, size = 64, type = 4): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(4, n);
  return bytes;
}

export function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(4);
}

/** The gRPC message of a datagram. */
export function framed(bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(peerPacketOverhead(bytes.length) + bytes.length);
  frame.set(bytes, writePeerPacketHeader(frame, 0, bytes.length));
  return frame;
}

/** Collects the datagrams of a byte stream. */
export function unframer(): { push: (chunk: Uint8Array) => void; datagrams: Uint8Array[] } {
  const datagrams: Uint8Array[] = [];
  const slice = { at: 0, length: 0 };
  const parser = new FrameParser(MAX_PEER_PACKET_SIZE, (bytes, at, length) => {
    assert.ok(readPeerPacket(bytes, at, length, slice));
    datagrams.push(Uint8Array.from(bytes.subarray(slice.at, slice.at + slice.length)));
  });
  return { push: (chunk) => assert.equal(parser.push(chunk), undefined), datagrams };
}

export class FakeCarrier implements StreamCarrier {
  readonly #out = unframer();
  stream: TunnelStream | undefined;
  /** Chunks written and not yet taken by the wire. */
  pending = 0;
  /** The wire takes everything at once. */
  isFast = true;
  status: Status | undefined;
  writes = 0;

  write(chunk: Uint8Array): void {
    assert.equal(this.status, undefined, 'written after the end');
    this.#out.push(chunk);
    this.writes++;
    this.pending++;
    if (this.isFast) this.take();
  }

  isPaused = false;
  setPaused(isPaused: boolean): void {
    this.isPaused = isPaused;
  }

  /** The wire takes what is pending. */
  take(chunks = Infinity): void {
    for (let i = 0; i < chunks && this.pending > 0; i++) {
      this.pending--;
      this.stream?.written();
    }
  }

  end(status: Status): void {
    this.status ??= status;
  }

  get sent(): Uint8Array[] {
    return this.#out.datagrams;
  }

  get sentNumbers(): number[] {
    return this.sent.map(numberOf);
  }
}

/** A sink with a given room. */
export class FakeSink implements DatagramSink {
  room = Infinity;
  readonly received: { from: string; bytes: Uint8Array }[] = [];

  deliver(endpoint: Uint8Array, bytes: Uint8Array, at: number, length: number): boolean {
    if (this.room === 0) return false;
    this.room--;
    const from = decodeEndpoint(endpoint, 0);
    assert.ok(from);
    this.received.push({
      from: formatEndpoint(from),
      bytes: Uint8Array.from(bytes.subarray(at, at + length)),
    });
    return true;
  }

  get numbers(): number[] {
    return this.received.map(({ bytes }) => numberOf(bytes));
  }
}

export class TestTable {
  readonly sink = new FakeSink();
  readonly table = new StreamTable(this.sink);

  constructor(isStarted = true) {
    if (isStarted) this.table.start();
  }

  /** The peer `name` may open a stream under its virtual endpoint, which is returned. */
  allow(name: string): string {
    const header = endpointOf(name);
    this.table.allow(`key ${name}`, header);
    return header;
  }

  /** Opens a stream that has to be admitted. */
  open(header: string, lane = 0): FakeCarrier {
    const carrier = new FakeCarrier();
    const opened = this.table.open({ header, lane }, carrier);
    assert.ok(!('code' in opened), JSON.stringify(opened));
    carrier.stream = opened;
    return carrier;
  }

  refusal(header: string | undefined, lane = 0): Status {
    const opened = this.table.open({ header, lane }, new FakeCarrier());
    assert.ok('code' in opened);
    return opened;
  }

  send(header: string, bytes: Uint8Array, flow = 0): void {
    const to = parseSocketAddress(header);
    assert.ok(to);
    // Somewhere inside a larger record, as in the arena.
    const record = new Uint8Array(24);
    record.set(to.address, 8);
    this.table.send(record, 8, to.port, bytes, 0, bytes.length, flow);
  }
}

export function endpointOf(name: string): string {
  return `[fdae:41e4:649b:9304::${name}]:50889`;
}
