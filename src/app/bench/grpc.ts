/** WireGuard datagrams as gRPC messages: framing alone, and through an HTTP/2 stream over loopback in this process. */
import { once } from 'node:events';
import { type ClientHttp2Stream, connect, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { AppError } from '../../core/errors.ts';
import { FrameParser } from '../../link/grpc-frame.ts';
import {
  MAX_PEER_PACKET_SIZE,
  type Slice,
  peerPacketOverhead,
  readPeerPacket,
  writePeerPacketHeader,
} from '../../link/peer-packet.ts';
import { type Row, type Step, timings } from './measure.ts';

/** A packet of 1420 bytes with WireGuard's header and tag, and one of 100. */
const SIZES = [132, 1452];
/** What the streams of the gateway and the agent send at once. */
const CHUNK_BYTES = 16_384;
const STREAM_MS = 1_000;
const STREAM_RUNS = 3;

export function grpcSteps(rounds?: number): Step[] {
  return SIZES.flatMap((size) => [
    { label: `framing of ${size} B`, run: () => framing(size, rounds) },
    { label: `HTTP/2 of ${size} B`, run: () => stream(size) },
  ]);
}

/** As many whole messages as fit into a chunk. */
function fill(chunk: Uint8Array, size: number): { readonly bytes: number; readonly messages: number } {
  let at = 0;
  let messages = 0;
  for (; at + peerPacketOverhead(size) + size <= chunk.length; messages++)
    at = writePeerPacketHeader(chunk, at, size) + size;
  return { bytes: at, messages };
}

function framing(size: number, rounds: number | undefined): Row[] {
  const chunk = new Uint8Array(CHUNK_BYTES);
  const { bytes, messages } = fill(chunk, size);
  const slice: Slice = { at: 0, length: 0 };
  let seen = 0;
  const parser = new FrameParser(MAX_PEER_PACKET_SIZE, (message, at, length) => {
    if (readPeerPacket(message, at, length, slice) && slice.length === size) seen++;
  });
  const whole = chunk.subarray(0, bytes);
  const [write, read] = timings([() => fill(chunk, size), () => parser.push(whole)], rounds);
  if (!write || !read || seen % messages !== 0)
    throw new AppError('internal', 'the parser did not find the messages');
  const row = (operation: string, { ns, spread }: typeof write): Row => ({
    operation: `${operation} ${size} B`,
    backend: 'framing',
    ns: ns / messages,
    spread,
    bytes: size,
    unit: 'packets/s',
  });
  return [row('write message', write), row('read message', read)];
}

async function stream(size: number): Promise<Row[]> {
  const rates: number[] = [];
  for (let i = 0; i < STREAM_RUNS; i++) rates.push(await streamOnce(size));
  rates.sort((a, b) => a - b);
  const median = rates[STREAM_RUNS >> 1] as number;
  return [
    {
      operation: `stream of ${size} B`,
      backend: 'HTTP/2, loopback',
      ns: median,
      spread: ((rates.at(-1) as number) - (rates[0] as number)) / median,
      bytes: size,
      unit: 'packets/s',
    },
  ];
}

/** Nanoseconds of a datagram, both ends in this thread. */
async function streamOnce(size: number): Promise<number> {
  const slice: Slice = { at: 0, length: 0 };
  let received = 0;
  const server = createServer();
  server.on('stream', (incoming) => {
    const parser = new FrameParser(MAX_PEER_PACKET_SIZE, (message, at, length) => {
      if (readPeerPacket(message, at, length, slice)) received++;
    });
    incoming.respond({ ':status': 200, 'content-type': 'application/grpc' });
    incoming.on('data', (chunk: Uint8Array) => parser.push(chunk)).on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    const outgoing = session.request({ ':method': 'POST', ':path': '/bench' });
    await once(outgoing, 'response');
    const start = performance.now();
    await pump(outgoing, size, start + STREAM_MS);
    const elapsed = performance.now() - start;
    if (received === 0) throw new AppError('internal', 'nothing came through the stream');
    return (elapsed * 1e6) / received;
  } finally {
    session.destroy();
    server.close();
  }
}

async function pump(stream: ClientHttp2Stream, size: number, until: number): Promise<void> {
  while (performance.now() < until) {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    const { bytes } = fill(chunk, size);
    if (!stream.write(chunk.subarray(0, bytes))) await once(stream, 'drain');
  }
}
