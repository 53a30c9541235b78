/** Segmentation and coalescing between two TUN devices of the kernel, whose super-packets are not of our making. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PortableChecksums } from '../../../../src/core/checksums.ts';
import { wasmChecksums } from '../../../../src/wasm/checksums.ts';
import { requireRoot } from '../../../kit/netns.ts';
import { TunBridge, transfer } from '../../../kit/tun-bridge.ts';

const skip = requireRoot({ tun: true });
const timeout = 60_000;
const TCP_BYTES = 24 << 20;

describe('between two TUN devices with offloads', () => {
  for (const [name, mtu, create] of [
    ['MTU 1420, SIMD sums', 1420, wasmChecksums],
    ['an odd MTU, portable sums', 1399, (arena) => new PortableChecksums(arena)],
  ] as const satisfies readonly (readonly [string, number, typeof wasmChecksums])[]) {
    test(`TCP comes over in order and unharmed, as super-packets: ${name}`, { skip, timeout }, async () => {
      await using bridge = new TunBridge({ mtu, offload: true, checksums: create });
      for (const family of [4, 6] as const) await transfer('tcp', bridge.a, bridge.b, family, TCP_BYTES);
      const sent = TunBridge.linkPackets(bridge.a).tx;
      const received = TunBridge.linkPackets(bridge.b).rx;
      assert.ok(sent.bytes > 2 * TCP_BYTES && received.bytes > 2 * TCP_BYTES, 'all went through the tunnel');
      assert.ok(sent.bytes / sent.packets > 4 * mtu, 'the kernel handed over super-packets');
      assert.ok(received.bytes / received.packets > 4 * mtu, 'the kernel took joined packets');
    });

    test(
      `datagrams come over in order and unharmed, with their bounds: ${name}`,
      { skip, timeout },
      async () => {
        await using bridge = new TunBridge({ mtu, offload: true, checksums: create });
        assert.equal(bridge.a.tun.format, 'tcp_and_udp', 'USO needs Linux 6.2');
        for (const family of [4, 6] as const) await transfer('udp', bridge.a, bridge.b, family, mtu);
      },
    );
  }

  test('a TUN without offloads carries the same', { skip, timeout }, async () => {
    await using bridge = new TunBridge({ mtu: 1420, offload: false, checksums: wasmChecksums });
    assert.equal(bridge.a.tun.format, 'plain');
    for (const family of [4, 6] as const) {
      await transfer('tcp', bridge.a, bridge.b, family, 1 << 20);
      await transfer('udp', bridge.a, bridge.b, family, 1420);
    }
  });
});
