import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ENDING_SIGNALS, stopOnSignals } from '../../../src/app/signals.ts';

/** What happens at SIGHUP, twice; afterwards this process listens to nothing more than before. */
function hangUp(t: TestContext, reload: (() => void) | undefined, hasTerminal: boolean): string[] {
  const happened: string[] = [];
  const before = ENDING_SIGNALS.map((signal) => [signal, process.listeners(signal)] as const);
  t.after(() => {
    for (const [signal, listeners] of before) {
      const added = process.listeners(signal).filter((listener) => !listeners.includes(listener));
      for (const listener of added) process.removeListener(signal, listener);
    }
  });
  stopOnSignals(
    { stop: async (reason) => void happened.push(`stop ${reason}`) },
    reload && (() => void happened.push('reload')),
    hasTerminal,
  );
  process.emit('SIGHUP', 'SIGHUP');
  process.emit('SIGHUP', 'SIGHUP');
  return happened;
}

test('SIGHUP without a terminal reloads, every time', (t) => {
  assert.deepEqual(
    hangUp(t, () => {}, false),
    ['reload', 'reload'],
  );
});

test('SIGHUP of a terminal that hangs up ends the program', (t) => {
  assert.deepEqual(
    hangUp(t, () => {}, true),
    ['stop SIGHUP'],
  );
});

test('SIGHUP ends a program that has nothing to reload', (t) => {
  assert.deepEqual(hangUp(t, undefined, false), ['stop SIGHUP']);
});
