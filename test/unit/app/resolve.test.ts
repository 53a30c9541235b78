import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Resolver, resolutionRetries, resolveEndpoint } from '../../../src/app/resolve.ts';
import { fakeZones } from '../../kit/zones.ts';

interface Recorded {
  readonly resolver: Resolver;
  readonly sleeps: number[];
}

/** Answers with each outcome in turn: an address, or the code of an error. */
function recorded(outcomes: readonly string[], retries = 15): Recorded {
  const left = [...outcomes];
  const sleeps: number[] = [];
  const resolver: Resolver = {
    lookup: () => {
      const next = left.shift() ?? assert.fail('asked too often');
      return next.startsWith('E')
        ? Promise.reject(Object.assign(new Error(next), { code: next }))
        : Promise.resolve(next);
    },
    zones: fakeZones,
    sleep: (ms) => {
      sleeps.push(Math.round(ms));
      return Promise.resolve();
    },
    retries,
    onRetry: () => {},
  };
  return { resolver, sleeps };
}

test('addresses need no resolver, and zones become indices', async () => {
  const { resolver } = recorded([]);
  assert.deepEqual(await resolveEndpoint({ host: '192.0.2.1', port: 7 }, resolver), {
    address: Uint8Array.of(192, 0, 2, 1),
    port: 7,
    scope: 0,
    carrier: 0,
  });
  assert.equal((await resolveEndpoint({ host: 'fe80::1%wlan0', port: 7 }, resolver)).scope, 3);
  assert.equal((await resolveEndpoint({ host: 'fe80::1%9', port: 7 }, resolver)).scope, 9);
  await assert.rejects(resolveEndpoint({ host: 'fe80::1%nosuch', port: 7 }, resolver), { code: 'not_found' });
});

test('failures that may pass are tried again, at growing intervals of at most 20 seconds', async () => {
  const { resolver, sleeps } = recorded([...Array.from({ length: 15 }, () => 'EAI_AGAIN'), '192.0.2.1']);
  await resolveEndpoint({ host: 'vpn.example', port: 7 }, resolver);
  assert.deepEqual(sleeps.slice(0, 3), [1000, 1200, 1440]);
  assert.equal(sleeps.length, 15);
  assert.equal(Math.max(...sleeps), 12839);
  const patient = recorded(
    [...Array.from({ length: 30 }, () => 'EAI_AGAIN'), '192.0.2.1'],
    Number.POSITIVE_INFINITY,
  );
  await resolveEndpoint({ host: 'vpn.example', port: 7 }, patient.resolver);
  assert.equal(Math.max(...patient.sleeps), 20_000);
});

test('after the last try it fails, naming the endpoint and the reason', async () => {
  const { resolver, sleeps } = recorded(['EAI_AGAIN', 'EAI_AGAIN'], 1);
  await assert.rejects(resolveEndpoint({ host: 'vpn.example', port: 7 }, resolver), {
    code: 'not_found',
    message: 'Endpoint vpn.example:7: EAI_AGAIN',
  });
  assert.equal(sleeps.length, 1);
});

test('a name that does not exist fails at once', async () => {
  const { resolver, sleeps } = recorded(['ENOTFOUND']);
  await assert.rejects(resolveEndpoint({ host: 'nope.example', port: 7 }, resolver), { code: 'not_found' });
  assert.deepEqual(sleeps, []);
});

test('WG_ENDPOINT_RESOLUTION_RETRIES is that of wg', () => {
  assert.equal(resolutionRetries({}), 15);
  assert.equal(resolutionRetries({ WG_ENDPOINT_RESOLUTION_RETRIES: '0' }), 0);
  assert.equal(resolutionRetries({ WG_ENDPOINT_RESOLUTION_RETRIES: 'infinity' }), Number.POSITIVE_INFINITY);
  assert.throws(() => resolutionRetries({ WG_ENDPOINT_RESOLUTION_RETRIES: 'x' }), { code: 'usage' });
});
