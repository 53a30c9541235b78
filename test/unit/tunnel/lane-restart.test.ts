import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Address, parseAddress, parsePrefix, type Prefix } from '../../../src/core/ip.ts';
import { REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER_MAX } from '../../../src/noise/constants.ts';
import type { LaneEvents, LaneHost } from '../../../src/tunnel/lane/control.ts';
import { InlineHost, type InlineHostOptions } from '../../../src/tunnel/lane/inline-host.ts';
import { commandSender, applyCommand } from '../../../src/tunnel/lane/link.ts';
import { ipv6Packet } from '../../kit/packets.ts';
import { pair } from '../../kit/pair.ts';

/** A host whose lanes can be lost: from `restart` on another lane, which knows nothing, has the ports. */
function mortalHost() {
  let lane: InlineHost | undefined;
  let restart = (): void => {};
  const createHost = (options: InlineHostOptions, events: LaneEvents): LaneHost => {
    const spawn = (): InlineHost => {
      lane = new InlineHost(options, events);
      lane.start();
      return lane;
    };
    restart = () => {
      void lane?.close();
      spawn();
    };
    const own = (): InlineHost => lane ?? spawn();
    return {
      ...commandSender((command) => applyCommand(own(), command)),
      start: () => void own(),
      close: () => own().close(),
      counters: (peer) => own().counters(peer),
      dropped: (reason) => own().dropped(reason),
      figures: () => own().figures(),
    };
  };
  return { createHost, restart: () => restart() };
}

for (const isResponder of [true, false]) {
  const role = isResponder ? 'responder' : 'initiator';
  test(`lane restart: the ${role} of a session makes a new one by itself, though nobody sends`, async () => {
    const mortal = mortalHost();
    const end = { createHost: mortal.createHost };
    const both = await pair(isResponder ? { bob: end } : { alice: end });
    const { alice, bob, wire, world, toBob, toAlice } = both;
    alice.send(toBob());
    bob.send(toAlice());
    assert.deepEqual([alice.received().length, bob.received().length], [1, 1]);
    world.advance(REKEY_TIMEOUT);
    wire.clear();

    mortal.restart();
    (isResponder ? bob : alice).device.laneRestarted();
    world.settle();
    assert.equal(wire.initiations(isResponder ? bob : alice).length, 1);
    const [there, back] = [toBob(), toAlice()];
    alice.send(there);
    bob.send(back);
    assert.deepEqual([bob.received(), alice.received()], [[there], [back]]);
  });
}

test('lane restart: the new initiation keeps its distance from the last one', async () => {
  const mortal = mortalHost();
  const { alice, wire, world, toBob } = await pair({ alice: { createHost: mortal.createHost } });
  alice.send(toBob());
  wire.clear();
  mortal.restart();
  alice.device.laneRestarted();
  world.settle();
  assert.equal(wire.initiations(alice).length, 0);
  world.advance(REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX);
  assert.equal(wire.initiations(alice).length, 1);
});

test('lane restart: a peer without a session stays silent', async () => {
  const mortal = mortalHost();
  const { alice, wire, world } = await pair({ alice: { createHost: mortal.createHost } });
  mortal.restart();
  alice.device.laneRestarted();
  world.advance(60_000);
  assert.deepEqual(wire.sent, []);
});

test('a destination that is set while the device runs: nothing else is let through, by the next lane neither', async () => {
  const mortal = mortalHost();
  const { alice, bob, world, toBob } = await pair({ bob: { createHost: mortal.createHost } });
  const own = ipv6Packet('fd00::1', 'fd00::2', 100);
  const foreign = ipv6Packet('fd00::1', 'fd00:1::2', 100);
  await alice.device.configure({
    peers: [
      {
        publicKey: bob.publicKey,
        allowedIps: [{ prefix: parsePrefix('fd00:1::/64') as Prefix, remove: false }],
      },
    ],
  });
  alice.send(own, foreign);
  assert.deepEqual(bob.received(), [own, foreign]);
  bob.device.setOnlyDestination(parseAddress('fd00::2') as Address);
  alice.send(own, foreign, toBob());
  assert.deepEqual(bob.received(), [own]);
  assert.deepEqual(bob.drops(), { destination_not_allowed: 2 });
  world.advance(REKEY_TIMEOUT);
  mortal.restart();
  bob.device.laneRestarted();
  world.settle();
  alice.send(own, foreign);
  assert.deepEqual(bob.received(), [own]);
});

test('a bandwidth limit that is set while the device runs holds, in the next lane too, until it is lifted', async () => {
  const mortal = mortalHost();
  const { alice, bob, world, toBob } = await pair({ bob: { createHost: mortal.createHost } });
  const packets = Array.from({ length: 100 }, () => toBob(1_000));
  const arrived = () => {
    alice.send(...packets);
    return bob.received().length;
  };
  assert.equal(arrived(), 100);
  bob.device.setBandwidth({ total: { bytesPerSecond: 1, burstBytes: 0 } });
  const limited = arrived();
  assert.ok(limited > 0 && limited < 70, `${limited}`);
  world.advance(REKEY_TIMEOUT);
  mortal.restart();
  bob.device.laneRestarted();
  world.settle();
  assert.equal(arrived(), limited);
  bob.device.setBandwidth({});
  assert.equal(arrived(), 100);
});
