import { hasLibc } from '../../../src/sys/libc.ts';
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
