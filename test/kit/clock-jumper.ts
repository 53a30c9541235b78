/**
 * Loaded by `node --import` into a program under test: its wall clock is off by the milliseconds in the file that env
 * CULVERT_TEST_CLOCK names, read anew at each SIGUSR2. Nothing of the program itself knows of this.
 */
import { readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const file = process.env['CULVERT_TEST_CLOCK'];
if (isMainThread && file !== undefined) {
  const trueNow = Date.now;
  let offsetMs = 0;
  Date.now = () => trueNow() + offsetMs;
  process.on('SIGUSR2', () => (offsetMs = Number(readFileSync(file, 'utf8'))));
}
