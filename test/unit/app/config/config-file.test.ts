import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { readJoinOrder } from '../../../../src/app/agent/settings.ts';
import { findConfigFile, readConfigText, SYSTEM_FILE } from '../../../../src/app/config/config-file.ts';
import { readServeSettings } from '../../../../src/app/gateway/settings.ts';

const OWN = '/home/me/.config/culvert/config.yaml';
const find = (
  given: { flag?: string; env?: Record<string, string>; uid?: number },
  ...present: readonly string[]
) =>
  findConfigFile(given.flag, { env: given.env ?? {}, uid: given.uid ?? 1000, home: '/home/me' }, (path) =>
    present.includes(path),
  );

test('the file is the one that is named, by the flag before the variable, there or not', () => {
  const env = { CULVERT_CONFIG: '/env.yaml' };
  assert.deepEqual(find({ flag: '/flag.yaml', env }, OWN), { path: '/flag.yaml', isNamed: true });
  assert.deepEqual(find({ env }, OWN), { path: '/env.yaml', isNamed: true });
  assert.equal(find({ env: { CULVERT_CONFIG: '' } }), undefined);
});

test('without a name it is that of the user, else that of the machine, where there is one', () => {
  assert.deepEqual(find({}, OWN, SYSTEM_FILE), { path: OWN, isNamed: false });
  assert.deepEqual(find({}, SYSTEM_FILE), { path: SYSTEM_FILE, isNamed: false });
  const xdg = '/xdg/culvert/config.yaml';
  assert.equal(find({ env: { XDG_CONFIG_HOME: '/xdg' } }, xdg, OWN)?.path, xdg);
  assert.equal(find({ env: { XDG_CONFIG_HOME: 'relative' } }, OWN)?.path, OWN);
  assert.equal(find({}), undefined);
});

test('root is led by no file in anybody’s home', () => {
  assert.equal(find({ uid: 0 }, OWN), undefined);
  assert.equal(find({ uid: 0 }, OWN, SYSTEM_FILE)?.path, SYSTEM_FILE);
});

test('a file that cannot be read, or is too large to be one, is named', () => {
  assert.throws(() => readConfigText('/nonexistent/config.yaml'), {
    code: 'not_found',
    message: '/nonexistent/config.yaml: ENOENT',
  });
  assert.throws(() => readConfigText('/tmp'), { code: 'io', message: '/tmp: EISDIR' });
});

test('a variable that begins as a setting does and is none is named, with the nearest', () => {
  const warnings = (env: Record<string, string>) => {
    const said: string[] = [];
    const sources = { flags: new Map(), env, file: () => undefined };
    readServeSettings(sources, (text) => said.push(text));
    readJoinOrder({ ...sources, env: { CULVERT_JOIN_URL: 'https://gateway.example', ...env } }, (text) =>
      said.push(text),
    );
    return said;
  };
  assert.deepEqual(
    warnings({ CULVERT_SERVE_LISTEN: ':1', CULVERT_JOIN_TOKEN: 'hush', CULVERT_SERVER_X: '1' }),
    [],
  );
  assert.deepEqual(warnings({ CULVERT_SERVE_MACHINE_LIMITS: '1', CULVERT_JOIN_SERVICE_HOST: '10.0.0.1' }), [
    'CULVERT_SERVE_MACHINE_LIMITS: no such setting, did you mean CULVERT_SERVE_MACHINE_LIMIT?',
    'CULVERT_JOIN_SERVICE_HOST: no such setting',
  ]);
});

test('a named file without anything for the command is an error for both commands', () => {
  const path = join(mkdtempSync(join(tmpdir(), 'culvert-config-')), 'config.yaml');
  writeFileSync(path, 'machine: {}\n');
  const sources = { flags: new Map(), env: {}, file: () => ({ path, isNamed: true }) };
  assert.throws(() => readServeSettings(sources), {
    message: `${path}: has no document of kind CulvertServeConfig`,
  });
  assert.throws(() => readJoinOrder(sources), {
    message: `${path}: has no document of kind CulvertJoinConfig`,
  });
  rmSync(dirname(path), { recursive: true });
});

test('a file with a secret in it that others can read is named, one without or of its owner alone is not', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-config-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'config.yaml');
  const warnings = (document: string, mode: number) => {
    writeFileSync(path, `apiVersion: v1alpha1\n${document}`);
    chmodSync(path, mode);
    const said: string[] = [];
    const sources = { flags: new Map(), env: {}, file: () => ({ path, isNamed: true }) };
    if (document.includes('Serve')) readServeSettings(sources, (text) => said.push(text));
    else readJoinOrder(sources, (text) => said.push(text));
    return said;
  };
  const token = 'kind: CulvertServeConfig\njoinToken: hush\n';
  assert.deepEqual(warnings(token, 0o640), [`${path}: others can read joinToken in it; chmod 600 it`]);
  assert.deepEqual(warnings(token, 0o600), []);
  assert.deepEqual(warnings('kind: CulvertServeConfig\njoinTokenFile: /x\n', 0o644), []);
  const link = 'kind: SideroLinkConfig\napiUrl: https://gateway.example/?jointoken=hush\n';
  assert.deepEqual(warnings(link, 0o644), [`${path}: others can read apiUrl in it; chmod 600 it`]);
  assert.deepEqual(warnings('kind: CulvertJoinConfig\nurl: https://gateway.example/\n', 0o644), []);
});
