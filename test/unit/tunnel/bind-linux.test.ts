import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import type { Logger } from '../../../src/core/log.ts';
import { EPERM, systemError } from '../../../src/sys/errno.ts';
import { hasLibc } from '../../../src/sys/libc.ts';
import { fdWatcher } from '../../../src/sys/readiness.ts';
import { InlineSocketUser, LinuxBind } from '../../../src/tunnel/bind-linux.ts';
import { LinuxDatagrams } from '../../../src/tunnel/linux-datagrams.ts';
import { bindContract } from '../../contracts/bind.ts';
import { linuxSide } from '../../kit/linux-bind.ts';
import { address } from '../../kit/pair.ts';

const LOOPBACK = { 4: address('127.0.0.1'), 6: address('::1') };
const skip = hasLibc() ? false : 'SKIPPED: needs Linux and koffi';

for (const [name, offloads] of [
  ['linux', { gso: false, gro: false }],
  ['linux with GSO', { gso: true, gro: false }],
  ['linux with GSO and GRO', { gso: true, gro: true }],
] as const) {
  const side = () => linuxSide(LOOPBACK, offloads);
  bindContract(
    name,
    { carriesTos: true },
    () => ({
      alice: side(),
      bob: side(),
      createRival: () => side().bind,
      deliver: () => {},
      dispose: () => Promise.resolve(),
    }),
    skip,
  );
}

test('where routes cannot be followed the bind opens all the same, with a warning', { skip }, async () => {
  const logged: string[] = [];
  const logger: Logger = { log: (level, event) => logged.push(`${level} ${event}`), child: () => logger };
  const datagrams = new LinuxDatagrams(new Arena({ bytes: 4 << 20 }), {
    gso: false,
    gro: false,
    maxWaitMs: 0,
  });
  const watch = () => {
    throw systemError('open netlink socket', EPERM);
  };
  const bind = new LinuxBind({
    user: new InlineSocketUser(datagrams, fdWatcher),
    watcher: { watch },
    gro: false,
    logger,
    onRoutesChanged: () => {},
  });
  assert.ok((await bind.open(0)) > 0);
  assert.deepEqual(logged, ['warn routes_not_followed']);
  await bind.close();
});
