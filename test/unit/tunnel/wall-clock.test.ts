import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pair, type Pair } from '../../kit/pair.ts';
import { Stranger } from '../../kit/stranger.ts';

const HOUR = 3_600_000;

/** When what kind of datagram was sent by whom, while both sides talk, fall silent and are cut off for a while. */
async function history(jump: (both: Pair, minute: number) => void): Promise<string[]> {
  const both = await pair({ seed: 5, persistentKeepalive: 45 });
  const { alice, bob, wire, world, clock, toBob, toAlice } = both;
  const start = clock.now();
  const lines: string[] = [];
  wire.bend((datagram) => {
    const who = datagram.from.port === alice.endpoint.port ? 'alice' : 'bob';
    lines.push(`${clock.now() - start} ${who} ${datagram.bytes[0]} ${datagram.bytes.length}`);
    return lines.length > 300 && lines.length < 340 ? [] : [datagram];
  });
  for (let minute = 0; minute < 30; minute++) {
    jump(both, minute);
    for (let second = 0; second < 60; second++) {
      if (minute % 6 < 4) alice.send(toBob());
      if (minute % 5 < 2) bob.send(toAlice());
      world.advance(1000);
    }
  }
  for (const end of [alice, bob]) assert.equal(end.drops().replayed_timestamp, undefined);
  assert.ok(bob.received().length > 600);
  return lines;
}

test('wall clock: jumps of hours in either direction change nothing that happens, nor when', async () => {
  const undisturbed = await history(() => {});
  assert.ok(undisturbed.filter((line) => line.includes(' 1 148')).length > 10);
  const jumps = [5, -3, -9, 24, -1, 0.5, -24];
  const disturbed = await history(({ clock }, minute) => {
    clock.wallMs += (jumps[minute % jumps.length] ?? 0) * HOUR;
  });
  assert.deepEqual(disturbed, undisturbed);
});

test('wall clock: set back by hours, the next initiation is still later than the last, and is accepted', async () => {
  const { alice, bob, wire, world, clock, toBob } = await pair();
  for (let i = 0; i < 5; i++) {
    alice.send(toBob());
    world.advance(200_000);
    clock.wallMs -= 5 * HOUR;
  }
  assert.equal(wire.responses(bob).length, 5);
  assert.deepEqual(bob.drops(), {});
});

test('wall clock: a peer that restarts with a clock behind its former one is refused until it has caught up', async () => {
  const { alice, bob, wire, world, clock, toBob } = await pair();
  alice.send(toBob());
  world.advance(1000);
  clock.wallMs -= HOUR;
  const restarted = new Stranger(world, bob, { privateKey: alice.privateKey });
  restarted.send(restarted.initiation());
  assert.deepEqual(bob.drops(), { replayed_timestamp: 1 });
  clock.tick(HOUR);
  restarted.send(restarted.initiation());
  assert.equal(wire.responses(bob).length, 2);
});

test('wall clock: the time of the last handshake is shown by it', async () => {
  const { alice, bob, world, clock, toBob } = await pair();
  clock.wallMs = 1_000_000_000_000;
  alice.send(toBob());
  assert.equal(alice.peer(bob).lastHandshakeMs, 1_000_000_000_000);
  world.advance(200_000);
  clock.wallMs = 999;
  alice.send(toBob());
  assert.equal(alice.peer(bob).lastHandshakeMs, 999);
});
