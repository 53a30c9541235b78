import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME } from '../../../src/noise/constants.ts';
import { PrivateKey } from '../../../src/noise/keys.ts';
import { MAX_QUEUED_HANDSHAKES } from '../../../src/tunnel/handshake-queue.ts';
import { DROP_REASONS, DropCounters, DROP, type DropReason } from '../../../src/tunnel/lane/drops.ts';
import type { LanePolicy } from '../../../src/tunnel/lane/policy.ts';
import { ipv4Packet } from '../../kit/packets.ts';
import { address, pair, prefix, type Pair } from '../../kit/pair.ts';
import { Stranger } from '../../kit/stranger.ts';

/** What Bob has to do with: Alice's key in the hands of a stranger. */
interface Scene extends Pair {
  readonly stranger: Stranger;
  /** Counted beside the one reason that the scene is about. */
  readonly expect: (reason: DropReason, count: number) => void;
}

/** For each reason something that makes Bob drop one packet because of it. */
const SCENES: { readonly [Reason in DropReason]: (scene: Scene) => void | Promise<void> } = {
  too_short: ({ stranger }) => stranger.send(new Uint8Array(31).fill(4, 0, 1)),
  unknown_type: ({ stranger }) => {
    // Nonzero reserved bytes.
    const message = new Uint8Array(32);
    message.set([4, 0, 1, 0]);
    stranger.send(message);
  },
  unknown_index: ({ stranger }) => stranger.send(new Uint8Array(32).fill(4, 0, 1)),
  expired_keypair: ({ stranger, world }) => {
    stranger.shakeHands();
    world.advance(REJECT_AFTER_TIME);
    stranger.send(stranger.transport(0n, new Uint8Array(0)));
  },
  counter_too_large: ({ stranger }) => {
    stranger.shakeHands();
    stranger.send(stranger.transport(REJECT_AFTER_MESSAGES, new Uint8Array(0)));
  },
  bad_tag: ({ stranger }) => {
    stranger.shakeHands();
    const message = stranger.transport(0n, new Uint8Array(0));
    message[31] = (message[31] as number) ^ 1;
    stranger.send(message);
  },
  replayed: ({ stranger }) => {
    stranger.shakeHands();
    const message = stranger.transport(0n, new Uint8Array(0));
    stranger.send(message, message);
  },
  bad_inner_packet: ({ stranger, toBob }) => {
    stranger.shakeHands();
    const packet = toBob(100);
    stranger.send(stranger.transport(0n, packet.subarray(0, 99)));
  },
  source_not_allowed: ({ stranger }) => {
    stranger.shakeHands();
    stranger.send(stranger.transport(0n, ipv4Packet('10.0.0.3', '10.0.0.2', 60)));
  },
  ecn_mismatch: ({ stranger, toBob, wire, world }) => {
    // Congestion experienced on the way, by a packet whose sender does not understand it.
    stranger.shakeHands();
    wire.inject({ ...stranger.datagram(stranger.transport(0n, toBob())), tos: 3 });
    world.settle();
  },
  tun_refused: ({ stranger, toBob, bob }) => {
    stranger.shakeHands();
    bob.tun.setLink(false);
    stranger.send(stranger.transport(0n, toBob()));
  },
  bad_mac1: ({ stranger }) => {
    const message = stranger.initiation();
    message[131] = (message[131] as number) ^ 1;
    stranger.send(message);
  },
  no_cookie: (scene) => {
    load(scene);
    scene.stranger.send(scene.stranger.initiation());
  },
  rate_limited: (scene) => {
    const { stranger, clock } = scene;
    load(scene);
    scene.expect('no_cookie', 1);
    stranger.send(stranger.initiation());
    stranger.takeCookie();
    scene.expect('initiation_flood', 4);
    for (let i = 0; i < 6; i++) {
      clock.wallMs += 17;
      stranger.send(stranger.initiation());
    }
  },
  handshake_queue_full: (scene) => {
    const { stranger, wire, world } = scene;
    scene.expect('bad_mac1', MAX_QUEUED_HANDSHAKES);
    const message = stranger.datagram(noise());
    wire.inject(...Array.from({ length: MAX_QUEUED_HANDSHAKES + 1 }, () => message));
    world.settle();
  },
  unknown_peer: ({ world, bob }) => {
    const unknown = new Stranger(world, bob);
    unknown.send(unknown.initiation());
  },
  bad_handshake: ({ stranger }) => {
    // Right mac1, but what is sealed has been changed.
    const message = stranger.initiation();
    message[50] = (message[50] as number) ^ 1;
    stranger.cookies.addMacs(message, 0);
    stranger.send(message);
  },
  replayed_timestamp: ({ stranger, world }) => {
    const message = stranger.initiation();
    stranger.send(message);
    world.advance(1000);
    stranger.send(message);
  },
  initiation_flood: ({ stranger, clock }) => {
    stranger.send(stranger.initiation());
    clock.wallMs += 17;
    stranger.send(stranger.initiation());
  },
  bad_cookie_reply: ({ bob, stranger, wire, toAlice }) => {
    bob.send(toAlice());
    const reply = new Uint8Array(64);
    reply[0] = 3;
    reply.set(wire.initiations(bob)[0]?.bytes.subarray(4, 8) ?? [], 4);
    stranger.send(reply);
  },
  not_ip: ({ bob }) => bob.send(new Uint8Array(20).fill(0x50)),
  malformed_read: ({ bob }) => bob.send(new Uint8Array(70_000)),
  no_route: ({ bob }) => bob.send(ipv4Packet('10.0.0.2', '10.0.0.9', 60)),
  no_endpoint: async ({ bob, world }) => {
    const { publicKey } = new Stranger(world, bob);
    await bob.configure({ publicKey, allowedIps: [{ prefix: prefix('10.0.0.9/32'), remove: false }] });
    bob.send(ipv4Packet('10.0.0.2', '10.0.0.9', 60));
  },
  staged_overflow: ({ bob, wire, toAlice }) => {
    wire.cut();
    for (let i = 0; i < 129; i++) bob.send(toAlice());
  },
  no_session: ({ bob, wire, world, toAlice }) => {
    wire.cut();
    bob.send(toAlice());
    world.advance(200_000);
  },
  destination_not_allowed: ({ stranger, toBob }) => {
    stranger.shakeHands();
    stranger.send(stranger.transport(0n, toBob()));
  },
  inbound_limited: ({ stranger }) => {
    stranger.shakeHands();
    for (let i = 0n; i < 3n; i++) {
      stranger.send(stranger.transport(i, ipv4Packet('10.0.0.1', '10.0.0.2', 30_000)));
    }
  },
  routing_loop: ({ stranger, bob, wire, toAlice }) => {
    stranger.shakeHands();
    stranger.send(stranger.transport(0n, new Uint8Array(0)));
    wire.clear();
    bob.send(toAlice());
    // What Bob has just sent comes back through his TUN, in the UDP packet that the kernel made of it.
    const packet = ipv4Packet('10.0.0.2', '10.0.0.1', 28 + (wire.data(bob)[0]?.bytes.length ?? 0));
    packet.set(wire.data(bob)[0]?.bytes ?? [], 28);
    bob.send(packet);
  },
  outbound_limited: ({ stranger, bob, toAlice }) => {
    stranger.shakeHands();
    stranger.send(stranger.transport(0n, new Uint8Array(0)));
    bob.send(...[1, 2, 3].map(() => toAlice(30_000)));
  },
};

/** Bob's rules, for the reasons that need some. */
const POLICIES: { readonly [Reason in DropReason]?: LanePolicy } = {
  destination_not_allowed: { onlyDestination: address('fd00::2') },
  inbound_limited: { bandwidth: { total: { bytesPerSecond: 1, burstBytes: 0 } } },
  outbound_limited: { bandwidth: { perPeer: { bytesPerSecond: 1, burstBytes: 0 } } },
};

function noise(): Uint8Array {
  return new Uint8Array(148).fill(1, 0, 1);
}

/** Bob is under load for a second. */
function load({ stranger, wire, expect }: Scene): void {
  expect('bad_mac1', 200);
  wire.inject(...Array.from({ length: 200 }, () => stranger.datagram(noise())));
}

for (const reason of DROP_REASONS) {
  test(`drops: ${reason} is counted once, and nothing else is`, async () => {
    const policy = POLICIES[reason];
    const both = await pair(policy ? { bob: { policy } } : {});
    const expected: { [Reason in DropReason]?: number } = { [reason]: 1 };
    await SCENES[reason]({
      ...both,
      stranger: new Stranger(both.world, both.bob, { privateKey: both.alice.privateKey }),
      expect: (other, count) => {
        expected[other] = count;
      },
    });
    assert.deepEqual(both.bob.drops(), expected);
    assert.equal(both.bob.device.dropped(reason), 1n);
  });
}

test('drops: every reason has a scene, and each is named once', () => {
  assert.deepEqual(Object.keys(SCENES).toSorted(), DROP_REASONS.toSorted());
  assert.equal(new Set(DROP_REASONS).size, DROP_REASONS.length);
});

test('drops: handshake messages that reach a device without private key are counted', async () => {
  const { alice, bob, wire, toBob } = await pair();
  await bob.device.configure({ privateKey: new PrivateKey(new Uint8Array(32)), peers: [] });
  alice.send(toBob());
  assert.deepEqual(bob.drops(), { bad_mac1: 1 });
  assert.deepEqual(wire.from(bob), []);
});

test('drops: a counter goes on beyond 32 bits', () => {
  const words = new Uint32Array(DropCounters.words);
  words[2 * DROP.replayed] = 0xffff_ffff;
  words[2 * DROP.replayed + 1] = 0x1234_5678;
  const drops = new DropCounters(words);
  drops.count(DROP.replayed);
  drops.count(DROP.replayed);
  assert.equal(drops.get('replayed'), 0x1234_5679_0000_0001n);
  assert.equal(drops.get('bad_tag'), 0n);
});
