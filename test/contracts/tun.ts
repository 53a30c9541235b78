/** What every Tun must do: one suite over all implementations. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Arena } from '../../src/core/arena.ts';
import { PORT_GONE, PORT_REFUSED, type Tun } from '../../src/tun/tun.ts';
import { eventually } from '../kit/eventually.ts';
import { ipv4Packet, ipv6Packet } from '../kit/packets.ts';

/** A device that is down, with the other side in the hands of the test. */
export interface TunFixture {
  readonly tun: Tun;
  readonly arena: Arena;
  /** The operating system sends a packet into the device. Only while it is up. */
  readonly inject: (packet: Uint8Array) => void;
  /** Packets that came out of the device since the last call. */
  readonly delivered: () => Uint8Array[];
  readonly setLink: (up: boolean) => void;
  readonly setMtu: (mtu: number) => void;
  /** Deletes the interface under the device. */
  readonly vanish: () => void;
  readonly dispose: () => Promise<void>;
}

class Events {
  readonly log: string[] = [];
  onLink = (up: boolean): void => void this.log.push(up ? 'up' : 'down');
  onMtu = (mtu: number): void => void this.log.push(`mtu ${mtu}`);
  onGone = (reason: string): void => void this.log.push(reason === '' ? 'gone without reason' : 'gone');

  async shows(...expected: string[]): Promise<void> {
    await eventually(`events ${expected.join(', ')}`, () => this.log.length >= expected.length);
    assert.deepEqual(this.log, expected);
  }
}

const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => void setImmediate(resolve));
};

const first = ipv4Packet('10.7.0.1', '10.7.0.2', 120, 1);
const second = ipv6Packet('fd07::1', 'fd07::2', 1_280, 2);

export function tunContract(name: string, create: () => TunFixture, skip: string | false = false): void {
  const scenario = (title: string, body: (fixture: TunFixture) => Promise<void> | void) => {
    test(title, async () => {
      const fixture = create();
      try {
        await body(fixture);
      } finally {
        fixture.tun.close();
        await fixture.dispose();
      }
    });
  };

  const readAll = ({ tun, arena }: TunFixture): Uint8Array[] => {
    const at = arena.alloc(2_048);
    const packets: Uint8Array[] = [];
    for (;;) {
      const length = tun.packets.read(at, 2_048);
      if (length <= 0) return packets;
      packets.push(arena.u8.slice(at, at + length));
    }
  };

  describe(`${name}: contract of Tun`, { skip }, () => {
    scenario('reading gives 0 when no packet waits', (fixture) => {
      fixture.setLink(true);
      assert.deepEqual(readAll(fixture), []);
    });

    scenario('packets are read whole, in order and byte for byte', (fixture) => {
      fixture.setLink(true);
      fixture.inject(first);
      fixture.inject(second);
      assert.deepEqual(readAll(fixture), [first, second]);
    });

    scenario('reading never writes beyond the capacity', ({ tun, arena, inject, setLink }) => {
      setLink(true);
      const at = arena.alloc(2_048);
      arena.u8.fill(0xee, at, at + 2_048);
      inject(second);
      assert.ok(tun.packets.read(at, 100) <= 100);
      assert.ok(arena.u8.subarray(at + 100, at + 2_048).every((byte) => byte === 0xee));
    });

    scenario('written packets come out byte for byte, once flushed', ({ tun, arena, delivered, setLink }) => {
      setLink(true);
      for (const packet of [first, second]) {
        const at = arena.alloc(64 + packet.length) + 64;
        arena.u8.set(packet, at);
        assert.equal(tun.packets.write(at, packet.length), packet.length);
      }
      tun.packets.flush();
      assert.deepEqual(delivered(), [first, second]);
    });

    scenario('while the link is down a write is refused, and the port goes on afterwards', (fixture) => {
      const { tun, arena, delivered, setLink } = fixture;
      const at = arena.alloc(64 + first.length) + 64;
      arena.u8.set(first, at);
      assert.equal(tun.packets.write(at, first.length), PORT_REFUSED);
      setLink(true);
      assert.equal(tun.packets.write(at, first.length), first.length);
      tun.packets.flush();
      assert.deepEqual(delivered(), [first]);
    });

    scenario('the consumer is woken for packets until close', async (fixture) => {
      fixture.setLink(true);
      const packets: Uint8Array[] = [];
      fixture.tun.packets.onReadable(() => packets.push(...readAll(fixture)));
      fixture.inject(first);
      await eventually('the first packet', () => packets.length === 1);
      fixture.inject(second);
      await eventually('the second packet', () => packets.length === 2);
      assert.deepEqual(packets, [first, second]);
      fixture.tun.close();
      await turns(3);
      assert.equal(packets.length, 2);
    });

    scenario('a packet that waits when the consumer comes wakes it', async (fixture) => {
      fixture.setLink(true);
      fixture.inject(first);
      const packets: Uint8Array[] = [];
      fixture.tun.packets.onReadable(() => packets.push(...readAll(fixture)));
      await eventually('the packet', () => packets.length === 1);
    });

    scenario('watching reports the present state at once, then changes only', async (fixture) => {
      const events = new Events();
      fixture.tun.watch(events);
      assert.deepEqual(events.log, ['down']);
      fixture.setLink(true);
      await events.shows('down', 'up');
      fixture.setLink(true);
      fixture.setLink(false);
      await events.shows('down', 'up', 'down');
    });

    scenario('a new MTU is reported, and is the value to read by then', async (fixture) => {
      const events = new Events();
      const before = fixture.tun.mtu;
      const seen: number[] = [];
      const onMtu = (mtu: number) => {
        events.onMtu(mtu);
        seen.push(fixture.tun.mtu);
      };
      fixture.tun.watch({ onLink: () => {}, onGone: events.onGone, onMtu });
      fixture.setMtu(before);
      fixture.setMtu(1_300);
      await events.shows('mtu 1300');
      assert.deepEqual(seen, [1_300]);
    });

    scenario('a deleted interface is gone, finally, and its port too', async (fixture) => {
      const { tun, arena, setLink, vanish } = fixture;
      const events = new Events();
      setLink(true);
      tun.watch(events);
      vanish();
      await events.shows('up', 'gone');
      assert.equal(tun.packets.read(arena.alloc(64), 64), PORT_GONE);
      assert.equal(tun.packets.write(arena.alloc(64), 40), PORT_GONE);
      await turns(3);
      assert.deepEqual(events.log, ['up', 'gone']);
    });

    scenario('the lane that finds the interface gone is told so, and the watcher too', async (fixture) => {
      const { tun, vanish, setLink } = fixture;
      const events = new Events();
      setLink(true);
      tun.watch(events);
      vanish();
      const at = fixture.arena.alloc(64);
      await eventually('PORT_GONE', () => tun.packets.read(at, 64) === PORT_GONE);
      await events.shows('up', 'gone');
    });

    scenario(
      'after close nothing is read, written or reported; closing again is nothing',
      async (fixture) => {
        const { tun, arena, setLink } = fixture;
        const events = new Events();
        setLink(true);
        tun.watch(events);
        tun.packets.onReadable(() => assert.fail('called after close'));
        tun.close();
        tun.close();
        assert.equal(tun.packets.read(arena.alloc(64), 64), PORT_GONE);
        assert.equal(tun.packets.write(arena.alloc(64), 40), PORT_GONE);
        tun.packets.flush();
        await turns(3);
        assert.deepEqual(events.log, ['up']);
      },
    );
  });
}
