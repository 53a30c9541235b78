import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../../src/core/errors.ts';
import { reportError } from '../../../src/app/report-error.ts';

const CULVERT = fileURLToPath(new URL('../../../../bin/culvert', import.meta.url));

function culvert(args: readonly string[], input = ''): SpawnSyncReturns<string> {
  const { CULVERT_DEBUG: _debug, ...env } = process.env;
  return spawnSync(CULVERT, args, { encoding: 'utf8', input, env: { ...env, NO_COLOR: '1' } });
}

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-cli-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test('--version is one line with the version of package.json', () => {
  const { version } = JSON.parse(
    readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8'),
  ) as {
    version: string;
  };
  const { stdout, status } = culvert(['--version']);
  assert.equal(stdout, `culvert ${version}\n`);
  assert.equal(status, 0);
});

test('--help lists every command on standard output, and every command has examples', () => {
  const { stdout, stderr, status } = culvert(['--help']);
  assert.equal(status, 0);
  assert.equal(stderr, '');
  const names = [...stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map((match) => match[1] as string);
  assert.ok(names.includes('show'));
  for (const name of names) {
    const help = culvert([name, '--help']);
    assert.equal(help.status, 0, name);
    assert.match(help.stdout, /^Examples:$/m, `${name} --help`);
    assert.equal(culvert(['help', name]).stdout, help.stdout);
  }
});

test('a command that has commands of its own prints its help without one', () => {
  for (const command of ['machines', 'token']) {
    const { stdout, stderr, status } = culvert([command]);
    assert.equal(status, 2);
    assert.equal(stdout, '');
    assert.equal(stderr, culvert(['help', command]).stdout);
  }
});

test('without a command the help goes to standard error', () => {
  const { stdout, stderr, status } = culvert([]);
  assert.equal(status, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^Usage: culvert/);
});

const WRONG: readonly (readonly [string, string, string])[] = [
  ['shwo', 'culvert: unknown command "shwo"', 'hint: did you mean show?'],
  ['frobnicate', 'culvert: unknown command "frobnicate"', 'hint: "culvert --help" lists the commands'],
  ['help shwo', 'culvert: unknown command "shwo"', 'hint: did you mean show?'],
  ['show --jsn', "culvert: unknown option '--jsn'", 'hint: did you mean --json?'],
  ['--frob', "culvert: unknown option '--frob'", 'hint: add --help to see how the command is used'],
  ['machines lss', "culvert: unknown command 'lss'", 'hint: did you mean ls?'],
  [
    'serve --tunnel hnt',
    'culvert: --tunnel "hnt": expected hint, forced, forbidden',
    'hint: did you mean hint?',
  ],
  ['check', "culvert: missing required argument 'file'", 'hint: add --help to see how the command is used'],
  ['show wg0 dmp', 'culvert: show knows no field "dmp"', 'hint: did you mean dump?'],
];
for (const [line, problem, hint] of WRONG) {
  test(`culvert ${line} is wrong usage: ${problem}, ${hint}`, () => {
    const { stdout, stderr, status } = culvert(line.split(' '));
    assert.equal(stderr, `${problem}\n${hint}\n`);
    assert.equal(stdout, '');
    assert.equal(status, 2);
  });
}

test('a device that does not run is a failure, not wrong usage', () => {
  const { stderr, status } = culvert(['show', 'no-such-iface']);
  assert.match(stderr, /^culvert: no userspace WireGuard device "no-such-iface" is running\nhint: /);
  assert.equal(status, 1);
});

test('genkey prints a clamped key, pubkey its public key', () => {
  const { stdout, status } = culvert(['genkey']);
  assert.equal(status, 0);
  assert.match(stdout, /^[A-Za-z0-9+/]{43}=\n$/);
  const bytes = Buffer.from(stdout, 'base64');
  assert.equal((bytes[0] as number) & 7, 0);
  assert.equal((bytes[31] as number) >> 6, 1);
  assert.match(culvert(['pubkey'], stdout).stdout, /^[A-Za-z0-9+/]{43}=\n$/);
  assert.notEqual(culvert(['genkey']).stdout, stdout);
});

test('pubkey computes the public key of RFC 7748 section 6.1', () => {
  const alice = Buffer.from('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a', 'hex');
  const publicKey = Buffer.from('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a', 'hex');
  assert.equal(culvert(['pubkey'], alice.toString('base64')).stdout, `${publicKey.toString('base64')}\n`);
});

test('genpsk prints 32 bytes', () => {
  const { stdout } = culvert(['genpsk']);
  assert.equal(Buffer.from(stdout, 'base64').length, 32);
});

test('pubkey takes white space behind the key and refuses everything else, as wg does', () => {
  const key = culvert(['genkey']).stdout.trim();
  const plain = culvert(['pubkey'], key).stdout;
  assert.equal(culvert(['pubkey'], `${key}\n \t\r\n\0`).stdout, plain);
  for (const [input, problem] of [
    [`${key}x`, 'Trailing characters found after key'],
    [`${key}\nx`, 'Trailing characters found after key'],
    ['', 'Key is not the correct length or format'],
    [key.slice(1), 'Key is not the correct length or format'],
    [` ${key}`, 'Trailing characters found after key'],
    [`${key.slice(0, 43)}!`, 'Key is not the correct length or format'],
  ] as const) {
    const { stdout, stderr, status } = culvert(['pubkey'], input);
    assert.equal(stderr.split('\n')[0], `culvert: ${problem}`, JSON.stringify(input));
    assert.equal(stdout, '');
    assert.equal(status, 1);
    assert.ok(!stderr.includes(key.slice(2, 40)), 'the key is not repeated');
  }
});

test('a key that goes to a file everybody may read comes with a warning', (t) => {
  const directory = temporaryDirectory(t);
  for (const [mode, isWarned] of [
    [0o644, true],
    [0o600, false],
  ] as const) {
    for (const command of ['genkey', 'genpsk']) {
      const file = join(directory, `${command}${mode}`);
      const fd = openSync(file, 'w', mode);
      chmodSync(file, mode);
      const { stderr } = spawnSync(CULVERT, [command], { stdio: ['ignore', fd, 'pipe'], encoding: 'utf8' });
      closeSync(fd);
      assert.equal(
        stderr,
        isWarned
          ? 'Warning: writing to world accessible file.\nConsider setting the umask to 077 and trying again.\n'
          : '',
      );
      assert.match(readFileSync(file, 'utf8'), /^[A-Za-z0-9+/]{43}=\n$/);
    }
  }
});

test('check says that a good file is good, warnings notwithstanding', (t) => {
  const file = join(temporaryDirectory(t), 'wg0.conf');
  const key = culvert(['genkey']).stdout;
  writeFileSync(file, `[Interface]\n[Peer]\nPublicKey = ${key}AllowedIPs = 10.0.0.1/8\n`);
  const { stdout, stderr, status } = culvert(['check', file]);
  assert.equal(stdout, 'wg0.conf: good, 1 peer\n');
  assert.equal(stderr, 'wg0.conf:4: warning: AllowedIPs "10.0.0.1/8" has a nonzero host part\n');
  assert.equal(status, 0);
});

test('check lists all problems with their lines and ends with 2', () => {
  const { stdout, stderr, status } = culvert(['check', '-'], '[Interface]\nListenPrt = 1\nMTU = x\n');
  assert.equal(stdout, '');
  assert.equal(
    stderr,
    'stdin:2: unknown key "ListenPrt"\nhint: did you mean ListenPort?\nstdin:3: MTU "x": expected a size in bytes, 68-65535\n',
  );
  assert.equal(status, 2);
});

test('check of a file that is not there is a failure', () => {
  const { stderr, status } = culvert(['check', '/nonexistent/wg0.conf']);
  assert.equal(stderr, 'culvert: /nonexistent/wg0.conf: ENOENT\n');
  assert.equal(status, 1);
});

test('errors show no stack trace unless CULVERT_DEBUG is set', () => {
  const error = new AppError('io', 'disk full', { hint: 'delete something' });
  assert.deepEqual(reportError(error, 'culvert', {}), {
    text: 'culvert: disk full\nhint: delete something\n',
    exitCode: 1,
  });
  assert.match(reportError(error, 'culvert', { CULVERT_DEBUG: '1' }).text, /\n {4}at /);
  const bug = reportError(new TypeError('x is undefined'), 'culvert', {});
  assert.match(bug.text, /^culvert: internal error: TypeError: x is undefined\nhint: .*CULVERT_DEBUG=1.*\n$/);
  assert.equal(bug.exitCode, 1);
});
