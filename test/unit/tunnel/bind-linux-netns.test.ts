import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SystemError } from '../../../src/core/errors.ts';
import { UdpSocket } from '../../../src/sys/udp-socket.ts';
import type { LinuxBind } from '../../../src/tunnel/bind-linux.ts';
import { decodeEndpoint, type Endpoint, ENDPOINT } from '../../../src/tunnel/endpoint.ts';
import { BindUser } from '../../contracts/bind.ts';
import { eventually } from '../../kit/eventually.ts';
import { joinByVeth, Namespace, requireRoot } from '../../kit/netns.ts';
import { linuxSide } from '../../kit/linux-bind.ts';
import { address } from '../../kit/pair.ts';

const hello = Uint8Array.of(1, 2, 3);

/** Alice and Bob in namespaces of their own, joined by veth. */
class World {
  readonly alice: Namespace = Namespace.create();
  readonly bob: Namespace = Namespace.create();
  readonly #binds: LinuxBind[] = [];

  constructor() {
    joinByVeth(
      { namespace: this.alice, link: 'eth0', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
      { namespace: this.bob, link: 'eth0', addresses: ['10.0.0.2/24', 'fd00::2/64'] },
    );
  }

  async user(namespace: Namespace): Promise<BindUser & { port: number }> {
    const side = linuxSide({ 4: address('0.0.0.0'), 6: address('::') });
    const { bind } = side;
    this.#binds.push(bind);
    const user = new BindUser(side);
    const port = await namespace.within(() => bind.open(0));
    return Object.assign(user, { port });
  }

  async dispose(): Promise<void> {
    for (const bind of this.#binds) await bind.close();
    await this.alice.close();
    await this.bob.close();
  }
}

const to = (text: string, port: number, scope = 0): Endpoint => ({
  address: address(text),
  port,
  scope,
  carrier: 0,
});

type Received = ReturnType<BindUser['receive']>[number];

async function nextOf(user: BindUser, count: number): Promise<Received[]> {
  const received: Received[] = [];
  await eventually(`${count} datagrams`, () => {
    received.push(...user.receive());
    return received.length >= count;
  });
  assert.equal(received.length, count);
  return received;
}

async function next(user: BindUser): Promise<Received> {
  const [received] = await nextOf(user, 1);
  return received ?? assert.fail();
}

const ADDRESSES = {
  4: { alice: '10.0.0.1', bob: '10.0.0.2' },
  6: { alice: 'fd00::1', bob: 'fd00::2' },
} as const;
const FAMILIES = [4, 6] as const;

describe('linux bind between namespaces', { skip: requireRoot() }, () => {
  const scenario = (title: string, body: (world: World) => Promise<void>) => {
    test(title, async () => {
      const world = new World();
      try {
        await body(world);
      } finally {
        await world.dispose();
      }
    });
  };

  scenario(
    'a reply leaves from the address that was targeted, at the interface it came in by',
    async (world) => {
      world.bob.ip('address add 10.0.0.22/24 dev eth0');
      world.bob.ip('address add fd00::22/64 dev eth0 nodad');
      const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
      for (const target of ['10.0.0.2', '10.0.0.22', 'fd00::2', 'fd00::22']) {
        alice.send(alice.record(to(target, bob.port)), [hello]);
        const { from } = await next(bob);
        assert.deepEqual(from.source?.address, address(target));
        assert.ok((from.source?.interfaceIndex ?? 0) > 1);
        bob.send(bob.batch.endpoint[0] as number, [hello]);
        assert.deepEqual((await next(alice)).from.address, address(target));
      }
    },
  );

  scenario('an address of another interface is answered from as well', async (world) => {
    world.bob.ip('address add 10.50.0.1/32 dev lo');
    world.bob.ip('address add fd50::1/128 dev lo nodad');
    world.alice.ip('route add 10.50.0.1/32 via 10.0.0.2');
    world.alice.ip('route add fd50::1/128 via fd00::2');
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    for (const target of ['10.50.0.1', 'fd50::1']) {
      alice.send(alice.record(to(target, bob.port)), [hello]);
      await next(bob);
      bob.send(bob.batch.endpoint[0] as number, [hello]);
      assert.deepEqual((await next(alice)).from.address, address(target));
    }
  });

  scenario(
    'when the source address is deleted, the very next datagram goes out from another one',
    async (world) => {
      const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
      for (const [family, second, length] of [
        [4, '10.0.0.22', 24],
        [6, 'fd00::22', 64],
      ] as const) {
        world.bob.ip(`address add ${second}/${length} dev eth0${family === 6 ? ' nodad' : ''}`);
        alice.send(alice.record(to(second, bob.port)), [hello]);
        await next(bob);
        const record = bob.batch.endpoint[0] as number;
        world.bob.ip(`address del ${second}/${length} dev eth0`);
        // At once, so that no notification can have come: it is the failing send that tells.
        // Growing ones cannot be joined, so each message fails by itself.
        const growing = [1, 2, 3].map((size) => new Uint8Array(size));
        bob.send(record, growing);
        for (const { from } of await nextOf(alice, 3)) {
          assert.deepEqual(from.address, address(ADDRESSES[family].bob));
        }
        assert.equal(decodeEndpoint(bob.side.arena.u8, record)?.source, undefined);
      }
      assert.deepEqual(bob.side.datagrams.sendErrors, {
        full: 0,
        tooLarge: 0,
        unreachable: 0,
        other: 0,
      });
    },
  );

  scenario('when the route moves to another interface, datagrams go out from its address', async (world) => {
    joinByVeth(
      { namespace: world.alice, link: 'eth1', addresses: ['10.1.0.1/24', 'fd01::1/64'] },
      { namespace: world.bob, link: 'eth1', addresses: ['10.1.0.2/24', 'fd01::2/64'] },
    );
    world.alice.ip('address add 10.9.9.9/32 dev lo');
    world.alice.ip('address add fd99::9/128 dev lo nodad');
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    for (const [remote, via, moved, expected] of [
      ['10.9.9.9', '10.0.0.1', '10.1.0.1', '10.1.0.2'],
      ['fd99::9', 'fd00::1', 'fd01::1', 'fd01::2'],
    ] as const) {
      const first = remote.includes(':') ? 'fd00::2' : '10.0.0.2';
      world.bob.ip(`route add ${remote} via ${via}`);
      // Alice's datagram comes from the address that only the route tells how to reach.
      const endpoint = { ...to(first, bob.port), source: { address: address(remote), interfaceIndex: 0 } };
      alice.send(alice.record(endpoint), [hello]);
      await next(bob);
      const record = bob.batch.endpoint[0] as number;
      bob.send(record, [hello]);
      assert.deepEqual((await next(alice)).from.address, address(first));
      const teaching = bob.side.arena.u8.slice(record, record + ENDPOINT.size);

      world.bob.ip(`route replace ${remote} via ${moved}`);
      await eventually('another source', async () => {
        bob.send(record, [hello]);
        return (await next(alice)).from.address.join() === address(expected).join();
      });
      // A packet that was on its way teaches the old source once more, to no avail.
      bob.side.arena.u8.set(teaching, record);
      bob.send(record, [hello]);
      assert.deepEqual((await next(alice)).from.address, address(expected));
    }
  });

  scenario('changes of routes that do not concern a peer leave its source alone', async (world) => {
    world.bob.ip('address add 10.0.0.22/24 dev eth0');
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    alice.send(alice.record(to('10.0.0.22', bob.port)), [hello]);
    await next(bob);
    const record = bob.batch.endpoint[0] as number;
    for (let i = 0; i < 5; i++) {
      world.bob.ip(`route add 203.0.113.${i} via 10.0.0.1`);
      bob.send(record, [hello]);
      assert.deepEqual((await next(alice)).from.address, address('10.0.0.22'));
    }
  });

  scenario('the mark is set on the sockets that are open and on those that come', async (world) => {
    for (const family of FAMILIES) {
      world.alice.ip(`-${family} rule add fwmark 7 table 77`);
      world.alice.ip(`-${family} route add default via ${ADDRESSES[family].bob} table 77`);
      world.bob.ip(`address add ${family === 4 ? '10.77.0.1/32' : 'fd77::1/128 nodad'} dev lo`);
    }
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    const { sendErrors } = alice.side.datagrams;
    const targets = ['10.77.0.1', 'fd77::1'];
    const reached = async () => {
      const before = sendErrors.unreachable;
      for (const target of targets) alice.send(alice.record(to(target, bob.port)), [hello]);
      const count = 2 - (sendErrors.unreachable - before);
      await nextOf(bob, count);
      return count;
    };
    assert.equal(await reached(), 0);
    alice.side.bind.setMark(7);
    assert.equal(await reached(), 2);
    await world.alice.within(() => alice.side.bind.open(0));
    assert.equal(await reached(), 2);
    alice.side.bind.setMark(0);
    assert.equal(await reached(), 0);
  });

  scenario('the TOS byte goes out and comes in, beside a source', async (world) => {
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    for (const family of FAMILIES) {
      for (const tos of [0x88, 0, 3]) {
        alice.send(alice.record(to(ADDRESSES[family].bob, bob.port)), [hello], tos);
        assert.equal((await next(bob)).tos, tos);
        bob.send(bob.batch.endpoint[0] as number, [hello], tos);
        assert.equal((await next(alice)).tos, tos);
      }
    }
  });

  scenario('link-local addresses work with their zone, both ways', async (world) => {
    const linkLocal = (namespace: Namespace) => {
      const [index = '', , , local = ''] = namespace
        .ip('-o -6 address show dev eth0 scope link')
        .split(/\s+/);
      return { scope: Number.parseInt(index, 10), local: local.split('/')[0] ?? '' };
    };
    const tentative = (namespace: Namespace) => namespace.ip('-6 address show tentative').trim() !== '';
    await eventually('addresses', () => !tentative(world.alice) && !tentative(world.bob));
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    const [a, b] = [linkLocal(world.alice), linkLocal(world.bob)];
    alice.send(alice.record(to(b.local, bob.port, a.scope)), [hello]);
    const { from } = await next(bob);
    assert.deepEqual(from.address, address(a.local));
    assert.equal(from.scope, b.scope);
    assert.deepEqual(from.source, { address: address(b.local), interfaceIndex: b.scope });
    bob.send(bob.batch.endpoint[0] as number, [hello]);
    assert.deepEqual((await next(alice)).from.address, address(b.local));
  });

  scenario('datagrams of 65,507 bytes cross a link with fragments', async (world) => {
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    const large = Uint8Array.from({ length: 65_507 }, (_, i) => i % 251);
    for (const family of FAMILIES) {
      alice.send(alice.record(to(ADDRESSES[family].bob, bob.port)), [large]);
      assert.deepEqual((await next(bob)).bytes, large);
    }
  });

  scenario('joined datagrams that do not fit the link go one by one, in fragments', async (world) => {
    world.alice.ip('link set eth0 mtu 1280');
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    const datagrams = [1, 2, 3, 4, 5].map((seed) => new Uint8Array(1_452).fill(seed));
    for (const family of FAMILIES) {
      alice.send(alice.record(to(ADDRESSES[family].bob, bob.port)), datagrams);
      const received = await nextOf(bob, 5);
      assert.deepEqual(
        received.map(({ bytes }) => bytes),
        datagrams,
      );
    }
    assert.equal(alice.side.datagrams.sendErrors.tooLarge, 0);
  });

  scenario('what cannot be sent is counted by cause, and what follows goes', async (world) => {
    world.alice.ip('route add prohibit 203.0.113.1');
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    const { datagrams } = alice.side;
    alice.send(alice.record(to('198.51.100.1', 9)), [hello]);
    alice.send(alice.record(to('2001:db8::1', 9)), [hello]);
    assert.deepEqual(datagrams.sendErrors, { full: 0, tooLarge: 0, unreachable: 2, other: 0 });
    alice.send(alice.record(to('203.0.113.1', 9)), [hello]);
    assert.deepEqual(datagrams.sendErrors, { full: 0, tooLarge: 0, unreachable: 2, other: 1 });
    alice.send(alice.record(to('10.0.0.2', bob.port)), [hello]);
    await next(bob);
  });

  scenario('datagrams that find the socket full are counted', async (world) => {
    const [alice, bob] = [await world.user(world.alice), await world.user(world.bob)];
    const record = alice.record(to('10.0.0.2', bob.port));
    const batch = Array.from({ length: 64 }, () => new Uint8Array(2_000));
    const rounds = 100;
    for (let i = 0; i < rounds; i++) alice.send(record, batch);
    let received = 0;
    for (let count = -1; count !== 0;) received += count = bob.receive().length;
    assert.ok(received < rounds * 64);
    // The kernel tells with the next datagram that fits.
    alice.send(record, [hello]);
    await next(bob);
    assert.equal(received + (bob.side.datagrams.receiveOverflow ?? 0), rounds * 64);
  });

  scenario('a batch or record outside the arena reaches no memory', async (world) => {
    const alice = await world.user(world.alice);
    const { arena, datagrams } = alice.side;
    const record = alice.record(to('10.0.0.2', 9));
    alice.batch.clear();
    alice.batch.push(arena.u8.length - 10, 11, record, 0);
    alice.batch.push(2 ** 32 - 1, 1, record, 0);
    datagrams.send(alice.batch);
    assert.equal(datagrams.sendErrors.other, 2);
  });

  scenario('when the port drawn for IPv4 is taken for IPv6, another one is drawn', async (world) => {
    // Of two ports that may be drawn one is free for both families; the kernel draws even ones first.
    world.alice.exec('sysctl', ['-qw', 'net.ipv4.ip_local_port_range=40000 40003']);
    const taken = [40_000, 40_001, 40_002].map((port) => world.alice.within(() => new UdpSocket(6, port)));
    const alice = await world.user(world.alice);
    assert.equal(alice.port, 40_003);
    for (const socket of taken) socket.close();
  });

  scenario('when no port is free for both families, the error says so', async (world) => {
    world.alice.exec('sysctl', ['-qw', 'net.ipv4.ip_local_port_range=40000 40001']);
    const taken = [40_000, 40_001].map((port) => world.alice.within(() => new UdpSocket(6, port)));
    await assert.rejects(
      world.user(world.alice),
      (error: unknown) => error instanceof SystemError && error.errnoName === 'EADDRINUSE',
    );
    for (const socket of taken) socket.close();
  });
});
