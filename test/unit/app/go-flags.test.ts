import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseGoFlags } from '../../../src/app/go-flags.ts';

const FLAGS = { name: { kind: 'text' }, on: { kind: 'switch' } } as const;

test('one dash or two, value behind or after an equals sign, switches alone', () => {
  for (const args of [['-name', 'x'], ['--name', 'x'], ['-name=x'], ['--name=x']]) {
    assert.deepEqual(parseGoFlags(args, FLAGS).values.get('name'), ['x'], args.join(' '));
  }
  assert.deepEqual(parseGoFlags(['-on', '-on=false', '--on=T'], FLAGS).values.get('on'), [
    'true',
    'false',
    'true',
  ]);
  assert.deepEqual(parseGoFlags(['-name=', '-name=a=b'], FLAGS).values.get('name'), ['', 'a=b']);
  assert.deepEqual(
    parseGoFlags(['-name', '-on'], FLAGS).values.get('name'),
    ['-on'],
    'a value may begin with a dash',
  );
});

test('the first word that is no flag ends the flags, and so do two dashes', () => {
  assert.deepEqual(parseGoFlags(['-on', 'x', '-name', 'y'], FLAGS).rest, ['x', '-name', 'y']);
  assert.deepEqual(parseGoFlags(['-on', '--', '-name'], FLAGS).rest, ['-name']);
  assert.deepEqual(parseGoFlags(['-'], FLAGS).rest, ['-']);
});

test('wrong flags are named as Go names them', () => {
  assert.throws(() => parseGoFlags(['-nme', 'x'], FLAGS), {
    code: 'usage',
    message: 'flag provided but not defined: -nme',
    hint: 'did you mean -name?',
  });
  assert.throws(() => parseGoFlags(['-name'], FLAGS), /flag needs an argument: -name/);
  assert.throws(() => parseGoFlags(['-on=maybe'], FLAGS), /invalid boolean value "maybe" for -on/);
  assert.throws(() => parseGoFlags(['---name'], FLAGS), /bad flag syntax/);
  assert.throws(() => parseGoFlags(['-=x'], FLAGS), /bad flag syntax/);
  assert.throws(() => parseGoFlags(['-__proto__', 'x'], FLAGS), /not defined/);
});
