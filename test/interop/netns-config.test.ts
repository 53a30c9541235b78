/** Steps 10 and 11 of wireguard-go's tests/netns.sh: configurations that do not fit one message; nothing left over. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Namespace } from '../kit/netns.ts';
import {
  implementationUnderTest,
  LINK_PREFIX,
  newLinkName,
  requireInterop,
  WireGuardProcess,
} from '../kit/programs.ts';
import { newKeyPair, type PeerSettings, Wg } from '../kit/wg.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const implementation = implementationUnderTest();

test(
  `netns.sh with large configurations: ${implementation.name}`,
  { skip: requireInterop([implementation]), timeout: TEST_TIMEOUT_MS },
  async (t) => {
    await using namespace = Namespace.create();
    const inFreshProcess = async (use: (wg: Wg) => void): Promise<void> => {
      const started = WireGuardProcess.start(implementation, namespace);
      try {
        use(started.wg);
      } finally {
        await started.stop();
      }
    };

    await t.test('130,560 allowed IPs of one peer are set in one request and shown', () =>
      inFreshProcess((wg) => {
        const allowedIps = range(1, 255).flatMap((a) =>
          range(0, 255).flatMap((b) => [`${a}.${b}.0.0/16`, b === 0 ? `${a}::/128` : `${a}::${b}/128`]),
        );
        assert.equal(allowedIps.length, 130_560);
        wg.setconf({ privateKey: newKeyPair().privateKey, peers: [{ publicKey: newKey(), allowedIps }] });
        const shown = new Set(wg.show('allowed-ips').trim().split(/\s+/));
        assert.equal(shown.size, 130_561);
        assert.ok(allowedIps.every((prefix) => shown.has(prefix)));
      }),
    );
    await t.test('40 peers with 52 prefixes each', () =>
      inFreshProcess((wg) => {
        const peers = range(1, 40).map((a): PeerSettings => {
          return { publicKey: newKey(), allowedIps: range(1, 52).map((b) => `${a}.${b}.0.0/16`) };
        });
        wg.setconf({ privateKey: newKeyPair().privateKey, peers });
        const state = new Map(wg.state().peers.map((peer) => [peer.publicKey, peer.allowedIps]));
        assert.equal(state.size, peers.length);
        for (const { publicKey, allowedIps } of peers)
          assert.deepEqual(new Set(state.get(publicKey)), new Set(allowedIps));
      }),
    );
    await t.test('30 peers, one of them with allowed IPs, without a private key', () =>
      inFreshProcess((wg) => {
        const bare = range(1, 29).map((): PeerSettings => ({ publicKey: newKey() }));
        const last = { publicKey: newKey(), allowedIps: ['255.2.3.4/32', 'abcd::255/128'] };
        wg.setconf({ peers: [...bare, last] });
        assert.equal(wg.showconf().match(/^\[Peer\]$/gm)?.length, 30);
        assert.deepEqual(wg.peer(last.publicKey).allowedIps, last.allowedIps);
      }),
    );
    await t.test('an interface that does not exist cannot be shown', () => {
      assert.notEqual(new Wg(newLinkName()).try('showconf').status, 0);
    });
    await t.test('nothing is left over', () => {
      assert.deepEqual(namespace.pids(), []);
      assert.deepEqual(namespace.ip('-br link').match(/^\S+/gm), ['lo']);
      assert.deepEqual(
        readdirSync('/var/run/wireguard').filter((name) => name.startsWith(LINK_PREFIX)),
        [],
      );
    });
  },
);

function newKey(): string {
  return newKeyPair().publicKey;
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
