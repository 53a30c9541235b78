// What people do to a gRPC port, byte by byte: each flood is what it writes after a connection is open.
import { gzipSync } from 'node:zlib';
import { framed } from '../unit/link/stream-kit.ts';

export const GOOD_HEADER = '[fdae:41e4:649b:9304::1]:50889';
export const FLOODED_HEADER = '[fdae:41e4:649b:9304::2]:50889';

const PREFACE: Buffer = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from('000000040000000000', 'hex'),
]);

const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, continuation: 9 } as const;
const END_STREAM = 1;
const END_HEADERS = 4;

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK without indexing or compression (RFC 7541, section 6.2.2). */
function field(name: string, value: string): Buffer {
  const length = (size: number) => {
    if (size < 127) return Buffer.of(size);
    const bytes = [127];
    let rest = size - 127;
    for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
    return Buffer.from([...bytes, rest]);
  };
  return Buffer.concat([
    Buffer.of(0),
    length(name.length),
    Buffer.from(name),
    length(value.length),
    Buffer.from(value),
  ]);
}

function callHeaders(path: string, more: Readonly<Record<string, string>> = {}): Buffer {
  const fields = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    ':authority': 'gateway',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  };
  return Buffer.concat(Object.entries(fields).map(([name, value]) => field(name, value)));
}

const PROVISION = '/sidero.link.ProvisionService/Provision';
const CREATE_STREAM = '/sidero.link.WireGuardOverGRPCService/CreateStream';

function grpcMessage(bytes: Uint8Array, isCompressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(isCompressed ? 1 : 0, 0);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

const provisionHeaders = callHeaders(PROVISION);
/** A UUID, a key that is none, and a token that nobody has. */
const badProvision: Buffer = grpcMessage(
  Buffer.concat([
    Buffer.of(0x0a, 36),
    Buffer.from('11111111-2222-3333-4444-555555555555'),
    Buffer.of(0x1a, 5),
    Buffer.from('wrong'),
    Buffer.of(0x2a, 6),
    Buffer.from('v1.9.0'),
  ]),
);

/** DATA frames of at most 16 KiB. */
function data(stream: number, bytes: Uint8Array, flags: number): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 16_384) {
    const isLast = at + 16_384 >= bytes.length;
    frames.push(frame(FRAME.data, isLast ? flags : 0, stream, bytes.subarray(at, at + 16_384)));
  }
  return Buffer.concat(frames);
}

export interface Flood {
  /** Sockets open at the same time; one that is closed is opened anew. */
  readonly connections: number;
  /** How often `next` is called on a connection; absent: as long as it takes them. */
  readonly bursts?: number;
  /** What is sent behind the preface, `sequence` counting up from 0 on each connection. */
  readonly next: (sequence: number) => Buffer | undefined;
  /** Things sent with one burst. */
  readonly size: number;
  readonly hasNoPreface?: boolean;
  readonly readsNothing?: boolean;
  readonly isTls?: boolean;
}

const many = (count: number, one: (n: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, n) => one(n)));
const streamId = (sequence: number, size: number, n: number) => 2 * (sequence * size + n) + 1;

export const FLOODS: Readonly<Record<string, Flood>> = {
  'bad Provisions': {
    connections: 20,
    size: 20,
    next: (sequence) =>
      many(20, (n) => {
        const id = streamId(sequence, 20, n);
        return Buffer.concat([
          frame(FRAME.headers, END_HEADERS, id, provisionHeaders),
          data(id, badProvision, END_STREAM),
        ]);
      }),
  },
  'half-open connections': {
    connections: 10_000,
    size: 1,
    bursts: 0,
    hasNoPreface: true,
    next: () => undefined,
  },
  'half-open calls': {
    connections: 40,
    size: 250,
    bursts: 1,
    next: () => many(250, (n) => frame(FRAME.headers, END_HEADERS, 2 * n + 1, provisionHeaders)),
  },
  'half-open TLS handshakes': {
    connections: 2_000,
    size: 1,
    bursts: 1,
    hasNoPreface: true,
    isTls: true,
    next: () => Buffer.from('16030102000100', 'hex'),
  },
  'streams of nobody': {
    connections: 20,
    size: 20,
    next: (sequence) => {
      const headers = callHeaders(CREATE_STREAM, {
        'x-siderolink-ipv6-addr': '[fdae:41e4:649b:9304::dead]:1',
      });
      return many(20, (n) => frame(FRAME.headers, END_HEADERS, streamId(sequence, 20, n), headers));
    },
  },
  'rapid resets': {
    connections: 10,
    size: 100,
    next: (sequence) =>
      many(100, (n) => {
        const id = streamId(sequence, 100, n);
        return Buffer.concat([
          frame(FRAME.headers, END_HEADERS, id, provisionHeaders),
          frame(FRAME.reset, 0, id, Buffer.of(0, 0, 0, 8)),
        ]);
      }),
  },
  'endless header blocks': {
    connections: 10,
    size: 16,
    next: (sequence) =>
      Buffer.concat([
        sequence === 0 ? frame(FRAME.headers, 0, 1, field(':method', 'POST')) : Buffer.alloc(0),
        many(16, (n) => frame(FRAME.continuation, 0, 1, field(`x-${sequence}-${n}`, 'x'.repeat(1_000)))),
      ]),
  },
  'slow headers': {
    connections: 2_000,
    size: 1,
    bursts: 1,
    next: () => frame(FRAME.headers, 0, 1, field(':method', 'POST')),
  },
  pings: {
    connections: 10,
    size: 200,
    readsNothing: true,
    next: () => many(200, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))),
  },
  settings: {
    connections: 10,
    size: 200,
    readsNothing: true,
    next: () => many(200, () => frame(FRAME.settings, 0, 0, Buffer.alloc(0))),
  },
  'huge metadata': {
    connections: 10,
    size: 10,
    next: (sequence) =>
      many(10, (n) => {
        const headers = callHeaders(PROVISION, { 'x-filler': 'x'.repeat(16_000) });
        return Buffer.concat([
          frame(FRAME.headers, 0, streamId(sequence, 10, n), headers.subarray(0, 16_000)),
          frame(FRAME.continuation, END_HEADERS, streamId(sequence, 10, n), headers.subarray(16_000)),
        ]);
      }),
  },
  'huge requests': {
    connections: 10,
    size: 4,
    next: (sequence) =>
      many(4, (n) => {
        const id = streamId(sequence, 4, n);
        const bytes = grpcMessage(new Uint8Array(65_000));
        return Buffer.concat([frame(FRAME.headers, END_HEADERS, id, provisionHeaders), data(id, bytes, 0)]);
      }),
  },
  'compressed bombs': {
    connections: 10,
    size: 1,
    next: (sequence) => {
      const id = streamId(sequence, 1, 0);
      const headers = callHeaders(PROVISION, { 'grpc-encoding': 'gzip' });
      return Buffer.concat([frame(FRAME.headers, END_HEADERS, id, headers), data(id, BOMB, END_STREAM)]);
    },
  },
  /** Sends through the tunnel and takes none of the echoes. */
  'slow reader': {
    connections: 1,
    size: 100,
    readsNothing: true,
    next: (sequence) =>
      Buffer.concat([
        sequence === 0
          ? frame(
              FRAME.headers,
              END_HEADERS,
              1,
              callHeaders(CREATE_STREAM, { 'x-siderolink-ipv6-addr': FLOODED_HEADER }),
            )
          : Buffer.alloc(0),
        data(
          1,
          many(100, () => Buffer.from(framed(DATAGRAM))),
          0,
        ),
      ]),
  },
};

const BOMB: Buffer = grpcMessage(gzipSync(Buffer.alloc(32 * 1024 * 1024)), true);
const DATAGRAM: Uint8Array = Uint8Array.of(4, 0, 0, 0, ...new Uint8Array(1_308));

export { PREFACE };
