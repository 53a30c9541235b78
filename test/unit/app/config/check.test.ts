import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkConfig, formatConfigCheck } from '../../../../src/app/config/check.ts';

const SERVE = 'apiVersion: v1alpha1\nkind: CulvertServeConfig\nadvertise: grpc://192.0.2.1:4000\n';
const JOIN = 'apiVersion: v1alpha1\nkind: CulvertJoinConfig\n';

test('check: everything that is wrong is listed, with file and line', () => {
  const { problems, documents } = checkConfig(
    `${SERVE}tunel: hint\nmachineLimit: 0\nrateLimit: x\n---\n${JOIN}streams: 9\n`,
    'config.yaml',
    { CULVERT_JOIN_TRANSPORT: 'tcp' },
  );
  assert.deepEqual(
    problems.map(({ message }) => message),
    [
      'config.yaml:4: unknown key "tunel"',
      'config.yaml:5: machineLimit "0": expected a whole number from 1 to 1000000',
      'config.yaml:6: rateLimit "x": expected a whole number from 1 to 1000000',
      'CULVERT_JOIN_TRANSPORT "tcp": expected auto, udp, grpc',
      'config.yaml:10: streams "9": expected a whole number from 1 to 4',
    ],
  );
  assert.equal(problems[0]?.hint, 'did you mean tunnel?');
  assert.deepEqual(documents, []);
});

test('check: settings that do not go together are found, too', () => {
  const problemsOf = (text: string) =>
    checkConfig(text, 'config.yaml', {}).problems.map(({ message }) => message);
  assert.deepEqual(problemsOf(`${SERVE}listen: ":8090"\n`), [
    'config.yaml:4: listen :8090: port 8090 is that of a service on the overlay address',
  ]);
  assert.deepEqual(problemsOf(`${SERVE}tlsCert: a.pem\n`), ['config.yaml:4: tlsCert without --tls-key']);
  assert.deepEqual(problemsOf(`${JOIN}expose: ["a.example:1", "b.example:1"]\n`), [
    'config.yaml:3: expose: port 1 is given twice',
  ]);
  assert.deepEqual(problemsOf(`${JOIN}url: http://gateway.example\n`).length, 1);
});

test('check: prints what is in effect and where it comes from, and no secret', () => {
  const check = checkConfig(
    `${SERVE}joinToken: hush-hush\nwgEndpoint: ["a.example:1", "b.example:2"]\n---\n${JOIN}---\n` +
      'apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: https://gateway.example/?jointoken=hush-hush\n' +
      `uniqueToken: '{"Token":"hush-hush"}'\n`,
    'config.yaml',
    { CULVERT_SERVE_MACHINE_LIMIT: '7', CULVERT_JOIN_TOKEN_FILE: '' },
  );
  assert.deepEqual(check.problems, []);
  const text = formatConfigCheck(check);
  assert.doesNotMatch(text + JSON.stringify(check), /hush-hush/);
  for (const line of [
    /^# culvert serve\napiVersion: v1alpha1\nkind: CulvertServeConfig$/m,
    /^listen: ":4000" +# default$/m,
    /^advertise: "grpc:\/\/192\.0\.2\.1:4000" +# config\.yaml:3$/m,
    /^joinToken: "\(hidden\)" +# config\.yaml:4$/m,
    /^wgEndpoint: \["a\.example:1", "b\.example:2"\] +# config\.yaml:5$/m,
    /^machineLimit: 7 +# CULVERT_SERVE_MACHINE_LIMIT$/m,
    /^# culvert join\napiVersion: v1alpha1\nkind: SideroLinkConfig$/m,
    /^apiUrl: "https:\/\/gateway\.example\/\?jointoken=\(hidden\)" +# config\.yaml:12$/m,
    /^uniqueToken: "\(hidden\)"/m,
  ])
    assert.match(text, line);
  // Secrets apart, what is printed is a file that says the same.
  assert.deepEqual(checkConfig(text.split('---')[0] ?? '', 'again.yaml', {}).problems, []);
});

test('check: a variable that only looks like a setting is a warning, for the command that would read it', () => {
  const env = {
    CULVERT_SERVE_LISTN: ':1',
    CULVERT_JOIN_TRANSPROT: 'udp',
    CULVERT_JOIN_TOKEN: 'hush',
    CULVERT_LANES: '1',
  };
  const { warnings, problems } = checkConfig(SERVE, 'config.yaml', env);
  assert.deepEqual(warnings, ['CULVERT_SERVE_LISTN: no such setting, did you mean CULVERT_SERVE_LISTEN?']);
  assert.deepEqual(problems, []);
});

test('check: a file without any document of ours is not good', () => {
  assert.match(checkConfig('machine: {}\n', 'x.yaml', {}).problems[0]?.message ?? '', /x\.yaml: no document/);
  assert.match(checkConfig('a: [\n', 'x.yaml', {}).problems[0]?.message ?? '', /^x\.yaml:\d: not YAML/);
});
