import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { readExpiry } from '../../../../src/app/commands/token.ts';
import type { EntryView, MachineView, TokenView } from '../../../../src/app/gateway/admin-views.ts';
import { joinView } from '../../../../src/app/gateway/join-view.ts';
import {
  formatAgo,
  formatEntry,
  formatMachine,
  formatMachines,
} from '../../../../src/app/gateway/machine-text.ts';
import { formatJoin, gatewaySummary, formatSummary } from '../../../../src/app/gateway/print-out.ts';
import { formatTokens } from '../../../../src/app/gateway/token-text.ts';
import { parseJoinUrl } from '../../../../src/link/join-url.ts';
import {
  chooseJoinSource,
  kernelArgument,
  parseLinkDocuments,
} from '../../../../src/link/siderolink-config.ts';
import { documentedMembers } from '../../../kit/json-reference.ts';
import { token } from '../../link/provision-kit.ts';
import { CONFIG, startTestGateway } from './kit.ts';

const NOW = Date.parse('2026-01-02T00:00:00Z');
const VIEW: MachineView = {
  id: 'a-machine',
  uuid: 'a-machine',
  state: 'connected',
  pendingReason: null,
  transport: 'udp',
  address: 'fdae:41e4:649b:9303::7',
  publicKey: 'KEY',
  endpoint: '192.0.2.1:5',
  lastHandshake: '2026-01-01T23:59:48Z',
  rxBytes: 1_500,
  txBytes: 2,
  talosVersion: 'v1.9.0',
  tunnel: 'auto',
  labels: { rack: '7' },
  since: '2026-01-01T00:00:00Z',
};

test('what is printed to paste is what the parsers of a machine read', () => {
  const text = formatJoin(
    joinView(token('s3cret+/'), { apiUrl: 'https://gateway.example', eventPort: 8090, logPort: 8092 }, true),
  );
  const command = /culvert join '([^']+)'/.exec(text)?.[1] ?? '';
  const url = parseJoinUrl(command, 'test');
  assert.deepEqual([url.host, url.joinToken, url.wantsTunnel], ['gateway.example', 's3cret+/', true]);
  const line = text.split('\n').find((each) => each.includes('talos.events.sink=')) ?? '';
  assert.equal(kernelArgument(line, 'siderolink.api'), command);
  assert.equal(kernelArgument(line, 'talos.events.sink'), '[fdae:41e4:649b:9303::1]:8090');
  assert.equal(kernelArgument(line, 'talos.logging.kernel'), 'tcp://[fdae:41e4:649b:9303::1]:8092');
  const yaml = text.slice(text.indexOf('machine configuration:') + 23).replace(/^ {2}/gm, '');
  const documents = parseLinkDocuments(yaml, 'test.yaml');
  assert.equal(chooseJoinSource({ document: documents.sideroLink })?.url.joinToken, 's3cret+/');
  assert.deepEqual(documents.kernelLogs, ['tcp://[fdae:41e4:649b:9303::1]:8092']);
});

test('services that are off are left out', () => {
  const text = formatJoin(
    joinView(token('x'), { apiUrl: 'grpc://a:1', eventPort: undefined, logPort: undefined }, false),
  );
  assert.ok(!text.includes('talos.') && !text.includes('EventSinkConfig') && !text.includes('KmsgLogConfig'));
});

test('the summary says what is on, and warns of a token in the clear', async (t) => {
  const { running } = await startTestGateway(t);
  const summary = (more: object) =>
    formatSummary(gatewaySummary(running, { ...CONFIG, ...more }, '/state', '1.2.3'));
  const local = summary({});
  assert.match(local, /^Culvert 1\.2\.3 SideroLink gateway$/m);
  assert.match(local, /^ {2}overlay +fdae:41e4:649b:9303::1 on siderolink$/m);
  assert.match(local, /^ {2}machines +none yet$/m);
  assert.ok(!local.includes('in the clear'));
  assert.match(summary({ api: { host: undefined, port: 4000 } }), /in the clear/);
  assert.ok(!summary({ api: { host: undefined, port: 1 }, apiUrl: 'https://a' }).includes('in the clear'));
  assert.ok(!local.includes('good'), 'the token is not in it');
});

test('machines as a table; keys only where they tell two apart', () => {
  const text = formatMachines({ machines: [VIEW], denied: ['x'] }, NOW);
  const [head = '', row = '', denied] = text.split('\n');
  assert.match(head, /^ID +STATE +VIA +ADDRESS +HANDSHAKE +RECEIVED +SENT +VERSION$/);
  assert.match(row, /^a-machine +connected +udp +fdae:41e4:649b:9303::7 +12 s ago +1\.50 kB +2 B +v1\.9\.0$/);
  assert.equal(denied, 'denied: x');
  const waiting: MachineView = { ...VIEW, state: 'pending', pendingReason: 'approval', transport: null };
  assert.match(formatMachines({ machines: [waiting], denied: [] }, NOW), /pending \(approval\) +- /);
  const twins = formatMachines({ machines: [waiting, { ...waiting, publicKey: 'OTHER' }], denied: [] }, NOW);
  assert.match(twins, /KEY$/m);
  assert.match(formatMachines({ machines: [], denied: [] }, NOW), /No machine has joined yet/);
});

test('on a terminal state and age of the handshake have colours, and columns stay aligned', () => {
  const ageing = ['2026-01-01T23:57:01Z', '2026-01-01T23:57:00Z', '2026-01-01T23:55:25Z', null];
  const machines = ageing.map((lastHandshake): MachineView => ({ ...VIEW, lastHandshake }));
  const coloured = formatMachines({ machines, denied: [] }, NOW, true);
  const rows = coloured.split('\n').slice(1, -1);
  for (const [i, colour] of ['\x1b[32m2 min ago', '\x1b[33m3 min ago', '\x1b[31m4 min ago'].entries())
    assert.ok(rows[i]?.includes(`${colour}\x1b[0m`), rows[i]);
  assert.ok(rows[3]?.includes('  -  '), 'none has no colour');
  assert.ok(rows[0]?.includes('\x1b[32mconnected\x1b[0m'));
  const plain = formatMachines({ machines, denied: [] }, NOW);
  assert.equal(stripVTControlCharacters(coloured), plain);
  assert.ok(formatMachine(VIEW, NOW, true).includes('handshake   \x1b[32m12 s ago\x1b[0m\n'));
});

test('a machine in full, and what it says cannot move the cursor', () => {
  const text = formatMachine({ ...VIEW, talosVersion: '\x1b[2J' }, NOW);
  assert.match(text, /^labels +rack=7$/m);
  assert.match(text, /^joined +2026-01-01T00:00:00Z$/m);
  assert.ok(!text.includes('\x1b'));
});

test('ages in the largest unit that fits', () => {
  const ages: readonly (readonly [string, string])[] = [
    ['2026-01-02T00:00:05Z', '0 s ago'],
    ['2026-01-01T23:59:01Z', '59 s ago'],
    ['2026-01-01T23:59:00Z', '1 min ago'],
    ['2026-01-01T23:00:00Z', '1 h ago'],
    ['2025-12-30T00:00:00Z', '3 d ago'],
  ];
  for (const [iso, expected] of ages) assert.equal(formatAgo(iso, NOW), expected);
  assert.equal(formatAgo(null, NOW), '-');
});

const LOG: EntryView = {
  kind: 'log',
  sequence: 1,
  at: '2026-01-01T00:00:00Z',
  line: JSON.stringify({
    msg: 'hello\nworld\n',
    'talos-level': 'warn',
    facility: 'kern',
    'talos-time': 'T',
  }),
};

const EVENT: EntryView = {
  kind: 'event',
  sequence: 2,
  at: '2026-01-01T00:00:00Z',
  id: 'i',
  actorId: '',
  type: 'machine.SequenceEvent',
  value: 'AAAA',
};

test('log lines and events, one line each', () => {
  assert.equal(formatEntry(LOG), 'T warn kern: hello\\u000aworld\n');
  assert.equal(formatEntry({ ...LOG, line: 'plain' }), '2026-01-01T00:00:00Z: plain\n');
  assert.equal(formatEntry(EVENT), '2026-01-01T00:00:00Z machine.SequenceEvent id=i 3 bytes\n');
});

const TOKEN: TokenView = {
  name: 'rack',
  description: 'd',
  status: 'used_up',
  isDefault: true,
  uses: 3,
  useLimit: 3,
  expires: null,
  created: 'C',
  provider: null,
};

test('tokens as a table, without their text', () => {
  assert.match(formatTokens([TOKEN]), /^rack +used_up, default +3\/3 +never +C +d$/m);
});

test('docs/reference/json.md lists the members of machines, entries, tokens and joins', () => {
  const join = joinView(
    token('x'),
    { apiUrl: 'grpc://a:1', eventPort: undefined, logPort: undefined },
    false,
  );
  const documented: readonly (readonly [string, ...object[]])[] = [
    ['A machine', VIEW],
    ['culvert machines logs --json, culvert machines events --json', LOG, EVENT],
    ['culvert token ls --json', TOKEN],
    ['culvert token show --json, culvert token create --json', join],
  ];
  for (const [heading, ...samples] of documented) {
    const members = new Set(samples.flatMap((sample) => Object.keys(sample)));
    assert.deepEqual(documentedMembers(heading), [...members].toSorted(), heading);
  }
});

test('an expiry is a duration or a time', () => {
  assert.equal(readExpiry('24h', 0), 86_400_000);
  assert.equal(readExpiry('2030-01-01T00:00Z', 0), Date.parse('2030-01-01T00:00Z'));
  for (const text of ['tomorrow', '', '24', '2030-13-01'])
    assert.throws(() => readExpiry(text, 0), { exitCode: 2 }, text);
});
