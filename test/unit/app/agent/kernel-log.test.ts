import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatKernelRecord, parseKernelRecord } from '../../../../src/app/agent/kernel-log.ts';

test('a record of /dev/kmsg is read, properties behind it are left out', () => {
  assert.deepEqual(parseKernelRecord('12,711,5140900,-;hello; world\n SUBSYSTEM=pci\n'), {
    facility: 1,
    priority: 4,
    sequence: 711,
    clockUs: 5_140_900,
    message: 'hello; world',
  });
  assert.equal(parseKernelRecord('6,1,0,c,caller=T1;x')?.message, 'x');
  assert.equal(parseKernelRecord(String.raw`6,1,0,-;a\x09b\x5cc \xc3\xa9 ü`)?.message, 'a\tb\\c é ü');
  for (const text of ['', 'x', '6,1;x', '6,1,0,-']) assert.equal(parseKernelRecord(text), undefined, text);
});

test('a record goes out with the keys and words of Talos', () => {
  const bootMs = Date.UTC(2026, 0, 1);
  const line = formatKernelRecord(
    { facility: 1, priority: 4, sequence: 711, clockUs: 5_140_900, message: 'say "hi"\n' },
    bootMs,
  );
  assert.deepEqual(JSON.parse(line), {
    clock: 5_140_900,
    facility: 'user',
    msg: 'say "hi"\n',
    priority: 'warning',
    seq: 711,
    'talos-level': 'warn',
    'talos-time': '2026-01-01T00:00:05.1409Z',
  });
  assert.ok(!line.includes('\n'));
});

test('priorities become levels as Talos maps them, facilities have their names', () => {
  const fields = (priority: number, facility = 0) =>
    JSON.parse(formatKernelRecord({ facility, priority, sequence: 0, clockUs: 0, message: '' }, 0)) as Record<
      string,
      string
    >;
  const levels = Array.from({ length: 8 }, (_, priority) => fields(priority)['talos-level']);
  assert.deepEqual(levels, ['error', 'error', 'error', 'error', 'warn', 'info', 'info', 'debug']);
  assert.deepEqual(
    [0, 3, 10, 16, 23, 12].map((facility) => fields(0, facility)['facility']),
    ['kern', 'daemon', 'authpriv', 'local0', 'local7', '12'],
  );
  assert.equal(fields(0)['talos-time'], '1970-01-01T00:00:00Z');
});
