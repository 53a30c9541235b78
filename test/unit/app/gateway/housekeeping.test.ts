import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Housekeeping } from '../../../../src/app/gateway/housekeeping.ts';
import type { Logger } from '../../../../src/core/log.ts';
import { FakeClock } from '../../../kit/clock.ts';

test('a task that goes on failing is reported once, and again when it has worked in between', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const reasons: unknown[] = [];
  const logger: Logger = {
    log: (_level, _event, fields) => void reasons.push(fields?.['reason']),
    child: () => logger,
  };
  let problem: string | undefined = 'the disk is full';
  const housekeeping = new Housekeeping({
    gateway: { sweep: async () => {} },
    journal: {
      flush: () => {
        if (problem !== undefined) throw new Error(problem);
      },
      sweep: () => {},
    },
    front: { checkConnections: () => {} },
    setCertificate: () => {},
    tls: undefined,
    clock: new FakeClock(),
    logger,
  });
  housekeeping.start();
  t.mock.timers.tick(10_000);
  assert.deepEqual(reasons, ['Error: the disk is full']);
  problem = undefined;
  t.mock.timers.tick(1_000);
  problem = 'the disk is full';
  t.mock.timers.tick(10_000);
  problem = 'another one';
  t.mock.timers.tick(10_000);
  assert.deepEqual(reasons, ['Error: the disk is full', 'Error: the disk is full', 'Error: another one']);
  await housekeeping.stop();
});

test('so is one whose failure comes later', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const tasks: unknown[] = [];
  const logger: Logger = {
    log: (_level, _event, fields) => void tasks.push(fields?.['task']),
    child: () => logger,
  };
  const housekeeping = new Housekeeping({
    gateway: { sweep: () => Promise.reject(new Error('the disk is full')) },
    journal: { flush: () => {}, sweep: () => {} },
    front: { checkConnections: () => {} },
    setCertificate: () => {},
    tls: undefined,
    clock: new FakeClock(),
    logger,
  });
  housekeeping.start();
  for (let n = 0; n < 20; n++) {
    t.mock.timers.tick(5_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(tasks, ['last endpoints']);
  await housekeeping.stop();
});
