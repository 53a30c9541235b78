import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAddress, formatPrefix, parseAddress } from '../../../src/core/ip.ts';
import type { Random } from '../../../src/core/random.ts';
import {
  derivePrefix,
  isOverlayAddress,
  isVirtualAddress,
  nodeAddressPrefix,
  OVERLAY_PREFIX,
  randomNodeAddress,
  randomVirtualEndpoint,
  SERVER_ADDRESS,
  VIRTUAL_PREFIX,
  virtualKey,
} from '../../../src/link/addresses.ts';
import { seededRandom } from '../../kit/random.ts';

test('the prefixes are those of every SideroLink deployment', () => {
  assert.equal(formatPrefix(OVERLAY_PREFIX), 'fdae:41e4:649b:9303::/64');
  assert.equal(formatPrefix(VIRTUAL_PREFIX), 'fdae:41e4:649b:9304::/64');
  assert.equal(formatAddress(SERVER_ADDRESS), 'fdae:41e4:649b:9303::1');
});

test('Talos grants its management role to this prefix: byte 0 is fd and byte 7 is 03', () => {
  for (const id of ['', 'a', 'another installation']) {
    const { address } = derivePrefix(3, id);
    assert.deepEqual([address[0], address[7]], [0xfd, 3]);
  }
  assert.notDeepEqual(derivePrefix(3, 'a'), derivePrefix(3, ''));
});

test('node and virtual addresses lie in their own prefix and differ', () => {
  const random = seededRandom(1);
  const node = randomNodeAddress(random, () => false);
  const virtual = randomVirtualEndpoint(random, () => false);
  assert.ok(isOverlayAddress(node) && !isVirtualAddress(node));
  assert.ok(isVirtualAddress(virtual.address) && !isOverlayAddress(virtual.address));
  assert.match(nodeAddressPrefix(formatAddress(node)), /^fdae:41e4:649b:9303:[0-9a-f:]+\/64$/);
  assert.match(virtualKey(virtual), /^\[fdae:41e4:649b:9304:[0-9a-f:]+\]:50889$/);
});

test('an address that somebody has is not given out again', () => {
  const first = formatAddress(randomNodeAddress(seededRandom(2), () => false));
  const second = formatAddress(randomNodeAddress(seededRandom(2), (address) => address === first));
  assert.notEqual(first, second);
});

/** Gives the low halves in the list, then 0x77 bytes. */
function listRandom(lows: readonly number[][]): Random {
  let next = 0;
  return { u32: () => 0, fill: (bytes) => bytes.set(lows[next++] ?? bytes.slice().fill(0x77)) };
}

test('the gateway address and its neighbours are never given to a machine', () => {
  const random = listRandom([
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 0, 255],
    [0, 0, 0, 0, 0, 0, 1, 0],
  ]);
  assert.deepEqual(
    randomNodeAddress(random, () => false),
    parseAddress('fdae:41e4:649b:9303::100'),
  );
});

test('a random source that repeats itself ends in an error and not in an endless loop', () => {
  assert.throws(() => randomNodeAddress(listRandom([]), () => true), { code: 'internal' });
});
