/** docs/LIMITS.md against the source: every row says what the constant behind it says. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Rows by their first cell, and the constants that they tell of: `FILE CONSTANT` or `FILE member`, below src. */
const ROWS: Readonly<Record<string, readonly string[]>> = {
  peers: ['tunnel/device.ts MAX_PEERS'],
  'packets waiting for a session, each peer': ['noise/constants.ts MAX_STAGED_PACKETS'],
  'packets waiting for a session, all peers': ['tunnel/lane/outbound.ts MAX_STAGED_BYTES'],
  'handshake messages waiting': ['tunnel/handshake-queue.ts MAX_QUEUED_HANDSHAKES'],
  'sources in the rate limiter': ['tunnel/rate-limiter.ts MAX_SOURCES', 'tunnel/rate-limiter.ts IDLE_MS'],
  'handshake messages on their way from a lane thread': [
    'tunnel/lane/worker-protocol.ts MAX_HANDSHAKES_IN_FLIGHT',
  ],
  'confirmations and endpoints on their way from inbound to outbound, with two lanes': [
    'tunnel/lane/lane-news.ts CAPACITY',
  ],
  'cookie replies to one source': [
    'tunnel/rate-limiter.ts INITIATIONS_PER_SECOND',
    'tunnel/rate-limiter.ts INITIATIONS_BURST',
  ],
  'handshakes of one source under load': [
    'tunnel/rate-limiter.ts INITIATIONS_PER_SECOND',
    'tunnel/rate-limiter.ts INITIATIONS_BURST',
  ],
  'accepted initiations of one peer': ['noise/constants.ts INITIATION_GAP'],
  'own initiations to one peer': ['noise/constants.ts REKEY_TIMEOUT'],
  'replay window': ['noise/constants.ts REPLAY_WINDOW'],
  'ICMP errors about unroutable packets': [
    'tunnel/lane/outbound.ts ICMP_BURST',
    'tunnel/lane/outbound.ts ICMP_WINDOW_MS',
  ],
  datagram: ['tunnel/linux-datagrams.ts MAX_DATAGRAM', 'tunnel/bind-memory.ts MAX_DATAGRAM'],
  'datagrams received by node:dgram and not yet taken': ['tunnel/bind-dgram.ts MAX_WAITING_BYTES'],
  'commands to a lane thread and events from it, each way': ['tunnel/lane/channel.ts CAPACITY'],
  'datagrams between lane and gRPC streams, each way': [
    'tunnel/datagram-ring.ts CAPACITY',
    'tunnel/stream-bridge.ts HANDSHAKE_ROOM',
  ],
  'bytes of one gRPC stream on their way into its socket': [
    'link/in-flight.ts MIN_IN_FLIGHT',
    'link/in-flight.ts MAX_IN_FLIGHT',
    'link/in-flight.ts FAST_MS',
    'link/in-flight.ts MAX_EXTRA_IN_FLIGHT',
    'link/packet-queue.ts DATA_PLACES',
    'link/packet-queue.ts HANDSHAKE_PLACES',
  ],
  'remembered checks of sticky sources': ['tunnel/sticky-sources.ts PLACES'],
  'packets joined for one TUN write': ['tun/offload/open-packet.ts MAX_SEGMENTS'],
  'flows with a packet that waits to be joined': ['tun/offload/coalescer.ts MAX_OPEN_PACKETS'],
  "a lane's warm-up at its start": [
    'tunnel/lane/warm-up.ts REHEARSALS',
    'tunnel/lane/warm-up.ts REHEARSAL_MS',
    'tunnel/lane/warm-up.ts MAX_ROUNDS',
    'tunnel/lane/warm-up.ts ARENA_BYTES',
  ],
  'TUN MTU': ['tun/linux.ts MAX_MTU'],
  'line of a UAPI request': ['tunnel/uapi-errno.ts lineBytes'],
  'UAPI request': ['tunnel/uapi-errno.ts requestBytes'],
  'different warnings remembered, so that each is logged once a minute': ['app/log.ts MAX_REMEMBERED'],
  'connections to the metrics server': ['app/metrics/device-server.ts MAX_CONNECTIONS'],
  'peers in metrics, unless `--metrics-per-peer on`': ['app/metrics/device-metrics.ts MAX_PEERS_AUTO'],
  'configuration file': ['app/config/config-file.ts MAX_BYTES'],
  'clients of a status or reload socket': ['app/agent/status-socket.ts MAX_CONNECTIONS'],
  'clients of one UAPI socket': ['tunnel/uapi-socket.ts MAX_CLIENTS'],
  'input of an admin operation': ['app/gateway/admin-socket.ts MAX_INPUT_BYTES'],
  'clients of the admin socket, of the metrics port': [
    'app/gateway/admin-socket.ts MAX_CONNECTIONS',
    'app/metrics/device-server.ts MAX_CONNECTIONS',
  ],
  'connections to the HTTP API': ['app/api/server.ts MAX_CONNECTIONS'],
  'clients that watch (server-sent events)': ['app/api/server.ts MAX_STREAMS'],
  'looking for changes, while somebody watches': ['app/api/serve-api.ts TURN_MS'],
  'body, head of an HTTP request': ['app/api/server.ts MAX_BODY_BYTES', 'app/api/server.ts MAX_HEADER_BYTES'],
  'time for an HTTP request to arrive': [
    'app/api/server.ts REQUEST_TIMEOUT_MS',
    'app/metrics/device-server.ts REQUEST_TIMEOUT_MS',
  ],
  'machines or peers in one answer': ['app/api/route.ts MAX_ROWS_PER_ANSWER'],
  'entries in one answer about logs or events': ['app/gateway/admin-operations.ts MAX_ENTRIES'],
  'events of one machine': ['app/gateway/reports.ts EVENT_LIMIT'],
  'kernel log of one machine': ['app/gateway/reports.ts LOG_LIMIT'],
  'machines that wait for acceptance': ['app/gateway/live-config.ts MAX_PENDING'],
  'connections to one `--expose` service': ['app/agent/expose.ts MAX_CONNECTIONS'],
  'events of `culvert join` that wait for the sink': ['app/agent/machine-events.ts MAX_WAITING_EVENTS'],
  'kernel log lines in the socket to the receiver': ['app/agent/log-sender.ts MAX_BUFFERED'],
  'time for a hook': ['app/agent/hooks.ts HOOK_TIMEOUT_MS'],
  'clients of `culvert relay`': [
    'app/relay/relay-client.ts MAX_CLIENTS',
    'app/relay/relay-client.ts IDLE_AFTER_MS',
  ],
  'streams of `culvert serve --relay-to`': [
    'link/relay-server.ts MAX_STREAMS',
    'link/relay-server.ts IDLE_AFTER_MS',
  ],
  'bytes in a UDP socket of the relay, either end': [
    'app/relay/relay-client.ts MAX_UDP_QUEUED',
    'link/relay-server.ts MAX_UDP_QUEUED',
  ],
  'gRPC connections': ['link/grpc-limits.ts maxConnections'],
  'new gRPC connections of one source (IPv6: one /64)': ['link/grpc-limits.ts connectionRate'],
  'a connection without its first call, TLS handshake included': [
    'link/grpc-connections.ts FIRST_CALL_TIMEOUT_MS',
    'link/grpc-front.ts TLS_HANDSHAKE_TIMEOUT_MS',
  ],
  'a connection without open calls': ['link/grpc-connections.ts IDLE_AFTER_MS'],
  'a connection that is silent in a call': [
    'link/grpc-connections.ts PING_AFTER_MS',
    'link/grpc-connections.ts PING_TIMEOUT_MS',
  ],
  'calls of one source that open no tunnel': ['link/grpc-limits.ts callRate'],
  'refused or reset calls, and pings, of one connection': ['link/grpc-limits.ts strikeRate'],
  'calls that the library has and has not answered': ['link/grpc-limits.ts maxCalls'],
  'such a call': ['link/grpc-handoff.ts CALL_TIMEOUT_MS'],
  'streams of one connection': ['link/grpc-front.ts MAX_CONCURRENT_STREAMS'],
  'header list of a call': ['link/grpc-limits.ts MAX_HEADER_BYTES'],
  'request of such a call, packed and unpacked': ['link/grpc-limits.ts MAX_REQUEST_BYTES'],
  'datagrams ahead in a tunnel stream, to us': [
    'link/grpc-front.ts STREAM_WINDOW',
    'link/grpc-front.ts SESSION_WINDOW',
  ],
  'datagrams on their way to a client': ['link/in-flight.ts MIN_IN_FLIGHT'],
  'log lines about refused Provisions': ['link/gateway.ts REFUSAL_LOG_LIMIT'],
  'log connections of one machine': ['link/log-receiver.ts MAX_CONNECTIONS_PER_MACHINE'],
  'log line': ['link/log-receiver.ts MAX_LINE_LENGTH'],
  'log lines and events in memory, not yet on disk': ['link/sqlite-journal.ts MAX_BUFFERED'],
  'log lines and events on disk': [
    'link/journal.ts maxEntries',
    'link/journal.ts maxAgeMs',
    'link/journal.ts maxTotalBytes',
  ],
};

/** Rows without a constant of their own, and why. */
const OTHERS: Readonly<Record<string, string>> = {
  'bandwidth, all peers and each peer': 'a setting',
  'metrics pages in the making': 'one promise',
  'keys of sessions, WebAssembly AEAD': 'what is left of a page of memory: test/unit/wasm/aead.test.ts',
  'Provision calls of one source': 'a setting; the table of sources is that of the token buckets',
};

const OPERATORS: Readonly<Record<string, (a: number, b: number) => number>> = {
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '**': (a, b) => a ** b,
  '<<': (a, b) => a << b,
};

const sources = new Map<string, string>();

/** The numbers of a constant, an object of numbers included. Constants of the same file in it are followed. */
function valuesOf(place: string): number[] {
  const [file = '', name = ''] = place.split(' ');
  const text = sources.get(file) ?? readFileSync(join(root, 'src', file), 'utf8');
  sources.set(file, text);
  const [, expression = ''] =
    new RegExp(`(?:const ${name}(?:: \\w+)? =|^ {2}${name}:) (\\{[^}]*\\}|[^;,\\n]+)`, 'm').exec(text) ?? [];
  const parts = expression.startsWith('{')
    ? Array.from(expression.matchAll(/: ([^,}]+)/g), ([, part = '']) => part)
    : [expression];
  return parts.map((part) => {
    assert.notEqual(part, '', `${place} is no constant there`);
    const [first = '', ...rest] = part
      .trim()
      .replaceAll('_', '')
      .split(/ (\*\*|[*/]|<<) /);
    let value = Number(first);
    for (let i = 0; i < rest.length; i += 2)
      value = OPERATORS[rest[i] as string]?.(value, Number(rest[i + 1])) ?? NaN;
    assert.ok(Number.isFinite(value), `${place} is arithmetic of numbers: "${expression}"`);
    return value;
  });
}

/** How a number may be written. */
function formsOf(value: number): string[] {
  const grouped = value.toLocaleString('en-US');
  const units: readonly (readonly [number, string])[] = [
    [1_024, 'KiB'],
    [1_024 ** 2, 'MiB'],
    [1_024 ** 3, 'GiB'],
    [1, 'ms'],
    [1_000, 's'],
    [60_000, 'min'],
    [86_400_000, 'days'],
  ];
  const scaled = units
    .filter(([size]) => value % size === 0)
    .map(([size, unit]) => `${value / size} ${unit}`);
  return [grouped, String(value), ...scaled];
}

function rowsOf(): Map<string, string> {
  const text = readFileSync(join(root, 'docs', 'LIMITS.md'), 'utf8');
  const rows = [...text.matchAll(/^\| (.+?) \| (.+) \|$/gm)].filter(([, what]) => what !== 'what');
  return new Map(rows.map(([, what = '', rest = '']) => [what, rest]));
}

test('limits: every row of docs/LIMITS.md has its constant, or a reason for having none', () => {
  assert.deepEqual(
    [...rowsOf().keys()].toSorted(),
    [...Object.keys(ROWS), ...Object.keys(OTHERS)].toSorted(),
  );
});

test('limits: docs/LIMITS.md says what the constants say', () => {
  const rows = rowsOf();
  for (const [what, places] of Object.entries(ROWS))
    for (const place of places)
      for (const value of valuesOf(place)) {
        const row = rows.get(what) ?? '';
        const isThere = formsOf(value).some((form) =>
          new RegExp(`(?<![\\d,.])${form}(?![\\d,]\\d)`).test(row),
        );
        assert.ok(isThere, `"${what}" says "${row}"; ${place} is ${value}`);
      }
});
