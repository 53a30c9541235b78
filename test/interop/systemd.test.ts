/** The units in packaging/systemd, judged by systemd's own program, and a service that speaks to its manager. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requirePrograms } from '../kit/metrics.ts';

const skip = requirePrograms('systemd-analyze');
const units = fileURLToPath(new URL('../../../packaging/systemd', import.meta.url));

/** Of `systemd-analyze security`, 0.2 above what systemd 252 says: 10 is a service without any protection. */
const MOST_EXPOSED: Readonly<Record<string, number>> = {
  'culvert@.service': 3.2,
  'culvert-gateway.service': 2.7,
  'culvert-join.service': 2.9,
};

function analyze(args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

test('systemd: every unit is valid', { skip }, () => {
  const root = mkdtempSync(join(tmpdir(), 'culvert-units-'));
  try {
    // verify wants the program to exist; only there, so that this machine's own is not asked.
    const directory = join(root, 'units');
    mkdirSync(directory);
    for (const name of Object.keys(MOST_EXPOSED)) {
      const text = readFileSync(join(units, name), 'utf8').replaceAll('/usr/bin/culvert', '/bin/true');
      writeFileSync(join(directory, name.replace('@.', '@wg0.')), text);
    }
    for (const name of readdirSync(directory)) {
      const { status, output } = analyze([
        'verify',
        '--man=no',
        '--recursive-errors=no',
        join(directory, name),
      ]);
      assert.equal(status, 0, `${name}: ${output}`);
      assert.doesNotMatch(output, new RegExp(name.replace('@', '@?')), output);
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test('systemd: no unit is more exposed than it must be', { skip }, () => {
  for (const [name, most] of Object.entries(MOST_EXPOSED)) {
    const { output } = analyze(['security', '--offline=yes', '--no-pager', join(units, name)]);
    const exposure = Number(/exposure level for [^:]+: ([\d.]+)/.exec(output)?.[1]);
    assert.ok(exposure <= most, `${name}: ${exposure} is more than ${most}\n${output}`);
  }
});

test('systemd: the list of units here is that of the folder', { skip: false }, () => {
  assert.deepEqual(new Set(readdirSync(units)), new Set(Object.keys(MOST_EXPOSED)));
});
