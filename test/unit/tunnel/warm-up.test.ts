import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { createTransportAead } from '../../../src/noise/aead-choose.ts';
import { hasLibc } from '../../../src/sys/libc.ts';
import { warmUp } from '../../../src/tunnel/lane/warm-up.ts';

const skip = hasLibc() ? false : 'SKIPPED: needs 64-bit Linux';

for (const tunFormat of ['plain', 'tcp_and_udp'] as const) {
  test(
    `a lane warms up on a TUN of the format ${tunFormat} and leaves no descriptor behind`,
    { skip },
    () => {
      const arena = new Arena({ bytes: 1 << 20 });
      const { report } = createTransportAead(arena, { wanted: 'wasm', clock: systemClock });
      const descriptors = () => readdirSync('/proc/self/fd').length;
      const before = descriptors();
      const packets = warmUp({
        tunFormat,
        aead: report,
        datagrams: { gso: true, gro: true, maxWaitMs: 10 },
      });
      assert.ok(packets.sent > 0);
      assert.equal(packets.returned, packets.sent);
      assert.equal(descriptors(), before);
    },
  );
}
