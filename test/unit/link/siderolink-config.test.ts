import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../../src/core/errors.ts';
import {
  chooseJoinSource,
  kernelArgument,
  parseLinkDocuments,
  redactLinkSecrets,
} from '../../../src/link/siderolink-config.ts';

const read = (text: string) => parseLinkDocuments(text, 'machine.yaml');

const TALOS = `version: v1alpha1
machine:
  type: worker
  kind: SideroLinkConfig
---
apiVersion: v1alpha1
kind: SideroLinkConfig
apiUrl: https://gw.example/?jointoken=secret&grpc_tunnel=true # the gateway
uniqueToken: '{"Fingerprint":"f","Token":"t"}'
---
apiVersion: v1alpha1
kind: HostnameConfig
hostname: worker-1
---
apiVersion: v1alpha1
kind: EventSinkConfig
endpoint: 192.168.10.3:3247
---
apiVersion: v1alpha1
kind: KmsgLogConfig
name: one
url: tcp://[fd00::1]:8092/
---
apiVersion: v1alpha1
kind: KmsgLogConfig
name: two
url: udp://10.0.0.1:514
---
apiVersion: v1alpha1
kind: KmsgLogConfig
name: again
url: udp://10.0.0.1:514
`;

test('a whole Talos configuration works as it is; other documents are left alone', () => {
  const documents = read(TALOS);
  assert.equal(documents.sideroLink?.url.host, 'gw.example');
  assert.equal(documents.sideroLink?.url.joinToken, 'secret');
  assert.equal(documents.sideroLink?.url.wantsTunnel, true);
  assert.equal(documents.sideroLink?.uniqueToken, '{"Fingerprint":"f","Token":"t"}');
  assert.equal(documents.eventSink, '192.168.10.3:3247');
  assert.deepEqual(documents.kernelLogs, ['tcp://[fd00::1]:8092/', 'udp://10.0.0.1:514']);
});

test('no document is no configuration', () => {
  for (const text of ['', '---\n', '# nothing\n', 'a: 1\n', '- x\n']) {
    assert.deepEqual(read(text), { sideroLink: undefined, eventSink: undefined, kernelLogs: [] });
  }
});

const document = (rest: string) => `a: 1\n---\napiVersion: v1alpha1\nkind: SideroLinkConfig\n${rest}`;

test('a document is checked as Talos checks it, and the error names file and line', () => {
  const cases: [string, RegExp][] = [
    [document(''), /^machine\.yaml:3: apiUrl is required$/],
    [document('apiUrl: ""\n'), /apiUrl is required/],
    [document('apiUrl: gw:8090\n'), /apiUrl scheme must be https:\/\/ or grpc:\/\//],
    [document('apiUrl: http://gw/\n'), /apiUrl scheme must be https:\/\/ or grpc:\/\//],
    [document('apiUrl: https://gw/jointoken?token=x\n'), /path must be empty/],
    [document('apiUrl: 5\n'), /^machine\.yaml:5: apiUrl must be a text$/],
    [document('apiURL: https://gw/\n'), /^machine\.yaml:5: unknown key "apiURL"$/],
    [
      document('apiUrl: https://gw\n---\nkind: SideroLinkConfig\napiVersion: v1alpha1\n'),
      /duplicate document: SideroLinkConfig\/$/,
    ],
    [document('apiUrl: https://gw/').replace('v1alpha1', 'v2'), /apiVersion must be v1alpha1, got v2/],
    [document('apiUrl: "https://gw'), /not YAML/],
    ['apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: gw\n', /endpoint must be host:port/],
    ['apiVersion: v1alpha1\nkind: KmsgLogConfig\nurl: tcp://a:1\n', /name is required/],
    ['apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: a\nurl: tcp://a\n', /url must be tcp/],
    ['apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: a\nurl: http://a:1\n', /url must be tcp/],
  ];
  for (const [text, expected] of cases) {
    assert.throws(
      () => read(text),
      (error: unknown) =>
        error instanceof AppError && error.code === 'config' && expected.test(error.message),
      text,
    );
  }
});

test('an unknown key gets the nearest known one as a hint', () => {
  assert.throws(() => read(document('apiURL: https://gw/\n')), { hint: 'did you mean apiUrl?' });
});

test('the first siderolink.api of the kernel command line counts, quoted or not', () => {
  assert.equal(
    kernelArgument('quiet siderolink.api=grpc://a:1 siderolink.api=grpc://b:1', 'siderolink.api'),
    'grpc://a:1',
  );
  assert.equal(
    kernelArgument('x="siderolink.api=no" "siderolink.api=grpc://a:1?x y"\n', 'siderolink.api'),
    'grpc://a:1?x y',
  );
  assert.equal(kernelArgument('siderolink.api="grpc://a:1"', 'siderolink.api'), 'grpc://a:1');
  assert.equal(kernelArgument('xsiderolink.api=1 siderolink.apis=2', 'siderolink.api'), undefined);
  assert.equal(kernelArgument('', 'siderolink.api'), undefined);
});

test('the argument wins over the document, the document over the kernel command line', () => {
  const { sideroLink } = read(TALOS);
  const kernelCommandLine = 'siderolink.api=grpc://kernel:1';
  const argument = 'grpc://argument:1';
  assert.equal(chooseJoinSource({}), undefined);
  assert.equal(chooseJoinSource({ kernelCommandLine: 'quiet siderolink.api=' }), undefined);
  const kernel = chooseJoinSource({ kernelCommandLine });
  assert.deepEqual([kernel?.from, kernel?.url.host, kernel?.uniqueToken], ['kernel', 'kernel', undefined]);
  const both = chooseJoinSource({ kernelCommandLine, document: sideroLink });
  assert.deepEqual([both?.from, both?.url.host], ['document', 'gw.example']);
  const all = chooseJoinSource({ kernelCommandLine, document: sideroLink, argument });
  assert.deepEqual([all?.from, all?.url.host], ['argument', 'argument']);
  assert.equal(all?.uniqueToken, sideroLink?.uniqueToken);
});

test('tokens are hidden in every spelling of YAML', () => {
  const texts = [
    TALOS.replaceAll('"t"', '"secret"'),
    'uniqueToken: secret\nnext: shown\n',
    'uniqueToken: "sec\\"ret secret"\nnext: shown\n',
    '  uniqueToken: |\n    secret\n    more secret\n  next: shown\n',
    '{kind: SideroLinkConfig, "uniqueToken": "secret", next: shown}\n',
  ];
  for (const text of texts) {
    const redacted = redactLinkSecrets(text);
    assert.ok(!redacted.includes('secret'), redacted);
    if (text.includes('next: shown')) assert.match(redacted, /next: shown/);
  }
});
