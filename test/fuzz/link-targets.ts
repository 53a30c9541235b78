/** Decoders of SideroLink: URLs, tokens, documents, gRPC frames, protobuf messages, log lines, proxies' answers. */
import assert from 'node:assert/strict';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { duplexPair } from '../../src/link/duplex-pair.ts';
import { FrameParser, frameMessage } from '../../src/link/grpc-frame.ts';
import { percentDecode, percentEncode, readStatus, statusTrailers } from '../../src/link/grpc-status.ts';
import { formatSignedToken, parseJoinToken } from '../../src/link/join-token.ts';
import { formatJoinUrl, parseJoinUrl, redactJoinUrl } from '../../src/link/join-url.ts';
import { LineFramer } from '../../src/link/line-framer.ts';
import { readLogLine } from '../../src/link/log-line.ts';
import { peerPacketOverhead, readPeerPacket, writePeerPacketHeader } from '../../src/link/peer-packet.ts';
import { askProxy } from '../../src/link/proxy-handshake.ts';
import { parseProxy, proxyFor } from '../../src/link/proxy.ts';
import { kernelArgument, parseLinkDocuments } from '../../src/link/siderolink-config.ts';
import { parseTalosVersion, supportsSecureJoin } from '../../src/link/talos-version.ts';
import { formatUniqueToken, parseUniqueToken } from '../../src/link/unique-token.ts';
import { EventRequest } from '../../src/gen/events/events.ts';
import { ProvisionRequest, ProvisionResponse } from '../../src/gen/siderolink/provision.ts';
import { type FuzzTarget, bytesOf, chunksOf, orRefusal, textOf } from './target.ts';

const joinUrl: FuzzTarget = {
  name: 'join-url',
  maxBytes: 512,
  words: [
    'https://',
    'grpc://',
    '?jointoken=',
    '&grpc_tunnel=true',
    '%2B',
    '#',
    '[fd00::1]',
    ':443',
    '@',
    ';',
  ],
  seeds: () =>
    [
      'https://gw.example:8443/?jointoken=secret&grpc_tunnel=true',
      'grpc://[fd00::1]:8090?jointoken=v2%3AeyJ%2B%2F%3D%3D',
      '172.20.0.1:4000?jointoken=foo',
    ].map(bytesOf),
  prepare: () => (bytes) => {
    const text = textOf(bytes);
    const url = orRefusal(() => parseJoinUrl(text, 'join URL'));
    redactJoinUrl(text);
    if (!url) return;
    assert.ok(url.port >= 1 && url.port <= 65_535 && url.host !== '');
    const host = url.host.includes(':') ? `[${url.host}]` : url.host;
    const apiUrl = `${url.isPlaintext ? 'grpc' : 'https'}://${host}:${url.port}`;
    const printed = formatJoinUrl({ apiUrl, joinToken: url.joinToken, wantsTunnel: url.wantsTunnel });
    assert.deepEqual(parseJoinUrl(printed, 'join URL'), url, 'what was understood is understood again');
    if (url.joinToken !== undefined)
      assert.ok(redactJoinUrl(printed).endsWith('(hidden)') || url.joinToken === '');
  },
};

const joinToken: FuzzTarget = {
  name: 'join-token',
  words: ['v1:', 'v2:', 'eyJ', '=', '{"extra_data":{}}', '__proto__'],
  seeds: () => [
    bytesOf('plain-token'),
    bytesOf(formatSignedToken('v1', { 'omni.sidero.dev/infra-provider-id': 'p' }, 'secret')),
    bytesOf(formatSignedToken('v2', { a: 'b' }, 'secret')),
  ],
  prepare: () => (bytes) => {
    // A signed token is base64 of JSON, which no mutation of bytes keeps intact: such an input is the JSON itself.
    const text = textOf(bytes);
    for (const candidate of [text, `v2:${Buffer.from(bytes).toString('base64')}`]) {
      const token = orRefusal(() => parseJoinToken(candidate), SyntaxError);
      if (!token) continue;
      assert.ok(Object.values(token.extraData).every((value) => typeof value === 'string'));
      assert.ok(token.signature === undefined || token.signature.length === 32);
    }
  },
};

const uniqueToken: FuzzTarget = {
  name: 'unique-token',
  words: ['"Token"', '"Fingerprint"', '{', '}', ':', ',', 'null', '"__proto__"'],
  seeds: () => [bytesOf('{"Fingerprint":"f","Token":"t"}')],
  prepare: () => (bytes) => {
    const token = orRefusal(() => parseUniqueToken(textOf(bytes)), SyntaxError);
    if (token) assert.deepEqual(parseUniqueToken(formatUniqueToken(token)), token);
  },
};

const DOCUMENTS = `apiVersion: v1alpha1
kind: SideroLinkConfig
apiUrl: https://gw.example/?jointoken=secret&grpc_tunnel=true
uniqueToken: '{"Fingerprint":"f","Token":"t"}'
---
apiVersion: v1alpha1
kind: EventSinkConfig
endpoint: 192.168.10.3:3247
---
apiVersion: v1alpha1
kind: KmsgLogConfig
name: one
url: tcp://[fd00::1]:8092/
`;

const linkDocuments: FuzzTarget = {
  name: 'link-documents',
  words: [...DOCUMENTS.split('\n'), '---\n', '&a', '*a', '!!', '|', '>', '? ', '- ', '\t', '<<: *a'],
  seeds: () => [bytesOf(DOCUMENTS), bytesOf('a: &x [1, 2]\nb: *x\n')],
  prepare: () => (bytes) => {
    const documents = orRefusal(() => parseLinkDocuments(textOf(bytes), 'machine.yaml'));
    if (documents?.sideroLink) assert.equal(typeof documents.sideroLink.url.host, 'string');
  },
};

const kernelArguments: FuzzTarget = {
  name: 'kernel-arguments',
  words: ['siderolink.api=', '"', ' ', '\n'],
  seeds: () => [bytesOf('console=ttyS0 siderolink.api="grpc://gw:1?jointoken=a b" x=y\n')],
  prepare: () => (bytes) => {
    const value = kernelArgument(textOf(bytes), 'siderolink.api');
    assert.ok(value === undefined || !value.includes('"'));
  },
};

const proxyUrl: FuzzTarget = {
  name: 'proxy-url',
  maxBytes: 512,
  words: ['http://', 'socks5://', 'user:pass@', '%40', '%E0', ',', '*', '.', '10.0.0.0/8'],
  seeds: () =>
    ['http://me:s%40cret@proxy:1', 'socks5h://[fd00::1]:9', 'gw.example:443,10.0.0.0/8,*.b'].map(bytesOf),
  prepare: () => (bytes) => {
    const text = textOf(bytes);
    const proxy = orRefusal(() => parseProxy(text, 'HTTPS_PROXY'));
    if (proxy) assert.ok(proxy.port >= 0 && proxy.port <= 65_535 && proxy.host !== '');
    proxyFor('gw.example', 443, { httpsProxy: 'proxy:1', noProxy: text });
  },
};

const proxyAnswer: FuzzTarget = {
  name: 'proxy-answer',
  maxBytes: 20_000,
  words: ['HTTP/1.1 200 OK\r\n', '\r\n\r\n', '407'],
  seeds: () => [
    bytesOf('HTTP/1.1 200 Connection established\r\n\r\nrest'),
    bytesOf('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'),
    Uint8Array.of(5, 2, 1, 0, 5, 0, 0, 1, 1, 2, 3, 4, 0, 80, 9),
    Uint8Array.of(5, 0, 5, 0, 0, 3, 2, 97, 98, 0, 80),
  ],
  prepare: () => async (bytes) => {
    for (const scheme of ['http', 'socks5'] as const) {
      const [ours, theirs] = duplexPair();
      theirs.on('error', () => {}).resume();
      const proxy = { scheme, host: 'proxy', port: 1, username: 'u', password: 'p' };
      const asked = askProxy(ours, proxy, 'gw.example', 443).then(
        () => undefined,
        (error: unknown) => error,
      );
      for (const chunk of chunksOf(bytes)) theirs.write(chunk);
      theirs.end();
      const error = await asked;
      orRefusal(() => {
        if (error !== undefined) throw error;
      });
      ours.on('error', () => {}).destroy();
      theirs.destroy();
    }
  },
};

const MAX_MESSAGE = 4096;

/** Messages and how parsing ended. */
function parseFrames(chunks: readonly Uint8Array[]): unknown[] {
  const seen: unknown[] = [];
  const parser = new FrameParser(MAX_MESSAGE, (bytes, at, length) => {
    assert.ok(length <= MAX_MESSAGE && at + length <= bytes.length);
    seen.push(Buffer.from(bytes.slice(at, at + length)).toString('hex'));
  });
  let error: string | undefined;
  for (const chunk of chunks) error = parser.push(chunk);
  return [...seen, error ?? '', error === undefined && parser.isAtBoundary];
}

const grpcFrames: FuzzTarget = {
  name: 'grpc-frames',
  maxBytes: 16_384,
  seeds: () => [
    new Uint8Array(
      Buffer.concat([frameMessage(new Uint8Array(100)), frameMessage(new Uint8Array(3000).fill(7))]),
    ),
    frameMessage(new Uint8Array(0)),
  ],
  prepare: () => (bytes) => {
    const whole = parseFrames([bytes]);
    assert.deepEqual(parseFrames(chunksOf(bytes)), whole, 'where chunks end makes no difference');
    assert.deepEqual(parseFrames(Array.from(bytes, (byte) => Uint8Array.of(byte))), whole);
  },
};

/** By the reader of @bufbuild/protobuf; protobufjs takes a field of any wire type for the bytes that it expects. */
function peerPacketOf(message: Uint8Array): Uint8Array | undefined {
  const reader = new BinaryReader(message);
  let data = new Uint8Array(0);
  try {
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === 2 && wireType === WireType.LengthDelimited) data = reader.bytes().slice();
      else reader.skip(wireType, field);
    }
    return data;
  } catch {
    return undefined;
  }
}

const peerPackets: FuzzTarget = {
  name: 'peer-packets',
  seeds: () =>
    [1, 32, 127, 128, 1400].map((length) => {
      const message = new Uint8Array(peerPacketOverhead(length) - 5 + length);
      const framed = new Uint8Array(5 + message.length).fill(7);
      writePeerPacketHeader(framed, 0, length);
      return framed.slice(5);
    }),
  prepare: () => {
    const out = { at: 0, length: 0 };
    return (bytes) => {
      const surrounded = new Uint8Array(bytes.length + 16).fill(0x0a);
      surrounded.set(bytes, 8);
      const isRead = readPeerPacket(surrounded, 8, bytes.length, out);
      const expected = peerPacketOf(bytes);
      if (!isRead) return;
      assert.ok(out.at >= 8 && out.at + out.length <= 8 + bytes.length, 'a datagram outside of its message');
      // Ours refuses more than the other one (groups, overlong tags); what both take is the same.
      if (expected) assert.deepEqual(surrounded.slice(out.at, out.at + out.length), expected);
    };
  },
};

interface Codec<T> {
  decode(bytes: Uint8Array): T;
  encode(message: T): { finish(): Uint8Array };
}

function protobuf<T>(name: string, codec: Codec<T>, example: T): FuzzTarget {
  return {
    name,
    seeds: () => [codec.encode(example).finish()],
    // grpc-js turns what a decoder throws into a status, whatever it is.
    prepare: () => (bytes) => {
      const message = orRefusal(() => codec.decode(bytes), Error, RangeError, TypeError);
      if (message === undefined) return;
      const encoded = codec.encode(message).finish();
      assert.deepEqual(codec.decode(encoded), message, 'what was understood is understood again');
    },
  };
}

const provisionRequest = protobuf('provision-request', ProvisionRequest, {
  nodeUuid: '8bfa2a4e-1d5f-4b4b-8d35-0b9ad0d0a1f5',
  nodePublicKey: 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=',
  joinToken: 't',
  nodeUniqueToken: '{"Token":"t"}',
  talosVersion: 'v1.8.0',
  wireguardOverGrpc: true,
});

const provisionResponse = protobuf('provision-response', ProvisionResponse, {
  serverEndpoint: ['1.2.3.4:1', '[fd00::1]:2'],
  serverPublicKey: 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=',
  nodeAddressPrefix: 'fd00::2/64',
  serverAddress: 'fd00::1',
  grpcPeerAddrPort: '[fd00::3]:5',
});

const event = protobuf('event', EventRequest, {
  data: { typeUrl: 'talos/runtime/machine.SequenceEvent', value: Buffer.of(10, 1, 97) },
  id: 'id',
  actorId: 'actor',
});

const MAX_LINE = 64;

function frameLines(chunks: readonly Uint8Array[]): unknown[] {
  const seen: unknown[] = [];
  const framer = new LineFramer(MAX_LINE, {
    line: (line) => {
      assert.ok(line.length > 0 && line.length <= MAX_LINE);
      const body = textOf(line);
      const { time, level, facility, message } = readLogLine(body);
      for (const field of [time, level, facility, message]) assert.equal(typeof field, 'string');
      seen.push(body);
    },
    tooLong: (size) => {
      assert.ok(size > MAX_LINE);
      seen.push(size);
    },
  });
  for (const chunk of chunks) framer.push(chunk);
  framer.end();
  return seen;
}

const logLines: FuzzTarget = {
  name: 'log-lines',
  words: ['\n', '\r\n', '{"msg":"', '"talos-level":"info"', '}', 'null', '[]'],
  seeds: () =>
    [
      '{"talos-time":"t","talos-level":"info","facility":"kern","msg":"hi"}\nplain\r\n\n',
      `${'x'.repeat(200)}\nshort\n`,
    ].map(bytesOf),
  prepare: () => (bytes) => {
    assert.deepEqual(
      frameLines(chunksOf(bytes)),
      frameLines([bytes]),
      'where chunks end makes no difference',
    );
  },
};

const grpcStatus: FuzzTarget = {
  name: 'grpc-status',
  maxBytes: 512,
  words: ['%', '%25', '%C3%A9', '\u00e9', '%zz'],
  seeds: () => ['all well', 'h\u00e9llo %', '%E0%A4%A', '7'].map(bytesOf),
  prepare: () => (bytes) => {
    const text = textOf(bytes);
    percentDecode(text);
    assert.equal(percentDecode(percentEncode(text)), text);
    assert.match(percentEncode(text), /^[ -~]*$/);
    const status = readStatus({ 'grpc-status': text.slice(0, 3), 'grpc-message': text });
    if (status) assert.deepEqual(readStatus(statusTrailers(status)), status);
    parseTalosVersion(text);
    supportsSecureJoin(text);
  },
};

export const linkTargets: readonly FuzzTarget[] = [
  joinUrl,
  joinToken,
  uniqueToken,
  linkDocuments,
  kernelArguments,
  proxyUrl,
  proxyAnswer,
  grpcFrames,
  peerPackets,
  provisionRequest,
  provisionResponse,
  event,
  logLines,
  grpcStatus,
];
