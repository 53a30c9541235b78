import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Deadlines, type Deadline } from '../../../src/tunnel/deadlines.ts';

test('deadlines: one fires at its time and not a millisecond before, once', () => {
  const deadlines = new Deadlines();
  const fired: number[] = [];
  deadlines.create('a', (now) => fired.push(now)).arm(100);
  assert.equal(deadlines.advance(99), 100);
  assert.deepEqual(fired, []);
  assert.equal(deadlines.advance(100), Number.POSITIVE_INFINITY);
  deadlines.advance(1000);
  assert.deepEqual(fired, [100]);
});

test('deadlines: one that is moved later fires at the later time only', () => {
  const deadlines = new Deadlines();
  const fired: number[] = [];
  const deadline = deadlines.create('a', (now) => fired.push(now));
  deadline.arm(100);
  deadline.arm(200);
  assert.equal(deadlines.advance(150), 200);
  assert.deepEqual(fired, []);
  deadlines.advance(200);
  assert.deepEqual(fired, [200]);
});

test('deadlines: the owner hears when the earliest deadline moves forward, and only then', () => {
  const heard: number[] = [];
  const deadlines = new Deadlines((at) => heard.push(at));
  const a = deadlines.create('a', () => {});
  a.arm(100);
  deadlines.create('b', () => {}).arm(300);
  deadlines.create('c', () => {}).arm(50);
  a.arm(400);
  assert.deepEqual(heard, [100, 50]);
});

test('deadlines: whatever is armed, moved, cancelled and removed, all fire in order exactly like a sorted list', () => {
  const step = fc.record({
    action: fc.constantFrom('arm', 'arm', 'arm', 'cancel', 'remove', 'advance'),
    which: fc.integer({ min: 0, max: 7 }),
    delta: fc.integer({ min: 0, max: 50 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let now = 0;
      const fired: string[] = [];
      const model = new Map<number, number>();
      const deadlines = new Deadlines();
      const all: Deadline[] = Array.from({ length: 8 }, (_, i) =>
        deadlines.create(`${i}`, () => fired.push(`${i}`)),
      );
      for (const { action, which, delta } of steps) {
        const deadline = all[which] as Deadline;
        if (action === 'arm') {
          deadline.arm(now + 1 + delta);
          model.set(which, now + 1 + delta);
        } else if (action === 'advance') {
          now += delta;
          const next = deadlines.advance(now);
          const due = [...model].filter(([, at]) => at <= now).sort((a, b) => a[1] - b[1]);
          // Equal times may fire in any order.
          const batch = fired.splice(0);
          assert.deepEqual(
            batch.map((name) => model.get(Number(name))),
            due.map(([, at]) => at),
          );
          assert.deepEqual(batch.toSorted(), due.map(([name]) => `${name}`).toSorted());
          for (const [name] of due) model.delete(name);
          assert.ok(next <= Math.min(Number.POSITIVE_INFINITY, ...model.values()));
          assert.ok(next > now);
        } else {
          if (action === 'cancel') deadline.cancel();
          else deadline.remove();
          model.delete(which);
        }
        assert.deepEqual(
          deadlines.armed().map((each) => each.at),
          [...model.values()].sort((a, b) => a - b),
        );
      }
    }),
    { numRuns: 500 },
  );
});
