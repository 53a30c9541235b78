import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  eventTarget,
  type JoinRequest,
  logTarget,
  ON_GATEWAY,
  readJoinInputs,
} from '../../../../src/app/agent/join-sources.ts';
import { parseLinkDocuments } from '../../../../src/link/siderolink-config.ts';

const URL = 'https://gateway.example/?jointoken=one';
const DOCUMENTS = `version: v1alpha1
machine: {}
---
apiVersion: v1alpha1
kind: SideroLinkConfig
apiUrl: grpc://10.0.0.2:8090/?jointoken=two
uniqueToken: '{"Fingerprint":"","Token":"kept"}'
---
apiVersion: v1alpha1
kind: EventSinkConfig
endpoint: '[fdae:41e4:649b:9303::1]:8090'
---
apiVersion: v1alpha1
kind: KmsgLogConfig
name: omni-kmsg
url: tcp://[fdae:41e4:649b:9303::1]:8092
`;
const KERNEL =
  'BOOT_IMAGE=/vmlinuz quiet siderolink.api=grpc://10.0.0.3:8090/?jointoken=three siderolink.api=grpc://late:1 ' +
  'talos.events.sink=[fd00::1]:9 talos.logging.kernel=udp://[fd00::1]:10';

const documents = (path: string, text: string) => ({ path, link: parseLinkDocuments(text, path) });
const CONFIG = documents('config.yaml', DOCUMENTS);
const EMPTY = documents('empty.yaml', 'machine: {}\n');
const CMDLINE = '/proc/cmdline';
const files: Record<string, string> = { [CMDLINE]: KERNEL, plain: 'quiet\n' };
const read = (path: string): string => files[path] ?? assert.fail(`${path} was read`);

test('the argument alone is enough, and nothing else is read', () => {
  const inputs = readJoinInputs({ url: URL }, () => assert.fail('nothing is to be read'));
  assert.deepEqual([inputs.source.from, inputs.source.url.host], ['argument', 'gateway.example']);
  assert.deepEqual([inputs.eventSink, inputs.kernelLogs], [undefined, []]);
});

test('the argument wins over the document, the document over the kernel command line', () => {
  for (const [url, flags, from, token] of [
    [URL, { documents: CONFIG, kernelArgs: CMDLINE }, 'argument', 'one'],
    [undefined, { documents: CONFIG, kernelArgs: CMDLINE }, 'document', 'two'],
    [undefined, { documents: CONFIG }, 'document', 'two'],
    [undefined, { documents: EMPTY }, 'kernel', 'three'],
    [undefined, { kernelArgs: CMDLINE }, 'kernel', 'three'],
    [undefined, {}, 'kernel', 'three'],
  ] as const) {
    const { source } = readJoinInputs({ url, ...flags }, read);
    assert.deepEqual([source.from, source.url.joinToken], [from, token]);
  }
});

test('the unique token of the document is used with a URL from elsewhere, too', () => {
  assert.match(readJoinInputs({ url: URL, documents: CONFIG }, read).source.uniqueToken ?? '', /kept/);
});

test('targets of events and logs come from flags, then documents and kernel, then the gateway', () => {
  const targets = (flags: JoinRequest, url?: string) => {
    const { eventSink, kernelLogs } = readJoinInputs({ url, ...flags }, read);
    return [eventSink, kernelLogs];
  };
  assert.deepEqual(targets({ documents: CONFIG }), [
    '[fdae:41e4:649b:9303::1]:8090',
    ['udp://[fd00::1]:10', 'tcp://[fdae:41e4:649b:9303::1]:8092'],
  ]);
  assert.deepEqual(targets({ kernelArgs: CMDLINE }), ['[fd00::1]:9', ['udp://[fd00::1]:10']]);
  assert.deepEqual(targets({ kmsg: ON_GATEWAY, events: ON_GATEWAY }, URL), [ON_GATEWAY, [ON_GATEWAY]]);
  assert.deepEqual(targets({ kmsg: 'tcp://a:1', events: 'b:2', documents: CONFIG }), ['b:2', ['tcp://a:1']]);
});

test('a machine that knows no gateway is told where it looked and what to give', () => {
  assert.throws(() => readJoinInputs({ kernelArgs: 'plain' }, read), {
    code: 'usage',
    message: 'no gateway to join: plain has no siderolink.api=',
    hint: /culvert join "https:/,
  });
  assert.throws(() => readJoinInputs({ documents: EMPTY, kernelArgs: 'plain' }, read), {
    message: 'no gateway to join: empty.yaml has no SideroLinkConfig, plain has no siderolink.api=',
  });
});

test('what Talos would silently take for something else is refused', () => {
  for (const [url, message] of [
    ['http://gateway.example/?jointoken=x', /scheme must be https:\/\/ or grpc:\/\//],
    ['grpc://gateway.example/?jointoken=x', /has no port/],
    ['https://gateway.example/jointoken?token=x', /path must be empty/],
  ] as const) {
    assert.throws(() => readJoinInputs({ url }), { code: 'config', message });
  }
  for (const url of ['http://a:1', 'tcp://a'])
    assert.throws(() => logTarget('--kmsg', url), { code: 'config' });
  for (const sink of ['a', '::1:1']) assert.throws(() => eventTarget('--events', sink), { code: 'config' });
});

test('a file that is missing is named', () => {
  assert.throws(() => readJoinInputs({ kernelArgs: '/nonexistent/cmdline' }), {
    code: 'not_found',
    message: '/nonexistent/cmdline: ENOENT',
  });
});

test('a token that is given apart is for a URL that has none; a unique token given apart wins', () => {
  const of = (request: JoinRequest) => readJoinInputs({ ...request, documents: CONFIG }, read).source;
  assert.equal(of({ url: 'https://gateway.example', joinToken: 'apart' }).url.joinToken, 'apart');
  assert.equal(of({ url: URL, joinToken: 'apart' }).url.joinToken, 'one');
  assert.equal(of({ url: URL, uniqueToken: 'apart' }).uniqueToken, 'apart');
});
