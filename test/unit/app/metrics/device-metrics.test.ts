import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  MINDFLAVOR_FAMILIES,
  OWN_FAMILIES,
  PEER_FAMILIES,
} from '../../../../src/app/metrics/device-families.ts';
import {
  type DeviceMetricsOptions,
  MAX_PEERS_AUTO,
  type MeteredDevice,
  deviceMetrics,
} from '../../../../src/app/metrics/device-metrics.ts';
import { escapeLabel } from '../../../../src/app/metrics/exposition.ts';
import { outerQueues, QUEUE_NAMES } from '../../../../src/app/queues.ts';
import { parseAddress, parsePrefix } from '../../../../src/core/ip.ts';
import type { Prefix } from '../../../../src/core/ip.ts';
import { PublicKey } from '../../../../src/noise/keys.ts';
import type { Endpoint } from '../../../../src/tunnel/endpoint.ts';
import { HandshakeStats } from '../../../../src/tunnel/handshake-stats.ts';
import { DROP_REASONS } from '../../../../src/tunnel/lane/drops.ts';
import {
  NO_FIGURES,
  NOW_MS,
  meteredDevice,
  meteredOptions,
  meteredPeer,
  samplesOf,
} from '../../../kit/metrics.ts';

async function page(device: MeteredDevice, options: Partial<DeviceMetricsOptions> = {}): Promise<string> {
  return Buffer.concat(await deviceMetrics(device, meteredOptions(options))).toString();
}

function endpoint(address: string, port: number): Endpoint {
  return { address: parseAddress(address) as Uint8Array, port, scope: 0, carrier: 0 };
}

const key = (byte: number) => new PublicKey(new Uint8Array(32).fill(byte));

test('metrics: the families of mdlayher/wireguard_exporter have its names, labels and values', async () => {
  const prefixes = ['192.168.1.0/24', '2001:db8::/32'].map((text) => parsePrefix(text) as Prefix);
  const peer = meteredPeer(0, {
    publicKey: key(3),
    endpoint: endpoint('fd00::1', 51820),
    lastHandshakeMs: 10_900,
    rxBytes: 1n,
    txBytes: 2n ** 60n + 1n,
    allowedIps: prefixes,
  });
  const samples = samplesOf(await page(meteredDevice([peer]), { names: new Map([[key(3).hex, 'foo']]) }));
  const labels = `device="wg0",public_key="${key(3).base64}"`;
  assert.equal(samples.get(`wireguard_device_info{device="wg0",public_key="${key(1).base64}"}`), '1');
  assert.equal(samples.get(`wireguard_peer_info{${labels},endpoint="[fd00::1]:51820",name="foo"}`), '1');
  for (const [text, family] of [
    ['192.168.1.0/24', 'IPv4'],
    ['2001:db8::/32', 'IPv6'],
  ]) {
    const name = `wireguard_peer_allowed_ips_info{${labels},allowed_ips="${text}",family="${family}"}`;
    assert.equal(samples.get(name), '1');
  }
  assert.equal(samples.get(`wireguard_peer_receive_bytes_total{${labels}}`), '1');
  assert.equal(samples.get(`wireguard_peer_transmit_bytes_total{${labels}}`), String(2n ** 60n + 1n));
  assert.equal(samples.get(`wireguard_peer_last_handshake_seconds{${labels}}`), '10');
});

test('metrics: a peer without endpoint, name and handshake has empty labels and the time 0, as there', async () => {
  const samples = samplesOf(await page(meteredDevice([meteredPeer(0, { publicKey: key(3) })])));
  const labels = `device="wg0",public_key="${key(3).base64}"`;
  assert.equal(samples.get(`wireguard_peer_info{${labels},endpoint="",name=""}`), '1');
  assert.equal(samples.get(`wireguard_peer_last_handshake_seconds{${labels}}`), '0');
});

test('metrics: the families of MindFlavor come on request, with a delay only where there was a handshake', async () => {
  const peers = [
    meteredPeer(1, { publicKey: key(3), lastHandshakeMs: NOW_MS - 7_000, rxBytes: 5n, txBytes: 6n }),
    meteredPeer(2),
  ];
  const without = await page(meteredDevice(peers));
  assert.ok(!without.includes('wireguard_sent_bytes_total'));
  const options = { withMindFlavor: true, names: new Map([[key(3).hex, 'OnePlus 6T']]) };
  const samples = samplesOf(await page(meteredDevice(peers), options));
  const labels = `interface="wg0",public_key="${key(3).base64}",allowed_ips="10.0.0.1/32",friendly_name="OnePlus 6T"`;
  assert.equal(samples.get(`wireguard_sent_bytes_total{${labels}}`), '6');
  assert.equal(samples.get(`wireguard_received_bytes_total{${labels}}`), '5');
  assert.equal(samples.get(`wireguard_latest_handshake_seconds{${labels}}`), String(NOW_MS / 1_000 - 7));
  assert.equal(samples.get(`wireguard_latest_handshake_delay_seconds{${labels}}`), '7');
  const delays = [...samples.keys()].filter((name) => name.includes('_delay_seconds'));
  assert.equal(delays.length, 1);
});

test('metrics: peers are active while their handshake is younger than 180 s, then stale', async () => {
  const ages = [0, 179_999, 180_000, 1_000_000];
  const peers = ages.map((age, i) => meteredPeer(i, { lastHandshakeMs: NOW_MS - age }));
  const samples = samplesOf(await page(meteredDevice([...peers, meteredPeer(9)])));
  assert.equal(samples.get('culvert_peers{device="wg0",state="active"}'), '2');
  assert.equal(samples.get('culvert_peers{device="wg0",state="stale"}'), '2');
  assert.equal(samples.get('culvert_peers{device="wg0",state="never"}'), '1');
});

test('metrics: every drop reason is a label, with its direction', async () => {
  const device = meteredDevice([], { dropped: (reason) => BigInt(DROP_REASONS.indexOf(reason)) });
  const samples = samplesOf(await page(device));
  for (const [index, reason] of DROP_REASONS.entries()) {
    const directions = ['in', 'out'].filter(
      (direction) =>
        samples.get(
          `culvert_dropped_packets_total{device="wg0",direction="${direction}",reason="${reason}"}`,
        ) === String(index),
    );
    assert.equal(directions.length, 1, reason);
  }
  assert.ok(samples.has('culvert_dropped_packets_total{device="wg0",direction="out",reason="no_route"}'));
  assert.ok(samples.has('culvert_dropped_packets_total{device="wg0",direction="in",reason="bad_tag"}'));
});

test('metrics: handshakes are counted by role and result, and their duration is a histogram', async () => {
  const handshakes = new HandshakeStats();
  handshakes.initiationsSent = 4;
  handshakes.answered(1);
  handshakes.answered(40);
  handshakes.answered(7_000);
  handshakes.gaveUp = 1;
  handshakes.completedAsResponder = 9;
  const samples = samplesOf(await page(meteredDevice([], { handshakes })));
  const result = (role: string, text: string) =>
    samples.get(`culvert_handshakes_total{device="wg0",role="${role}",result="${text}"}`);
  assert.equal(result('initiator', 'completed'), '3');
  assert.equal(result('initiator', 'gave_up'), '1');
  assert.equal(result('responder', 'completed'), '9');
  assert.equal(samples.get('culvert_handshake_initiations_total{device="wg0",direction="out"}'), '4');
  const bucket = (le: string) =>
    samples.get(`culvert_handshake_duration_seconds_bucket{device="wg0",le="${le}"}`);
  assert.deepEqual(['0.001', '0.025', '0.05', '5', '+Inf'].map(bucket), ['1', '1', '2', '2', '3']);
  assert.equal(samples.get('culvert_handshake_duration_seconds_count{device="wg0"}'), '3');
  assert.equal(samples.get('culvert_handshake_duration_seconds_sum{device="wg0"}'), '7.041');
});

test('metrics: backends and lanes are told, and the CPU time of a lane thread that exists', async () => {
  const engine = () => ({ ...meteredOptions().engine(), transport: '', laneThreads: [process.pid, 0] });
  const samples = samplesOf(await page(meteredDevice([]), { engine }));
  assert.equal(samples.get('culvert_engine_info{device="wg0",lanes="worker",tun="tcp_and_udp"}'), '1');
  assert.equal(samples.get('culvert_crypto_backend_info{device="wg0",op="x25519",backend="node"}'), '1');
  const names = [...samples.keys()];
  // It is not known while it is being chosen.
  assert.ok(!names.some((name) => name.includes('op="transport"')));
  assert.ok(Number(samples.get('culvert_lane_cpu_seconds_total{device="wg0",lane="0"}')) > 0);
  assert.ok(!names.some((name) => name.includes('lane="1"')));
});

test('metrics: every queue tells depth and capacity in its unit, and what found it full where that is known', async () => {
  const sockets = [
    {
      family: 4 as const,
      receive: { depth: 10, capacity: 1_000, dropped: 7 },
      send: { depth: 20, capacity: 2_000, dropped: undefined },
    },
  ];
  const queues = outerQueues({
    tun: { depth: undefined, capacity: 500, dropped: 3 },
    sockets,
    streams: undefined,
  });
  const figures = {
    ...NO_FIGURES,
    stagedPackets: 4,
    stagedPeers: 2,
    stagedBytes: 400,
    handshakesInFlight: 5,
    sendErrors: { full: 1, tooLarge: 2, unreachable: 3, other: 4 },
  };
  const device = meteredDevice([], {
    laneFigures: () => figures,
    queuedHandshakes: 6,
    dropped: (reason) => ({ staged_overflow: 8n, handshake_queue_full: 9n })[reason as string] ?? 0n,
  });
  const engine = () => ({ ...meteredOptions().engine(), queues, gro: 'failed' as const });
  const samples = samplesOf(await page(device, { engine }));
  const rows = (family: string) =>
    [...samples].flatMap(([name, value]) => {
      const [, queue] =
        new RegExp(`^${family}\\{device="wg0",queue="(\\w+)"(?:,unit="\\w+")?\\}$`).exec(name) ?? [];
      return queue === undefined ? [] : [`${queue} ${value}`];
    });
  assert.deepEqual(rows('culvert_queue_depth'), [
    ...['staged 400', 'udp4_out 20', 'udp4_in 10', 'handshake_in_flight 5', 'handshake 6'],
  ]);
  assert.deepEqual(rows('culvert_queue_capacity'), [
    ...['tun 500', 'staged 67108864', 'udp4_out 2000', 'udp4_in 1000'],
    ...['handshake_in_flight 1024', 'handshake 1024'],
  ]);
  assert.deepEqual(rows('culvert_queue_dropped_total'), ['tun 3', 'staged 8', 'udp4_in 7', 'handshake 9']);
  assert.equal(samples.get('culvert_queue_depth{device="wg0",queue="udp4_in",unit="bytes"}'), '10');
  assert.equal(samples.get('culvert_staged_packets{device="wg0"}'), '4');
  assert.equal(samples.get('culvert_staged_peers{device="wg0"}'), '2');
  const errors = ['full', 'too_large', 'unreachable', 'other'].map((cause) =>
    samples.get(`culvert_send_errors_total{device="wg0",cause="${cause}"}`),
  );
  assert.deepEqual(errors, ['1', '2', '3', '4']);
  assert.equal(samples.get('culvert_udp_offload_info{device="wg0",offload="gso",state="on"}'), '1');
  assert.equal(samples.get('culvert_udp_offload_info{device="wg0",offload="gro",state="failed"}'), '1');
});

test('metrics: lanes on the control thread have no handshakes in flight', async () => {
  const device = meteredDevice([], { laneFigures: () => ({ ...NO_FIGURES, handshakesInFlight: undefined }) });
  const names = [...samplesOf(await page(device)).keys()];
  assert.ok(!names.some((name) => name.includes('handshake_in_flight')));
});

test('metrics: above 2000 peers those of peers are left out, unless asked for', async () => {
  const many = Array.from({ length: MAX_PEERS_AUTO + 1 }, (_, i) => meteredPeer(i));
  const count = async (peers: typeof many, perPeer: 'auto' | 'on' | 'off') =>
    [...samplesOf(await page(meteredDevice(peers), { perPeer })).keys()].filter((name) =>
      name.startsWith('wireguard_peer_receive_bytes_total'),
    ).length;
  assert.equal(await count(many, 'auto'), 0);
  assert.equal(await count(many, 'on'), many.length);
  assert.equal(await count(many.slice(1), 'auto'), MAX_PEERS_AUTO);
  assert.equal(await count(many.slice(0, 3), 'off'), 0);
});

test('metrics: the event loop gets its turn after every 100 peers', async () => {
  const peers = Array.from({ length: 1_000 }, (_, i) => meteredPeer(i));
  let taken = 0;
  let slice = 0;
  const device = meteredDevice(peers, {
    peerStates: function* () {
      for (const peer of peers) {
        taken++;
        yield peer;
      }
    },
  });
  const pause = () => {
    assert.ok(taken - slice <= 100, `${taken - slice} peers in one turn`);
    slice = taken;
    return Promise.resolve();
  };
  await page(device, { pause });
  assert.equal(taken, 1_000);
  assert.ok(taken - slice <= 100);
});

test('metrics: all samples of a family stand together below its one header', async () => {
  const peers = Array.from({ length: 250 }, (_, i) => meteredPeer(i, { lastHandshakeMs: NOW_MS }));
  const text = await page(meteredDevice(peers), { withMindFlavor: true });
  const seen = new Set<string>();
  let current = '';
  for (const line of text.trimEnd().split('\n')) {
    const head = /^# (?:HELP|TYPE) (\S+)/.exec(line)?.[1];
    const name = head ?? (/^[a-z_0-9]+/.exec(line)?.[0] as string);
    if (head !== undefined && head !== current) {
      assert.ok(!seen.has(head), `${head} begins again`);
      seen.add(head);
      current = head;
    }
    assert.ok(name.startsWith(current), line);
  }
  assert.ok(seen.size > 15);
});

test('metrics: what could break out of a label is escaped', () => {
  assert.equal(escapeLabel('a"b\\c\nd'), String.raw`a\"b\\c\nd`);
  assert.equal(escapeLabel('café 中'), 'café 中');
});

test('metrics: docs/METRICS.md lists every family, queue and drop reason, and nothing else of this device', () => {
  const text = readFileSync(
    fileURLToPath(new URL('../../../../../docs/METRICS.md', import.meta.url)),
    'utf8',
  );
  const [, section = ''] = /## A device\n(.*?)(?=\n## |$)/s.exec(text) ?? [];
  const listed = new Set(
    Array.from(section.matchAll(/^\| `([a-z_0-9]+)` \|/gm), ([, name]) => name as string),
  );
  const families = [PEER_FAMILIES, MINDFLAVOR_FAMILIES, OWN_FAMILIES].flatMap((table) =>
    Object.values(table).map(({ name }) => name),
  );
  assert.deepEqual(listed, new Set([...families, ...QUEUE_NAMES, ...DROP_REASONS]));
});
