import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Arena } from '../../../src/core/arena.ts';
import { parseAddress } from '../../../src/core/ip.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { fdWatcher } from '../../../src/sys/readiness.ts';
import { MAX_UNREACHABLE_SIZE, writeUnreachable } from '../../../src/tun/icmp.ts';
import { openTun } from '../../../src/tun/linux.ts';
import { checksum, wordSum } from '../../../src/tun/packet.ts';
import { Namespace, requireRoot } from '../../kit/netns.ts';
import { ipv4Packet, ipv6Packet } from '../../kit/packets.ts';

const arena = new Arena({ bytes: 1 << 20 });
const at = arena.alloc(1 << 17);
const to = arena.alloc(4_096);
const bytes = (offset: number, length: number): Uint8Array => arena.u8.slice(offset, offset + length);

/** The answer to `packet`, or undefined when there is none. */
function answer(packet: Uint8Array): Uint8Array | undefined {
  arena.u8.set(packet, at);
  arena.u8.fill(0xee, to, to + 4_096);
  const size = writeUnreachable(arena, at, packet.length, to);
  assert.ok(size <= MAX_UNREACHABLE_SIZE);
  assert.ok(arena.u8.subarray(to + size, to + 4_096).every((byte) => byte === 0xee));
  return size === 0 ? undefined : bytes(to, size);
}

const v4 = (size = 84) => ipv4Packet('10.0.0.1', '10.0.0.2', size);
const v6 = (size = 104) => ipv6Packet('fd00::1', 'fd00::2', size);

test('IPv4: host unreachable goes to the sender, from the address not reached, and quotes the packet', () => {
  const packet = v4();
  const reply = answer(packet) ?? assert.fail('no answer');
  assert.equal(reply.length, 20 + 8 + 84);
  assert.deepEqual([reply[0], reply[9], reply[20], reply[21]], [0x45, 1, 3, 1]);
  assert.equal(new DataView(reply.buffer).getUint16(2), reply.length);
  assert.deepEqual(reply.slice(12, 16), parseAddress('10.0.0.2'));
  assert.deepEqual(reply.slice(16, 20), parseAddress('10.0.0.1'));
  assert.deepEqual(reply.slice(28), packet);
  assert.equal(checksum(wordSum(arena, to, 20)), 0);
  assert.equal(checksum(wordSum(arena, to + 20, reply.length - 20)), 0);
});

test('IPv6: address unreachable goes to the sender, from the address not reached, and quotes the packet', () => {
  const packet = v6();
  const reply = answer(packet) ?? assert.fail('no answer');
  assert.equal(reply.length, 40 + 8 + 104);
  assert.deepEqual([reply[0], reply[6], reply[40], reply[41]], [0x60, 58, 1, 3]);
  assert.equal(new DataView(reply.buffer).getUint16(4), reply.length - 40);
  assert.deepEqual(reply.slice(8, 24), parseAddress('fd00::2'));
  assert.deepEqual(reply.slice(24, 40), parseAddress('fd00::1'));
  assert.deepEqual(reply.slice(48), packet);
  const pseudo = wordSum(arena, to + 8, 32, reply.length - 40 + 58);
  assert.equal(checksum(wordSum(arena, to + 40, reply.length - 40, pseudo)), 0);
});

test('answers have at most 576 bytes in IPv4 and 1280 in IPv6', () => {
  assert.equal(answer(v4(1_400))?.length, 576);
  assert.equal(answer(v6(1_400))?.length, 1_280);
  assert.equal(answer(v4(65_535))?.length, 576);
});

test('an odd number of bytes is summed as if a zero followed', () => {
  const reply = answer(v4(85)) ?? assert.fail('no answer');
  assert.equal(checksum(wordSum(arena, to + 20, reply.length - 20)), 0);
});

test('IPv4: there is no answer to ICMP errors, but to queries', () => {
  const icmp = (type: number) => {
    const packet = v4();
    packet[9] = 1;
    packet[20] = type;
    return answer(packet) !== undefined;
  };
  for (const error of [3, 4, 5, 11, 12]) assert.ok(!icmp(error), `type ${error}`);
  for (const query of [0, 8, 13, 14]) assert.ok(icmp(query), `type ${query}`);
  const empty = v4(20);
  empty[9] = 1;
  assert.equal(answer(empty), undefined);
});

test('IPv4: there is no answer to fragments behind the first', () => {
  const packet = v4();
  packet.set([0x20, 0x00], 6);
  assert.ok(answer(packet));
  packet.set([0x00, 0x01], 6);
  assert.equal(answer(packet), undefined);
});

test('IPv4: there is no answer from or to what is not one host', () => {
  for (const [from, destination] of [
    ['0.0.0.0', '10.0.0.2'],
    ['0.1.2.3', '10.0.0.2'],
    ['224.0.0.1', '10.0.0.2'],
    ['255.255.255.255', '10.0.0.2'],
    ['10.0.0.1', '239.1.1.1'],
    ['10.0.0.1', '255.255.255.255'],
  ] as const) {
    assert.equal(answer(ipv4Packet(from, destination, 84)), undefined, `${from} to ${destination}`);
  }
});

test('IPv6: there is no answer to ICMPv6 errors, behind extension headers either, but to queries', () => {
  const icmp = (type: number) => {
    const packet = v6();
    packet[6] = 58;
    packet[40] = type;
    return answer(packet) !== undefined;
  };
  for (const error of [1, 2, 3, 4, 127]) assert.ok(!icmp(error), `type ${error}`);
  for (const query of [128, 129, 135]) assert.ok(icmp(query), `type ${query}`);
  const extended = (type: number) => {
    const packet = v6();
    // Hop-by-hop options of 16 bytes, then destination options of 8.
    packet[6] = 0;
    packet.set([60, 1], 40);
    packet.set([58, 0], 56);
    packet[64] = type;
    return answer(packet) !== undefined;
  };
  assert.ok(!extended(1));
  assert.ok(extended(128));
});

test('IPv6: there is no answer to fragments behind the first, nor to what ends within its headers', () => {
  const fragment = (offset: number) => {
    const packet = v6();
    packet[6] = 44;
    packet.set([17, 255, offset >> 8, offset & 0xff], 40);
    return answer(packet) !== undefined;
  };
  assert.ok(fragment(1));
  assert.ok(!fragment(8));
  const cut = v6(44);
  cut[6] = 0;
  assert.equal(answer(cut), undefined);
});

test('IPv6: there is no answer from or to what is not one host', () => {
  assert.equal(answer(ipv6Packet('::', 'fd00::2', 84)), undefined);
  assert.equal(answer(ipv6Packet('ff02::1', 'fd00::2', 84)), undefined);
  assert.equal(answer(ipv6Packet('fd00::1', 'ff02::1', 84)), undefined);
});

test('any bytes whatever give no answer or a well-formed one, and nothing is written beyond it', () => {
  const start = fc.constantFrom(0x45, 0x4f, 0x60, 0x00);
  fc.assert(
    fc.property(start, fc.uint8Array({ minLength: 1, maxLength: 100 }), (first, packet) => {
      packet[0] = first;
      const reply = answer(packet);
      if (reply) assert.equal(reply.length, packet.length + (first === 0x60 ? 48 : 28));
    }),
    { numRuns: 2_000 },
  );
});

test(
  'ping shows the refusal of a TUN device as unreachable, in both families',
  {
    skip: requireRoot({ tun: true, programs: ['ping'] }),
  },
  async () => {
    const namespace = Namespace.create();
    const tun = namespace.within(() =>
      openTun({ name: 'wgt0', arena, watcher: fdWatcher, every: () => () => {}, logger: silentLogger }),
    );
    namespace.ip('address add 10.7.0.100/24 dev wgt0');
    namespace.ip('address add fd07::100/64 dev wgt0 nodad');
    namespace.ip('link set wgt0 up');
    tun.packets.onReadable(() => {
      for (let length = tun.packets.read(at, 2_048); length > 0; length = tun.packets.read(at, 2_048)) {
        const size = writeUnreachable(arena, at, length, to);
        if (size > 0) assert.equal(tun.packets.write(to, size), size);
      }
    });
    const ping = async (destination: string) => {
      const child = namespace.spawn('ping', ['-c1', '-W5', destination], { stdio: 'pipe' });
      let output = '';
      child.stdout?.on('data', (text) => (output += String(text)));
      await new Promise((resolve) => child.once('close', resolve));
      return output;
    };
    assert.match(await ping('10.7.0.9'), /From 10\.7\.0\.9 icmp_seq=1 Destination Host Unreachable/);
    assert.match(
      await ping('fd07::9'),
      /From fd07::9 icmp_seq=1 Destination unreachable: Address unreachable/,
    );
    tun.close();
    await namespace.close();
  },
);
