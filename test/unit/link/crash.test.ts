import { test } from 'node:test';
import { crashRounds } from '../../kit/crash-rounds.ts';

test('a gateway killed at any point loses nothing acknowledged and gives no address twice', async (t) => {
  const { rounds, acknowledged, done, early } = await crashRounds(40, Date.now());
  t.diagnostic(
    `${rounds} kills, ${acknowledged} acknowledged changes, ${done} done unacknowledged, ${early} early`,
  );
});
