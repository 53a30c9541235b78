import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { JOIN_KIND, JOIN_SETTINGS, readJoinOrder } from '../../../../src/app/agent/settings.ts';
import { checkSettings, shown } from '../../../../src/app/config/effective.ts';
import { exampleFile } from '../../../../src/app/config/example.ts';
import { givenByDocument, givenByFlags } from '../../../../src/app/config/given.ts';
import { addSettings, type SettingTable } from '../../../../src/app/config/setting.ts';
import type { Sources } from '../../../../src/app/config/sources.ts';
import { firstToken } from '../../../../src/app/gateway/config.ts';
import { readServeSettings, SERVE_KIND, SERVE_SETTINGS } from '../../../../src/app/gateway/settings.ts';
import { readDocuments } from '../../../../src/link/config-documents.ts';

const TABLES: readonly (readonly [kind: string, table: SettingTable])[] = [
  [SERVE_KIND, SERVE_SETTINGS],
  [JOIN_KIND, JOIN_SETTINGS],
];
const HEAD = `apiVersion: v1alpha1\nkind: ${SERVE_KIND}\n`;

function configFile(t: TestContext, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-config-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'config.yaml');
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function parsed(table: SettingTable, words: readonly string[]): Command {
  const command = addSettings(new Command('test'), table);
  return command.exitOverride().parse([...words], { from: 'user' });
}

function sources(given: { flags?: readonly string[]; env?: Record<string, string>; path?: string }): Sources {
  const { flags = [], env = {}, path } = given;
  return {
    flags: givenByFlags(parsed(SERVE_SETTINGS, flags), SERVE_SETTINGS),
    env,
    file: () => (path === undefined ? undefined : { path, isNamed: true }),
  };
}

test('every setting has its flag under the same name as its key, and a variable of its own', () => {
  for (const [kind, table] of TABLES) {
    const names = parsed(table, []).options.map((option) => option.attributeName());
    const withFlag = Object.entries(table).filter(([, { flag }]) => flag !== undefined);
    assert.deepEqual(
      names,
      withFlag.map(([key]) => key),
      kind,
    );
    const variables = Object.values(table).map(({ env }) => env);
    assert.equal(new Set(variables).size, variables.length, kind);
    for (const variable of variables) assert.match(variable, /^CULVERT_[A-Z_]+$/);
  }
});

test('a setting that holds a secret has no flag, where everybody could read it, and names a file instead', () => {
  for (const [, table] of TABLES) {
    for (const [key, { flag, redact }] of Object.entries(table)) {
      if (redact === undefined) continue;
      assert.equal(flag, undefined, key);
      assert.doesNotMatch(redact('https://a.example/?jointoken=secret'), /secret/);
      if (key !== 'url') assert.ok(Object.hasOwn(table, `${key}File`), key);
    }
  }
});

test('examples/config.yaml has every key as a comment, and says nothing as it is', () => {
  const text = readFileSync(
    fileURLToPath(new URL('../../../../../examples/config.yaml', import.meta.url)),
    'utf8',
  );
  assert.equal(text, exampleFile(), 'npm run docs');
  const kinds = Object.fromEntries(TABLES.map(([kind, table]) => [kind, Object.keys(table)]));
  const asItIs = readDocuments(text, 'config.yaml', kinds);
  assert.deepEqual(asItIs.problems, []);
  assert.deepEqual(
    asItIs.documents.map(({ kind, entries }) => [kind, entries.length]),
    TABLES.map(([kind]) => [kind, 0]),
  );
});

test('examples/config.yaml without its comment signs is valid, and says what the defaults are', () => {
  const keys = TABLES.flatMap(([, table]) => Object.keys(table));
  const text = exampleFile().replaceAll(new RegExp(`^# ((?:${keys.join('|')}): )`, 'gm'), '$1');
  const kinds = Object.fromEntries(TABLES.map(([kind, table]) => [kind, Object.keys(table)]));
  const { documents, problems } = readDocuments(text, 'config.yaml', kinds);
  assert.deepEqual(problems, []);
  for (const [kind, table] of TABLES) {
    const document = documents.find((each) => each.kind === kind);
    assert.ok(document);
    assert.deepEqual(
      document.entries.map(({ key }) => key),
      Object.keys(table),
    );
    const { effective, problems: wrong } = checkSettings(table, givenByDocument(document));
    assert.deepEqual(wrong, []);
    assert.ok(effective);
    for (const [key, setting] of Object.entries(table)) {
      if (setting.default === undefined) continue;
      assert.deepEqual(effective.givens.get(key)?.texts, [setting.default], key);
      assert.deepEqual(shown({ table, givens: new Map() }, key), [setting.default]);
    }
  }
});

test('a flag counts before the environment, that before the file, that before the default', (t) => {
  const path = configFile(t, `${HEAD}rateLimit: 3\nmachineLimit: 3\ntunnel: forced\n`);
  const env = { CULVERT_SERVE_RATE_LIMIT: '2', CULVERT_SERVE_MACHINE_LIMIT: '2' };
  const { values, givens } = readServeSettings(sources({ flags: ['--rate-limit', '1'], env, path }));
  assert.deepEqual(
    [values.rateLimit, values.machineLimit, values.tunnel, values.accept],
    [1, 2, 'forced', 'auto'],
  );
  const places = ['rateLimit', 'machineLimit', 'tunnel', 'accept'].map((key) => givens.get(key)?.place);
  assert.deepEqual(places, ['--rate-limit', 'CULVERT_SERVE_MACHINE_LIMIT', `${path}:5: tunnel`, undefined]);
});

test('a secret of the environment counts before a file that a file names; two in one place are too many', (t) => {
  const path = configFile(t, `${HEAD}joinTokenFile: /nonexistent\n`);
  const { values } = readServeSettings(sources({ env: { CULVERT_JOIN_TOKEN: 'mine' }, path }));
  assert.deepEqual([values.joinToken, values.joinTokenFile], ['mine', undefined]);
  const both = readServeSettings(sources({ path: configFile(t, `${HEAD}joinToken: a\njoinTokenFile: b\n`) }));
  assert.throws(
    () => firstToken(both),
    /config\.yaml:4: joinTokenFile and .*config\.yaml:3: joinToken: only one/,
  );
});

test('a variable that is empty counts as unset, lists stand between commas, switches are true or false', () => {
  const read = (env: Record<string, string>) => readServeSettings(sources({ env })).values;
  assert.equal(read({ CULVERT_SERVE_HTTP: '' }).http?.port, 9587);
  assert.deepEqual(read({ CULVERT_SERVE_WG_ENDPOINT: 'a.example:1, b.example:2' }).wgEndpoint.flat(), [
    'a.example:1',
    'b.example:2',
  ]);
  assert.equal(read({ CULVERT_SERVE_LAST_ENDPOINT: 'false' }).lastEndpoint, false);
  assert.equal(read({ CULVERT_SERVE_LAST_ENDPOINT: 'true' }).lastEndpoint, true);
  assert.throws(() => read({ CULVERT_SERVE_LAST_ENDPOINT: 'no' }), {
    message: 'CULVERT_SERVE_LAST_ENDPOINT "no": expected true or false',
  });
  assert.equal(readServeSettings(sources({ flags: ['--no-last-endpoint'] })).values.lastEndpoint, false);
});

test('numbers, switches and lists of a file are what they look like', (t) => {
  const path = configFile(
    t,
    `${HEAD}listen: 4001\nlastEndpoint: false\nwgEndpoint:\n  - a.example:1\n  - b.example:2\n`,
  );
  const { values } = readServeSettings(sources({ path }));
  assert.deepEqual(
    [values.listen.port, values.lastEndpoint, values.wgEndpoint.flat()],
    [4001, false, ['a.example:1', 'b.example:2']],
  );
});

test('what is wrong in a file is named with its line', (t) => {
  for (const [text, message, hint] of [
    [`${HEAD}tunel: hint\n`, /config\.yaml:3: unknown key "tunel"/, 'did you mean tunnel?'],
    [
      `${HEAD}tunnel: hnt\n`,
      /config\.yaml:3: tunnel "hnt": expected hint, forced, forbidden/,
      'did you mean hint?',
    ],
    [`${HEAD}tunnel: [hint, forced]\n`, /config\.yaml:3: tunnel: expected one value, not a list/, undefined],
    [`${HEAD}tunnel: {a: b}\n`, /config\.yaml:3: tunnel must be one value/, undefined],
    [`${HEAD}tunnel: hint\ntunnel: hint\n`, /config\.yaml:4: not YAML: Map keys must be unique/, undefined],
    [
      HEAD.replace('v1alpha1', 'v2'),
      /config\.yaml:1: CulvertServeConfig: apiVersion must be v1alpha1, got v2/,
      undefined,
    ],
    [
      HEAD.replace('Serve', 'Serv'),
      /config\.yaml:1: unknown kind "CulvertServConfig"/,
      'did you mean CulvertServeConfig?',
    ],
    [`${HEAD}---\n${HEAD}`, /config\.yaml:4: a second CulvertServeConfig/, 'one document has all keys'],
    [
      'machine: {}\n',
      /config\.yaml: has no document of kind CulvertServeConfig/,
      'examples/config.yaml has one',
    ],
  ] as const) {
    const path = configFile(t, text);
    assert.throws(
      () => readServeSettings(sources({ path })),
      (error: Error & { hint?: string; exitCode?: number }) => {
        assert.match(error.message, message);
        assert.deepEqual([error.hint, error.exitCode], [hint, 2]);
        return true;
      },
    );
  }
});

test('each command reads its own documents, whatever is wrong with those of the other', (t) => {
  const path = configFile(
    t,
    `${HEAD}nonsense: 1\n---\napiVersion: v1alpha1\nkind: ${JOIN_KIND}\nurl: https://gateway.example\nstreams: 3\n`,
  );
  const { settings, inputs } = readJoinOrder({
    flags: new Map(),
    env: {},
    file: () => ({ path, isNamed: true }),
  });
  assert.deepEqual([settings.values.streams, inputs.source.url.host], [3, 'gateway.example']);
  assert.throws(() => readServeSettings(sources({ path })), /unknown key "nonsense"/);
});

test('a join URL may come from the environment, and its token from a file that only its owner can read', (t) => {
  const token = configFile(t, 'from-a-file\n');
  const env = { CULVERT_JOIN_URL: 'https://gateway.example', CULVERT_JOIN_TOKEN_FILE: token };
  const read = (more: object) =>
    readJoinOrder({ flags: new Map(), env: { ...env, ...more }, file: () => undefined }).inputs.source.url
      .joinToken;
  assert.equal(read({}), 'from-a-file');
  assert.throws(() => read({ CULVERT_JOIN_TOKEN: 'twice' }), /only one of them can be the secret/);
  writeFileSync(token, 'two words');
  assert.throws(() => read({}), /CULVERT_JOIN_TOKEN_FILE .*: expected one word/);
});
