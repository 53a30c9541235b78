import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NoiseWatch } from '../../../../src/app/bench/noise.ts';
import { type CpuTimes, cpuTimes, processCpuSeconds } from '../../../../src/app/bench/processes.ts';

/** A watch over a machine with two processors whose times are told one after the other; rests take no time. */
function watch(...times: CpuTimes[]): NoiseWatch {
  let next = 0;
  return new NoiseWatch(
    () => times[Math.min(next++, times.length - 1)],
    () => Promise.resolve(),
  );
}

const at = (total: number, busy: number, steal = 0): CpuTimes => ({ total, busy, steal });

test('noise: /proc/stat is read as proc(5) says', () => {
  const text = 'cpu  100 200 300 4000 500 60 70 80 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n';
  assert.deepEqual(cpuTimes(text), { busy: 7.3, steal: 0.8, total: 53.1 });
  assert.equal(cpuTimes(''), undefined);
  assert.equal(cpuTimes('cpu  1 2 x 4 5 6 7 8'), undefined);
});

test('noise: the CPU time of a process that runs is more than none, of one that does not none', () => {
  assert.ok(processCpuSeconds(process.pid) >= 0);
  assert.equal(processCpuSeconds(0), 0);
});

test('noise: a machine where nobody else computes is quiet', async () => {
  const noise = watch(at(0, 0), at(10, 9), at(10.4, 9.01), at(20, 18));
  await noise.rest(2);
  for (const spread of [0.01, 0.02, 0.4]) noise.addSpread(spread);
  const { otherLoad, steal, spread, warnings } = noise.report();
  assert.ok(otherLoad !== undefined && Math.abs(otherLoad - 0.05) < 1e-9);
  assert.deepEqual([steal, spread, warnings], [0, 0.02, []]);
});

test('noise: what others compute while this process rests is told in processors', async () => {
  // 0.2 s of two processors, of which 0.3 s were busy.
  const noise = watch(at(0, 0), at(1, 1), at(1.4, 1.3), at(9, 9));
  await noise.rest(2);
  assert.deepEqual(noise.report().warnings, [
    'other programs kept 1.5 processors busy while this one rested',
  ]);
});

test('noise: time that a hypervisor took is told', () => {
  assert.deepEqual(watch(at(0, 0, 1), at(100, 50, 6)).report().warnings, [
    "the hypervisor took 5 % of the machine's time",
  ]);
});

test('noise: repetitions that lie apart are told by the typical row, not by one outlier', () => {
  const noise = watch(at(0, 0), at(10, 5));
  for (const spread of [0.01, 0.02, 5]) noise.addSpread(spread);
  assert.deepEqual(noise.report().warnings, []);
  for (const spread of [0.3, 0.3, 0.3, undefined]) noise.addSpread(spread);
  assert.deepEqual(noise.report().warnings, ['repetitions of one measurement differ by 30 %']);
});

test('noise: without /proc/stat only repetitions are judged', async () => {
  const noise = new NoiseWatch(
    () => undefined,
    () => Promise.resolve(),
  );
  await noise.rest(2);
  assert.deepEqual(noise.report(), { warnings: [] });
});
