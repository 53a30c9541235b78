import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseHex } from '../../../src/core/bytes.ts';
import * as netlink from '../../../src/sys/netlink-message.ts';
import * as rt from '../../../src/sys/rtnetlink.ts';

/** RTM_NEWLINK of `lo`, index 1, IFF_UP | IFF_LOOPBACK | IFF_RUNNING, MTU 65536. */
const LINK = netlink.encodeRequest(
  rt.RTM_NEWLINK,
  0,
  7,
  Uint8Array.of(0, 0, 4, 3, 1, 0, 0, 0, 0x49, 0, 1, 0, 0, 0, 0, 0),
  [
    netlink.textAttribute(rt.IFLA_IFNAME, 'lo'),
    netlink.u32Attribute(rt.IFLA_MTU, 65_536),
    netlink.u32Attribute(rt.IFLA_TXQLEN, 500),
    { type: rt.IFLA_STATS64, data: stats64({ at: 56, value: 2n ** 33n }) },
  ],
);

/** struct rtnl_link_stats64 with one figure. */
function stats64({ at, value }: { at: number; value: bigint }): Uint8Array {
  const stats = new Uint8Array(192);
  new DataView(stats.buffer).setBigUint64(at, value, true);
  return stats;
}

const only = (bytes: Uint8Array): netlink.NetlinkMessage => {
  const [message] = [...netlink.decodeMessages(bytes)];
  assert.ok(message);
  return message;
};

test('requests are laid out as in linux/netlink.h', () => {
  const bytes = netlink.encodeRequest(18, 5, 0x01020304, Uint8Array.of(1, 2, 3, 4), [
    netlink.textAttribute(3, 'wg0x'),
    netlink.u32Attribute(4, 1420),
  ]);
  assert.deepEqual(
    bytes,
    parseHex('2800000012000500040302010000000001020304090003007767307800000000080004008c050000', 40),
  );
});

test('link messages give index, name, flags, MTU and the queue of packets to send', () => {
  assert.deepEqual(rt.decodeLink(only(LINK)), {
    index: 1,
    name: 'lo',
    flags: 0x10049,
    mtu: 65_536,
    txQueueLength: 500,
    txDropped: 2 ** 33,
  });
  assert.equal(rt.decodeRoute(only(LINK)), undefined);
});

test('several messages in one datagram come out in order, a cut one ends them', () => {
  const two = new Uint8Array(LINK.length * 2);
  two.set(LINK);
  two.set(LINK, LINK.length);
  assert.equal([...netlink.decodeMessages(two)].length, 2);
  assert.equal([...netlink.decodeMessages(two.subarray(0, -1))].length, 1);
  assert.equal([...netlink.decodeMessages(LINK.subarray(0, 15))].length, 0);
});

test('an answer to a route look-up gives interface, source and MTU metric', () => {
  const fixed = Uint8Array.of(2, 32, 0, 0, 254, 0, 0, rt.RTN_UNICAST, 0, 0, 0, 0);
  const metrics = Uint8Array.of(8, 0, 2, 0, 0x78, 5, 0, 0);
  const attributes = [
    netlink.u32Attribute(rt.RTA_OIF, 3),
    { type: rt.RTA_PREFSRC, data: Uint8Array.of(10, 0, 0, 1) },
    { type: rt.RTA_METRICS | 0x8000, data: metrics },
  ];
  const route = only(netlink.encodeRequest(rt.RTM_NEWROUTE, 0, 1, fixed, attributes));
  assert.deepEqual(rt.decodeRoute(route), {
    interfaceIndex: 3,
    source: Uint8Array.of(10, 0, 0, 1),
    mtu: 1400,
  });
  fixed[rt.RTMSG.type] = 7;
  const unreachable = only(netlink.encodeRequest(rt.RTM_NEWROUTE, 0, 1, fixed, attributes));
  assert.equal(rt.decodeRoute(unreachable), undefined);
});

test('errors give a positive errno and the words of the extended acknowledgement', () => {
  const payload = new Uint8Array(20);
  new DataView(payload.buffer).setInt32(0, -22, true);
  const plain = only(netlink.encodeRequest(netlink.NLMSG_ERROR, 0, 1, payload, []));
  assert.deepEqual(netlink.decodeError(plain), { errno: 22, text: undefined });
  const words = [netlink.textAttribute(1, 'Invalid prefix')];
  const capped = only(netlink.encodeRequest(netlink.NLMSG_ERROR, 0x300, 1, payload, words));
  assert.deepEqual(netlink.decodeError(capped), { errno: 22, text: 'Invalid prefix' });
  const acknowledgement = only(netlink.encodeRequest(netlink.NLMSG_ERROR, 0x100, 1, new Uint8Array(20), []));
  assert.deepEqual(netlink.decodeError(acknowledgement), { errno: 0, text: undefined });
});

test('decoders take any bytes without throwing and end', () => {
  const damaged = fc
    .tuple(fc.array(fc.tuple(fc.nat(LINK.length - 1), fc.nat(255)), { maxLength: 6 }), fc.nat(LINK.length))
    .map(([changes, length]) => {
      const bytes = LINK.slice();
      for (const [at, value] of changes) bytes[at] = value;
      return bytes.subarray(0, length);
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged), (bytes) => {
      for (const message of netlink.decodeMessages(bytes)) {
        assert.ok(message.payload.length <= bytes.length);
        rt.decodeLink(message);
        rt.decodeRoute({ ...message, type: rt.RTM_NEWROUTE });
        rt.decodeRouteTable({ ...message, type: rt.RTM_NEWROUTE });
        rt.decodeRule({ ...message, type: rt.RTM_NEWRULE });
        rt.decodeNamespaceId({ ...message, type: rt.RTM_NEWNSID });
        netlink.decodeError({ ...message, flags: 0x200 });
        netlink.decodeError({ ...message, flags: 0x300 });
      }
    }),
    { numRuns: 2_000 },
  );
});
