/** Our pages, rules and dashboards, judged by Prometheus' own program. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deviceMetrics } from '../../../../src/app/metrics/device-metrics.ts';
import { processMetrics } from '../../../../src/app/metrics/process-metrics.ts';
import {
  NOW_MS,
  meteredDevice,
  meteredOptions,
  meteredPeer,
  promtool,
  samplesOf,
} from '../../../kit/metrics.ts';
import { requirePrograms } from '../../../kit/require-programs.ts';

const skip = requirePrograms('promtool');
const examples = fileURLToPath(new URL('../../../../../examples', import.meta.url));

/** A device with two named peers, a lane thread, and drops. */
async function devicePage(): Promise<string> {
  const peers = [1, 2].map((number) =>
    meteredPeer(number, { lastHandshakeMs: NOW_MS - 60_000, rxBytes: 1_000n, txBytes: 2_000n }),
  );
  const names = new Map(peers.map(({ publicKey }, i) => [publicKey.hex, ['phone', 'laptop'][i] as string]));
  const device = meteredDevice(peers, { dropped: () => 5n });
  device.handshakes.answered(20);
  const engine = () => ({ ...meteredOptions().engine(), laneThreads: [process.pid] });
  const options = meteredOptions({ names, engine, withMindFlavor: true });
  return Buffer.concat(await deviceMetrics(device, options)).toString();
}

const INSTANCE = 'job="wireguard",instance="localhost:9586"';

/** Samples as they look after ten scrapes, one a minute: what counts has grown by 600 each time. */
async function scraped(): Promise<{ series: string; values: string }[]> {
  const text = (await devicePage()) + (await processMetrics()());
  const counters = new Set(
    Array.from(text.matchAll(/^# TYPE (\S+) (?:counter|histogram)$/gm), ([, name]) => name),
  );
  return Array.from(samplesOf(text), ([sample, value]) => {
    const [, name = '', labels = ''] = /^([^{]*)(?:\{(.*)\})?$/.exec(sample) ?? [];
    const isCounter = counters.has(name.replace(/_(?:bucket|sum|count)$/, '')) || counters.has(name);
    return {
      series: `${name}{${labels === '' ? '' : `${labels},`}${INSTANCE}}`,
      values: `${Number(value)}+${isCounter ? 600 : 0}x10`,
    };
  });
}

interface RuleTest {
  readonly series: readonly { series: string; values: string }[];
  readonly expressions: readonly Expression[];
}

interface Expression {
  readonly expr: string;
  readonly samples: readonly { labels: string; value: number }[];
  /** Ten minutes by default. */
  readonly at?: string;
}

/** Runs one test of `promtool test rules`; throws with its words when something differs. */
function testRules(t: TestContext, { series, expressions }: RuleTest): void {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-promtool-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = {
    rule_files: [join(examples, 'prometheus', 'alerts.yml')],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: series,
        promql_expr_test: expressions.map(({ expr, samples, at = '10m' }) => ({
          expr,
          eval_time: at,
          exp_samples: samples,
        })),
      },
    ],
  };
  // JSON is YAML.
  writeFileSync(join(directory, 'test.yml'), JSON.stringify(file));
  promtool(['test', 'rules', join(directory, 'test.yml')]);
}

test('promtool: the page of a device is well formed and keeps the rules for names', { skip }, async () => {
  promtool(['check', 'metrics'], await devicePage());
});

test(
  'promtool: the queries that mdlayher/wireguard_exporter publishes beside dashboard 12177 find device and name of each peer',
  { skip },
  async (t) => {
    const key = (number: number) => meteredPeer(number).publicKey.base64;
    const labels = (number: number, name: string) =>
      `{device="wg0",${INSTANCE},name="${name}",public_key="${key(number)}"}`;
    const both = (value: number) => [
      { labels: labels(1, 'phone'), value },
      { labels: labels(2, 'laptop'), value },
    ];
    // As the exporter's README has them, the second in its older form, which dashboards of that time copied.
    const joined =
      '* on (public_key, device) group_left(name) wireguard_peer_info * on (instance) group_left(device) wireguard_device_info';
    const joinedOlder = joined.replace('(public_key, device)', '(public_key)');
    testRules(t, {
      series: await scraped(),
      expressions: [
        { expr: `irate(wireguard_peer_receive_bytes_total[5m]) ${joined}`, samples: both(10) },
        { expr: `irate(wireguard_peer_transmit_bytes_total[5m]) ${joined}`, samples: both(10) },
        { expr: `irate(wireguard_peer_receive_bytes_total[5m]) ${joinedOlder}`, samples: both(10) },
        {
          expr: 'count(wireguard_peer_allowed_ips_info{family="IPv4"})',
          samples: [{ labels: '{}', value: 2 }],
        },
        {
          expr: 'min(wireguard_peer_last_handshake_seconds)',
          samples: [{ labels: '{}', value: NOW_MS / 1_000 - 60 }],
        },
      ],
    });
  },
);

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

test('promtool: every query of our own dashboard has a result over our page', { skip }, async (t) => {
  const text = readFileSync(join(examples, 'grafana', 'culvert.json'), 'utf8');
  const { panels } = JSON.parse(text) as Dashboard;
  const queries = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  assert.ok(queries.length > 10);
  testRules(t, {
    series: await scraped(),
    expressions: queries.map((query) => {
      const expr = query.replaceAll('$__rate_interval', '5m').replaceAll(/\$(?:instance|device)/g, '.+');
      return { expr: `count(${expr}) > bool 0`, samples: [{ labels: '{}', value: 1 }] };
    }),
  });
});

test('promtool: the alert rules are valid', { skip }, () => {
  promtool(['check', 'rules', '--lint-fatal', join(examples, 'prometheus', 'alerts.yml')]);
  promtool(['check', 'config', '--syntax-only', join(examples, 'prometheus', 'prometheus.yml')]);
});

/** The labels of the alerts of one name that fire at a time; none by default. */
function firing(name: string, at: string, ...labels: string[]): Expression {
  const always = `ALERTS{alertname="${name}",alertstate="firing",${INSTANCE}`;
  return {
    expr: `ALERTS{alertname="${name}",alertstate="firing"}`,
    at,
    samples: labels.map((more) => ({ labels: `${always},${more}}`, value: 1 })),
  };
}

test('promtool: nothing alarms while all is well', { skip }, async (t) => {
  const names = [
    ...['CulvertDeviceDown', 'CulvertUnderLoad', 'CulvertHandshakesFail', 'CulvertEventLoopLate'],
    'CulvertQueueFull',
  ];
  const series = (await scraped()).filter(({ series: name }) => !name.includes('gave_up'));
  testRules(t, { series, expressions: names.map((name) => firing(name, '10m')) });
});

test('promtool: what is down, silent, dropping, full or late alarms', { skip }, (t) => {
  const device = 'device="wg0"';
  const peer = `${device},public_key="${meteredPeer(1).publicKey.base64}"`;
  const queue = (figure: string, name: string) =>
    `culvert_queue_${figure}{${INSTANCE},${device},queue="${name}",unit="bytes"}`;
  const drop = (reason: string) =>
    `culvert_dropped_packets_total{${INSTANCE},${device},direction="in",reason="${reason}"}`;
  testRules(t, {
    series: [
      { series: `culvert_device_up{${INSTANCE},${device}}`, values: '1 1 0x20' },
      { series: `culvert_under_load{${INSTANCE},${device}}`, values: '0x4 1x20' },
      { series: `wireguard_peer_last_handshake_seconds{${INSTANCE},${peer}}`, values: '60x30' },
      { series: queue('depth', 'udp4_in'), values: '0x4 90x20' },
      { series: queue('capacity', 'udp4_in'), values: '100x30' },
      { series: queue('depth', 'staged'), values: '70x30' },
      { series: queue('capacity', 'staged'), values: '100x30' },
      { series: drop('bad_tag'), values: '0+6000x30' },
      { series: drop('no_route'), values: '0+6000x30' },
      { series: `nodejs_eventloop_lag_p99_seconds{${INSTANCE}}`, values: '0.9x30' },
      { series: `culvert_build_info{${INSTANCE},version="1"}`, values: '1x30' },
    ],
    expressions: [
      firing('CulvertDeviceDown', '3m'),
      firing('CulvertDeviceDown', '4m', `${device},severity="critical"`),
      firing('CulvertUnderLoad', '8m'),
      firing('CulvertUnderLoad', '10m', `${device},severity="warning"`),
      firing('CulvertQueueFull', '9m'),
      firing('CulvertQueueFull', '10m', `${device},queue="udp4_in",severity="warning",unit="bytes"`),
      firing('CulvertPeerSilent', '6m'),
      firing('CulvertPeerSilent', '14m', `${peer},severity="warning"`),
      firing('CulvertDropsRising', '20m', `${device},direction="in",reason="bad_tag",severity="warning"`),
      firing('CulvertEventLoopLate', '10m', 'version="1",severity="warning"'),
    ],
  });
});
