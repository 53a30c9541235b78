import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { AppError } from '../../../src/core/errors.ts';
import { joinDocuments, kernelArguments } from '../../../src/link/join-config.ts';
import { formatJoinUrl, parseJoinUrl, redactJoinUrl } from '../../../src/link/join-url.ts';
import { parseLinkDocuments } from '../../../src/link/siderolink-config.ts';

const parse = (text: string) => parseJoinUrl(text, 'join URL');

test('URLs that Talos takes are read as it reads them', () => {
  const base = { isPlaintext: false, host: 'gw', port: 443, joinToken: undefined, wantsTunnel: false };
  const cases: [string, object][] = [
    ['https://gw', base],
    ['https://gw/', base],
    ['HTTPS://gw:8443/', { ...base, port: 8443 }],
    ['https://gw:/', base],
    ['https://gw/?jointoken=secret', { ...base, joinToken: 'secret' }],
    ['https://gw?jointoken=secret', { ...base, joinToken: 'secret' }],
    ['https://gw/?jointoken=', base],
    ['https://gw/?jointoken=v2%3AeyJ%2B%2F%3D%3D', { ...base, joinToken: 'v2:eyJ+/==' }],
    ['https://gw/?jointoken=a=b', { ...base, joinToken: 'a=b' }],
    ['https://gw/?grpc_tunnel=true', { ...base, wantsTunnel: true }],
    ['https://gw/?grpc_tunnel=y&jointoken=t', { ...base, wantsTunnel: true, joinToken: 't' }],
    ['https://gw/?grpc_tunnel=false', base],
    ['https://gw/?grpc_tunnel=', base],
    ['grpc://10.0.0.1:8090', { ...base, isPlaintext: true, host: '10.0.0.1', port: 8090 }],
    ['GRPC://gw:1', { ...base, isPlaintext: true, port: 1 }],
    ['grpc://[fd00::1]:8090/', { ...base, isPlaintext: true, host: 'fd00::1', port: 8090 }],
    ['gw.example:8090', { ...base, isPlaintext: true, host: 'gw.example', port: 8090 }],
    [
      '172.20.0.1:4000?jointoken=foo',
      { ...base, isPlaintext: true, host: '172.20.0.1', port: 4000, joinToken: 'foo' },
    ],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parse(text), expected, text);
});

test('where Talos would surprise, the URL is refused with what to write instead', () => {
  const cases: [string, RegExp, RegExp][] = [
    ['http://gw/', /scheme must be/, /grpc:\/\/ for no TLS/],
    ['ws://gw/', /scheme must be/, /(?:)/],
    ['grpc://gw', /no port/, /443 without TLS/],
    ['gw', /no port/, /443 without TLS/],
    ['https://siderolink.api/jointoken?token=secret', /path must be empty/, /\?jointoken=/],
    ['https://gw/?token=secret', /unknown query parameter "token"/, /jointoken/],
    ['https://gw/?join_token=secret', /unknown query parameter "join_token"/, /jointoken/],
    ['https://gw/?grpc_tunnel=1', /must be true or false/, /anything but true and y/],
    ['https://gw/?grpc_tunnel=TRUE', /must be true or false/, /anything but true and y/],
    ['https://gw/?jointoken=a&jointoken=b', /twice/, /first/],
    ['https://gw/?jointoken=a#b', /# part/, /%23/],
    ['https://gw/?jointoken=v2:ab+c', /space/, /%2B/],
    ['https://gw/?jointoken=a;b', /;/, /%3B/],
    ['https://gw/?jointoken=100%', /broken % escape/, /%25/],
    ['https://token@gw/', /user name/, /\?jointoken=/],
    ['https://fd00::1', /cannot be read/, /\[fd00::1\]/],
    ['https://[fd00::1%25eth0]/', /not an IPv6 address/, /(?:)/],
    ['https://', /no host/, /(?:)/],
    ['https:///', /no host/, /(?:)/],
    ['https://gw:99999/', /port must be/, /(?:)/],
    ['https://gw:0/', /port must be/, /(?:)/],
    ['https://gw:port/', /cannot be read/, /(?:)/],
    ['https://g w/', /not a URL/, /(?:)/],
    ['https://gw/\n', /not a URL/, /(?:)/],
    ['gw:1/?jointoken=a://b', /not a URL/, /(?:)/],
    ['', /no host/, /(?:)/],
  ];
  for (const [text, problem, hint] of cases) {
    assert.throws(
      () => parse(text),
      (error: unknown) => {
        assert.ok(error instanceof AppError, text);
        assert.match(error.message, /^join URL: /, text);
        assert.match(error.message, problem, text);
        assert.match(error.hint ?? '', hint, text);
        assert.ok(!error.message.includes('secret'), text);
        return true;
      },
      text,
    );
  }
});

test('parsing arbitrary text gives a URL or an AppError', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.webUrl({ withQueryParameters: true, withFragments: true })),
      (text) => {
        try {
          parse(text);
        } catch (error) {
          assert.ok(error instanceof AppError, String(error));
        }
      },
    ),
  );
});

test('every token survives the URL', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[!-~]{1,60}$/), fc.boolean(), (joinToken, wantsTunnel) => {
      const url = parse(formatJoinUrl({ apiUrl: 'https://gw:8443', joinToken, wantsTunnel }));
      assert.deepEqual(url, { isPlaintext: false, host: 'gw', port: 8443, joinToken, wantsTunnel });
    }),
  );
});

test('what the gateway prints is what Omni prints', () => {
  const config = {
    apiUrl: 'grpc://127.0.0.1:8090',
    joinToken: 'v2:a+b/c=',
    wantsTunnel: true,
    eventSinkPort: 8091,
    logReceiverPort: 8092,
  };
  assert.deepEqual(kernelArguments(config), [
    'siderolink.api=grpc://127.0.0.1:8090?grpc_tunnel=true&jointoken=v2%3Aa%2Bb%2Fc%3D',
    'talos.events.sink=[fdae:41e4:649b:9303::1]:8091',
    'talos.logging.kernel=tcp://[fdae:41e4:649b:9303::1]:8092',
  ]);
  assert.equal(
    joinDocuments(config),
    `apiVersion: v1alpha1
kind: SideroLinkConfig
apiUrl: grpc://127.0.0.1:8090?grpc_tunnel=true&jointoken=v2%3Aa%2Bb%2Fc%3D
---
apiVersion: v1alpha1
kind: EventSinkConfig
endpoint: "[fdae:41e4:649b:9303::1]:8091"
---
apiVersion: v1alpha1
kind: KmsgLogConfig
name: omni-kmsg
url: tcp://[fdae:41e4:649b:9303::1]:8092
`,
  );
});

test('services that are off are left out, and our own documents can be read back', () => {
  const config = { apiUrl: 'https://gw', joinToken: 't' };
  assert.deepEqual(kernelArguments(config), ['siderolink.api=https://gw?jointoken=t']);
  const documents = parseLinkDocuments(
    joinDocuments({ ...config, eventSinkPort: 1, logReceiverPort: 2 }),
    'f',
  );
  assert.equal(documents.sideroLink?.url.joinToken, 't');
  assert.equal(documents.eventSink, '[fdae:41e4:649b:9303::1]:1');
  assert.deepEqual(documents.kernelLogs, ['tcp://[fdae:41e4:649b:9303::1]:2']);
});

test('a token never shows in what is printed for people', () => {
  assert.equal(
    redactJoinUrl('x siderolink.api=https://gw/?grpc_tunnel=true&jointoken=secret&a=b y'),
    'x siderolink.api=https://gw/?grpc_tunnel=true&jointoken=(hidden)&a=b y',
  );
  assert.ok(!redactJoinUrl('https://gw/?JoinToken=secret').includes('secret'));
});
