import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Arena } from '../../../src/core/arena.ts';
import { hasLibc } from '../../../src/sys/libc.ts';
import { arenaAddress, Block } from '../../../src/sys/memory.ts';
import { MessageTable } from '../../../src/sys/messages.ts';
import * as structs from '../../../src/sys/structs.ts';

const skip = hasLibc() ? false : 'SKIPPED: needs Linux and koffi';

/** Offsets ascend, do not overlap the end, and the size is at least the last offset. */
test('the fields of each struct lie in order within its size', () => {
  for (const [name, layout] of Object.entries(structs)) {
    if (typeof layout !== 'object') continue;
    const { size, ...fields } = layout as Record<string, number> & { size: number };
    const offsets = Object.values(fields);
    assert.ok(
      offsets.every((offset) => offset < size),
      name,
    );
  }
});

test('the sizes are those of the 64-bit kernel headers', () => {
  assert.deepEqual(
    [
      structs.SOCKADDR_IN.size,
      structs.SOCKADDR_IN6.size,
      structs.IOVEC.size,
      structs.MMSGHDR.size,
      structs.CMSGHDR.size,
      structs.IFREQ.size,
      structs.controlSpace(4),
      structs.controlSpace(structs.IN_PKTINFO.size),
      structs.controlSpace(structs.IN6_PKTINFO.size),
    ],
    [16, 28, 16, 64, 16, 40, 24, 32, 40],
  );
});

test('socket addresses have the family native, the port big endian and the scope native', () => {
  const view = new DataView(new ArrayBuffer(32));
  assert.equal(structs.writeSocketAddress(view, 0, Uint8Array.of(192, 0, 2, 1), 51_820), 16);
  assert.deepEqual(new Uint8Array(view.buffer, 0, 8), Uint8Array.of(2, 0, 0xca, 0x6c, 192, 0, 2, 1));
  assert.equal(structs.readSocketPort(view, 0), 51_820);
  const linkLocal = new Uint8Array(16).fill(0xfe, 0, 1);
  assert.equal(structs.writeSocketAddress(view, 0, linkLocal, 1, 7), 28);
  assert.deepEqual(
    new Uint8Array(view.buffer, 0, 28),
    Uint8Array.of(10, 0, 0, 1, 0, 0, 0, 0, ...linkLocal, 7, 0, 0, 0),
  );
});

test('struct writers refuse to leave their buffer', () => {
  const view = new DataView(new ArrayBuffer(20));
  assert.throws(() => structs.writeSocketAddress(view, 8, new Uint8Array(16), 1), RangeError);
  assert.throws(() => structs.writeSocketAddress(view, 18, new Uint8Array(4), 1), RangeError);
  assert.throws(() => structs.writeU64(view, 16, 1), RangeError);
  assert.throws(() => structs.writeControlHeader(view, 8, 0, 8, 12), RangeError);
  assert.throws(() => structs.writeInterfaceName(view, 8, 'wg0'), RangeError);
});

test('interface names take at most 15 bytes and come back without the zeros', () => {
  const view = new DataView(new ArrayBuffer(16));
  const bytes = new Uint8Array(view.buffer);
  structs.writeInterfaceName(view, 0, 'fifteen-letters');
  structs.writeInterfaceName(view, 0, 'wg0');
  assert.equal(structs.readName(bytes, 0, 16), 'wg0');
  assert.throws(() => structs.writeInterfaceName(view, 0, 'sixteen-letters!'), RangeError);
  assert.equal(structs.readName(new Uint8Array(16).fill(65), 0, 16), 'A'.repeat(16));
});

test('64-bit values keep all 53 bits', () => {
  const view = new DataView(new ArrayBuffer(8));
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      structs.writeU64(view, 0, value);
      return view.getBigUint64(0, true) === BigInt(value);
    }),
  );
});

test('a message table points each message at its own name, iovec and control buffer', { skip }, () => {
  const arena = new Arena({ bytes: 65_536 });
  const base = arenaAddress(arena);
  const free = arena.free;
  const table = new MessageTable(arena, 3, 64);
  assert.ok(free - arena.free <= MessageTable.arenaBytes(3, 64));
  const u64 = (address: number, field: number) =>
    Number(arena.view.getBigUint64(address - base + field, true));
  for (let i = 0; i < 3; i++) {
    const header = table.address(i);
    assert.equal(u64(header, structs.MMSGHDR.name), base + table.name(i));
    assert.equal(u64(header, structs.MMSGHDR.iovLength), 1);
    assert.equal(u64(header, structs.MMSGHDR.control), base + table.control(i));
    table.setControl(i, 24, 40);
    assert.equal(u64(header, structs.MMSGHDR.control), base + table.control(i) + 24);
    assert.equal(u64(header, structs.MMSGHDR.controlLength), 40);
    assert.ok(table.setBuffer(i, 4096 + i, 100 + i));
    const iovec = u64(header, structs.MMSGHDR.iov);
    assert.deepEqual([u64(iovec, 0), u64(iovec, 8)], [base + 4096 + i, 100 + i]);
  }
});

test('a message table refuses buffers outside the arena', { skip }, () => {
  const arena = new Arena({ bytes: 65_536 });
  const table = new MessageTable(arena, 1, 64);
  const size = arena.u8.length;
  assert.ok(table.setBuffer(0, size - 10, 10));
  assert.ok(!table.setBuffer(0, size - 10, 11));
  assert.ok(!table.setBuffer(0, 2 ** 32 - 1, 1));
});

test('a block has an address of its own and reads back what was written', { skip }, () => {
  const [a, b] = [new Block(64), new Block(64)];
  assert.ok(a.address > 4096 && Math.abs(a.address - b.address) >= 64);
  assert.throws(() => a.view.setUint8(64, 1), RangeError);
});
