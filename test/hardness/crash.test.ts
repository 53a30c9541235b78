import { test } from 'node:test';
import { crashRounds } from '../kit/crash-rounds.ts';

test('500 kills: nothing acknowledged is lost and no address is given twice', async (t) => {
  const seed = Date.now();
  t.diagnostic(`seed ${seed}`);
  // Two state directories at a time, so that a death is waited for while the other one works.
  const reports = await Promise.all([crashRounds(250, seed), crashRounds(250, seed + 1)]);
  const sum = (of: (report: (typeof reports)[number]) => number) =>
    reports.reduce((total, report) => total + of(report), 0);
  t.diagnostic(
    `${sum(({ rounds }) => rounds)} kills, ${sum(({ acknowledged }) => acknowledged)} acknowledged changes, ` +
      `${sum(({ done }) => done)} done unacknowledged, ${sum(({ early }) => early)} killed before they had begun`,
  );
});
