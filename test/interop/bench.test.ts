/** `culvert bench tunnel`: real devices of both implementations, and nothing left behind. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WIREGUARD_GO, requireInterop } from '../kit/programs.ts';

const CULVERT = fileURLToPath(new URL('../../../bin/culvert', import.meta.url));
const skip = requireInterop([WIREGUARD_GO], { programs: ['iperf3'] });

interface Result {
  readonly results: {
    readonly tunnel: readonly { operation: string; backend: string; ns: number; bytes?: number }[];
  };
}

test(
  'bench tunnel: both implementations carry data in one run, sockets and links vanish',
  { skip, timeout: 120_000 },
  () => {
    const { pid, status, stdout, stderr } = spawnSync(
      process.execPath,
      [CULVERT, 'bench', 'tunnel', '--seconds', '1', '--runs', '1', '--json'],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stderr);
    const rows = (JSON.parse(stdout) as Result).results.tunnel;
    const of = (operation: string) => rows.filter((row) => row.operation === operation);
    for (const operation of ['TCP, 1 stream', 'TCP, 1 stream back', 'TCP, 4 streams', 'TCP, both ways']) {
      assert.deepEqual(
        of(operation).map(({ backend }) => backend),
        ['culvert-go', 'culvert, 2 lanes', 'wireguard-go'],
      );
      assert.ok(
        of(operation).every(({ bytes = 0 }) => bytes > 100_000),
        operation,
      );
    }
    assert.ok(of('ping, idle').every(({ ns }) => ns > 0));
    assert.deepEqual(
      readdirSync('/var/run/wireguard').filter((name) => name.startsWith(`cvb${pid.toString(36)}`)),
      [],
    );
  },
);
