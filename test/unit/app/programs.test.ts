import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasProgram, runHook, runProgram } from '../../../src/app/programs.ts';
import { systemZones } from '../../../src/app/zones.ts';

test('a program is found by its name in the search path', () => {
  assert.ok(hasProgram('sh'));
  assert.ok(!hasProgram('no-such-program-anywhere'));
  assert.ok(!hasProgram('sh', '/nonexistent'));
});

test('a program gets its input, and its failure says what ran', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-programs-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'out');
  await runProgram('sh', ['-c', `cat > ${file}`], 'hello\n');
  assert.equal(readFileSync(file, 'utf8'), 'hello\n');
  await runHook(`echo %i-%i > ${file}`, 'wg0');
  assert.equal(readFileSync(file, 'utf8'), 'wg0-wg0\n');
  await assert.rejects(runProgram('sh', ['-c', 'exit 7']), {
    message: 'sh -c exit 7 ended with exit code 7',
  });
  await assert.rejects(runProgram('no-such-program-anywhere', []), { code: 'unavailable' });
  // One that does not read its input is fine.
  await runProgram('true', [], 'x'.repeat(1 << 20));
});

test(
  'zones are the interfaces of this machine',
  { skip: process.platform === 'linux' ? false : 'SKIPPED: needs Linux' },
  () => {
    assert.equal(systemZones.index('lo'), 1);
    assert.equal(systemZones.name(1), 'lo');
    assert.equal(systemZones.index('no-such-iface'), undefined);
    assert.equal(systemZones.index('a-name-much-too-long'), undefined);
    assert.equal(systemZones.name(0x7fff_fff0), undefined);
  },
);
