import { Arena } from '../../../src/core/arena.ts';
import { MemoryTun } from '../../../src/tun/memory.ts';
import { tunContract } from '../../contracts/tun.ts';

tunContract('memory', () => {
  const arena = new Arena({ bytes: 1 << 20 });
  const tun = new MemoryTun(arena, 'mem0');
  return {
    tun,
    arena,
    inject: (packet) => tun.inject(packet),
    delivered: () => tun.delivered.splice(0),
    setLink: (up) => tun.setLink(up),
    setMtu: (mtu) => tun.setMtu(mtu),
    vanish: () => tun.vanish(),
    dispose: () => Promise.resolve(),
  };
});
