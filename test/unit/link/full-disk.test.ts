// File systems that take nothing more, mounted by the test in a mount namespace that ends with it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requireRoot } from '../../kit/netns.ts';

const SCRIPT = fileURLToPath(new URL('../../kit/full-disk.js', import.meta.url));
const MOUNTS = { skip: requireRoot({ programs: ['unshare', 'mount'] }) };
const LOOP = { skip: requireRoot({ programs: ['unshare', 'mount', 'mkfs.ext4', '/dev/loop-control'] }) };

function runCase(t: TestContext, name: string): void {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-disk-'));
  t.after(() => {
    rmSync(directory, { recursive: true });
    rmSync(`${directory}.img`, { force: true });
  });
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    [
      '--mount',
      '--propagation',
      'private',
      process.execPath,
      '--enable-source-maps',
      SCRIPT,
      directory,
      name,
    ],
    { encoding: 'utf8' },
  );
  assert.equal(status, 0, `${stdout}${stderr}`);
}

test(
  'disk full: known machines are served, changes refused with place and fix, and taken again without a restart',
  MOUNTS,
  (t) => runCase(t, 'full'),
);

test('disk full: logs are dropped and counted, events told to come again, nothing grows', MOUNTS, (t) =>
  runCase(t, 'journal'),
);

test('a file system that the kernel makes read-only: known machines are served, changes refused', LOOP, (t) =>
  runCase(t, 'readonly'),
);

test(
  'a file system that is read-only at the start is named, and the state is intact afterwards',
  MOUNTS,
  (t) => runCase(t, 'readonly-start'),
);
