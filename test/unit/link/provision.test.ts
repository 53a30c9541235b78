import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STATUS } from '../../../src/link/grpc-status.ts';
import { formatSignedToken, MACHINE_REQUEST_KEY, PROVIDER_KEY } from '../../../src/link/join-token.ts';
import type { JoinMode, ProvisionCall } from '../../../src/link/provision-context.ts';
import { key, OTHER_UUID, SERVER_KEY, TestGateway, token, unique, UUID } from './provision-kit.ts';

const UNAUTHORIZED = `${STATUS.PERMISSION_DENIED} unauthorized`;
const STRICT = (version: string) =>
  `${STATUS.FAILED_PRECONDITION} Talos version ${version} is not supported on this Omni instance as ` +
  `'--join-tokens-mode' is set to 'strict'`;

test('join modes: which flow serves which Talos version', () => {
  const machine = `machine ${UUID}`;
  const cases: [JoinMode, Partial<ProvisionCall>, string][] = [
    ['strict', {}, machine],
    ['strict', { talosVersion: 'v1.5.3' }, STRICT('v1.5.3')],
    ['strict', { talosVersion: 'v1.6.0-alpha.1' }, STRICT('v1.6.0-alpha.1')],
    ['strict', { talosVersion: 'main' }, STRICT('main')],
    ['strict', { talosVersion: undefined }, STRICT('1.5.0')],
    ['strict', { joinToken: 'bad' }, UNAUTHORIZED],
    ['legacyAllowed', {}, machine],
    ['legacyAllowed', { talosVersion: 'v1.5.3' }, machine],
    ['legacyAllowed', { talosVersion: undefined }, machine],
    ['legacyAllowed', { talosVersion: 'v1.5.3', joinToken: 'bad' }, UNAUTHORIZED],
    ['legacyAllowed', { joinToken: undefined }, UNAUTHORIZED],
    ['legacy', {}, machine],
    ['legacy', { talosVersion: 'v1.5.3' }, machine],
    ['legacy', { joinToken: 'bad' }, UNAUTHORIZED],
    ['legacy', { joinToken: undefined }, UNAUTHORIZED],
    ['agent', {}, machine],
    ['agent', { nodeUniqueToken: 'random-token' }, machine],
    ['agent', { joinToken: 'bad' }, `${STATUS.PERMISSION_DENIED} invalid join token`],
    ['agent', { joinToken: undefined }, `${STATUS.PERMISSION_DENIED} invalid join token`],
    ['agent', { joinToken: 'v1:broken' }, `${STATUS.PERMISSION_DENIED} invalid join token`],
  ];
  for (const [joinMode, call, expected] of cases) {
    assert.equal(
      new TestGateway({ joinMode }).outcome(call),
      expected,
      `${joinMode} ${JSON.stringify(call)}`,
    );
  }
});

test('a machine that has a unique token cannot be replaced by an old Talos, except in legacy mode', () => {
  const gateway = new TestGateway();
  gateway.provision({ nodeUniqueToken: unique('t') });
  const old = { talosVersion: 'v1.5.0', nodePublicKey: key('b') };
  assert.equal(gateway.outcome(old), UNAUTHORIZED);
  gateway.settings = { ...gateway.settings, joinMode: 'legacy' };
  assert.equal(gateway.outcome(old), `machine ${UUID}`);
});

test('an agent without tokens takes everybody', () => {
  assert.equal(new TestGateway({ joinMode: 'agent' }, []).outcome({ joinToken: 'any' }), `machine ${UUID}`);
  assert.equal(
    new TestGateway({ joinMode: 'agent' }, []).outcome({ joinToken: undefined }),
    `machine ${UUID}`,
  );
});

test('a join token that is worth nothing is told apart inside only', () => {
  const tokens = [
    token('good'),
    token('revoked', { isRevoked: true }),
    token('expired', { expiresAtMs: 1_000_000 }),
    token('used', { useLimit: 0 }),
    token('provider key', { provider: 'metal' }),
  ];
  const cases: [string | undefined, string][] = [
    [undefined, 'missing_join_token'],
    ['', 'missing_join_token'],
    ['other', 'unknown_join_token'],
    ['provider key', 'unknown_join_token'],
    ['revoked', 'revoked_join_token'],
    ['expired', 'expired_join_token'],
    ['used', 'used_up_join_token'],
    [formatSignedToken('v1', {}, 'other'), 'bad_signature'],
  ];
  for (const [joinToken, reason] of cases) {
    const refusal = new TestGateway({}, tokens).refusal({ joinToken });
    assert.deepEqual(refusal.status, { code: STATUS.PERMISSION_DENIED, message: 'unauthorized' });
    assert.equal(refusal.reason, reason);
  }
});

test('a token that is worth nothing is no error for a machine whose unique token is known', () => {
  const gateway = new TestGateway();
  gateway.provision({ nodeUniqueToken: unique('t') });
  for (const joinToken of [undefined, 'other']) {
    assert.equal(gateway.outcome({ joinToken, nodeUniqueToken: unique('t') }), `machine ${UUID}`);
    assert.equal(gateway.outcome({ joinToken, nodeUniqueToken: unique('u') }), UNAUTHORIZED);
  }
});

test('malformed tokens have texts of their own', () => {
  const gateway = new TestGateway();
  assert.equal(
    gateway.outcome({ joinToken: 'v1:%' }),
    `${STATUS.PERMISSION_DENIED} invalid join token not standard base64`,
  );
  assert.equal(
    gateway.outcome({ nodeUniqueToken: 'random-token' }),
    `${STATUS.PERMISSION_DENIED} node unique token is not JSON`,
  );
});

test('signed tokens: the default token or the provider signs, and their data becomes labels', () => {
  const gateway = new TestGateway({}, [token('good'), token('secret', { provider: 'metal' })]);
  const data = { [PROVIDER_KEY]: 'metal', [MACHINE_REQUEST_KEY]: 'request1', other: 'x' };
  gateway.provision({ joinToken: formatSignedToken('v2', data, 'secret') });
  assert.deepEqual(gateway.registry.machine(UUID)?.labels, {
    [PROVIDER_KEY]: 'metal',
    [MACHINE_REQUEST_KEY]: 'request1',
  });
  assert.equal(
    gateway.outcome({ joinToken: formatSignedToken('v2', { [PROVIDER_KEY]: 'gone' }, 'good') }),
    `${STATUS.NOT_FOUND} the infra provider is being deleted or doesn't exist`,
  );
});

test('the secure flow: stored against presented unique token', () => {
  const stored = unique('t', 'f');
  const machine = `machine ${UUID}`;
  const cases: [string, string | undefined, string, boolean, string][] = [
    ['none stored', undefined, stored, false, machine],
    ['equal', stored, stored, false, machine],
    ['equal, other fingerprint', stored, unique('t', 'g'), false, machine],
    ['same fingerprint, other token', stored, unique('u', 'f'), false, machine],
    ['same fingerprint, other token, pinned', stored, unique('u', 'f'), true, UNAUTHORIZED],
    ['other fingerprint', stored, unique('u', 'g'), false, 'pending uuid_conflict'],
    ['other fingerprint, pinned', stored, unique('u', 'g'), true, 'pending uuid_conflict'],
    ['no fingerprints', unique('t', ''), unique('u', ''), false, 'pending uuid_conflict'],
    ['none presented', stored, '', false, 'pending no_unique_token'],
  ];
  for (const [name, before, presented, pinned, expected] of cases) {
    const gateway = new TestGateway();
    gateway.provision({ nodeUniqueToken: before });
    if (pinned) gateway.provision({ nodeUniqueToken: before, nodePublicKey: key('second boot') });
    assert.equal(gateway.outcome({ nodeUniqueToken: presented, nodePublicKey: key('b') }), expected, name);
  }
});

test('an overwritten unique token is the one that counts from then on', () => {
  const gateway = new TestGateway();
  gateway.provision({ nodeUniqueToken: unique('t', 'f') });
  gateway.provision({ nodeUniqueToken: unique('u', 'f'), nodePublicKey: key('b') });
  assert.equal(gateway.registry.machine(UUID)?.uniqueToken, unique('u', 'f'));
  assert.equal(gateway.outcome({ joinToken: '', nodeUniqueToken: unique('t', 'f') }), UNAUTHORIZED);
});

test('a unique token is pinned once it survived a restart, and never when pinning is off', () => {
  const gateway = new TestGateway();
  gateway.provision({ nodeUniqueToken: unique('t') });
  gateway.provision({ nodeUniqueToken: unique('t') });
  assert.equal(gateway.registry.machine(UUID)?.pinsUniqueToken, false);
  gateway.provision({ nodeUniqueToken: unique('t'), nodePublicKey: key('b') });
  assert.equal(gateway.registry.machine(UUID)?.pinsUniqueToken, true);
  const lenient = new TestGateway({ pinUniqueTokens: false });
  lenient.provision({ nodeUniqueToken: unique('t') });
  lenient.provision({ nodeUniqueToken: unique('t'), nodePublicKey: key('b') });
  assert.equal(lenient.outcome({ nodeUniqueToken: unique('u'), nodePublicKey: key('c') }), `machine ${UUID}`);
});

test('where unique tokens are required, a machine without one waits', () => {
  const gateway = new TestGateway({ requireUniqueToken: true });
  const waiting = gateway.provision();
  assert.equal(waiting.pending, 'no_unique_token');
  const joined = gateway.provision({ nodeUniqueToken: unique('t') });
  assert.equal(joined.machineId, UUID);
  assert.deepEqual(joined.response, waiting.response);
  assert.equal(gateway.registry.pendingCount, 0);
});

test('the answer: key, addresses, endpoints with their ends swapped, no tunnel', () => {
  const gateway = new TestGateway({ endpoints: ['a:1', 'b:2', 'c:3'] });
  const { response, peer } = gateway.provision();
  assert.deepEqual(response.serverEndpoint, ['c:3', 'b:2', 'a:1']);
  assert.equal(response.serverPublicKey, SERVER_KEY);
  assert.equal(response.serverAddress, 'fdae:41e4:649b:9303::1');
  assert.equal(response.grpcPeerAddrPort, '');
  assert.match(response.nodeAddressPrefix, /^fdae:41e4:649b:9303:.*\/64$/);
  assert.deepEqual(peer, {
    publicKey: key('a'),
    nodeAddress: response.nodeAddressPrefix.replace('/64', ''),
    virtualEndpoint: undefined,
  });
});

test('the same call again has the same answer and changes nothing', () => {
  const gateway = new TestGateway();
  const first = gateway.provision();
  assert.notDeepEqual(first.changes, []);
  gateway.wallMs += 30_000;
  const second = gateway.provision();
  assert.deepEqual(second.response, first.response);
  assert.deepEqual(second.changes, []);
  assert.equal(second.replaces, undefined);
});

test('UUIDs are one identity in either case', () => {
  const gateway = new TestGateway();
  const uuid = 'ABCDEFAB-2222-3333-4444-555555555555';
  const first = gateway.provision({ nodeUuid: uuid });
  assert.deepEqual(gateway.provision({ nodeUuid: uuid.toLowerCase() }).response, first.response);
});

test('a new key for a known machine keeps its address and replaces the old peer in the same step', () => {
  const gateway = new TestGateway();
  const first = gateway.provision();
  const second = gateway.provision({ nodePublicKey: key('b') });
  assert.equal(second.response.nodeAddressPrefix, first.response.nodeAddressPrefix);
  assert.equal(second.replaces, key('a'));
  assert.equal(second.peer.publicKey, key('b'));
  assert.deepEqual(gateway.registry.machine(UUID)?.replacedKeys, [key('a')]);
  assert.equal(gateway.registry.machineCount, 1);
});

test('different machines get different addresses', () => {
  const gateway = new TestGateway();
  const first = gateway.provision();
  const second = gateway.provision({ nodeUuid: OTHER_UUID, nodePublicKey: key('b') });
  assert.notEqual(first.response.nodeAddressPrefix, second.response.nodeAddressPrefix);
});

test('a key that was replaced and comes back while its successor lives is a second machine with the same UUID', () => {
  const gateway = new TestGateway();
  const first = gateway.provision();
  gateway.provision({ nodePublicKey: key('b') });
  gateway.handshakeAgeMs.set(key('b'), 274_999);
  const twin = gateway.provision();
  assert.equal(twin.pending, 'uuid_conflict');
  assert.notEqual(twin.response.nodeAddressPrefix, first.response.nodeAddressPrefix);
  gateway.handshakeAgeMs.set(key('b'), 275_000);
  const again = gateway.provision();
  assert.equal(again.machineId, UUID);
  assert.equal(again.response.nodeAddressPrefix, first.response.nodeAddressPrefix);
  assert.equal(again.replaces, key('b'));
});

test('UUIDs that firmware makes up identify nobody: each key waits with an address of its own', () => {
  for (const nodeUuid of ['00000000-0000-0000-0000-000000000000', '03000200-0400-0500-0006-000700080009']) {
    const gateway = new TestGateway();
    const first = gateway.provision({ nodeUuid });
    const second = gateway.provision({ nodeUuid, nodePublicKey: key('b') });
    assert.deepEqual([first.pending, second.pending], ['uuid_conflict', 'uuid_conflict']);
    assert.notEqual(first.response.nodeAddressPrefix, second.response.nodeAddressPrefix);
  }
});

test('with unique tokens even such machines join, and are kept apart over restarts', () => {
  const gateway = new TestGateway();
  const nodeUuid = '00000000-0000-0000-0000-000000000000';
  const first = gateway.provision({ nodeUuid, nodeUniqueToken: unique('t', 'f') });
  const second = gateway.provision({
    nodeUuid,
    nodeUniqueToken: unique('u', 'g'),
    nodePublicKey: key('b'),
  });
  assert.deepEqual([first.machineId, second.machineId], [nodeUuid, `${nodeUuid}#2`]);
  const later = gateway.provision({
    nodeUuid,
    nodeUniqueToken: unique('u', 'g'),
    nodePublicKey: key('c'),
  });
  assert.deepEqual([later.machineId, later.replaces], [`${nodeUuid}#2`, key('b')]);
  assert.equal(later.response.nodeAddressPrefix, second.response.nodeAddressPrefix);
});

test(`naming another machine's key does not move that machine`, () => {
  const gateway = new TestGateway();
  gateway.provision();
  const refusal = gateway.refusal({ nodeUuid: OTHER_UUID });
  assert.deepEqual([refusal.status.code, refusal.reason], [STATUS.PERMISSION_DENIED, 'foreign_key']);
  assert.equal(gateway.refusal({ nodeUuid: OTHER_UUID, nodeUniqueToken: unique('t') }).reason, 'foreign_key');
});

test('a machine that comes with another UUID and the key it waited with keeps its address and tunnel', () => {
  const gateway = new TestGateway();
  gateway.provision({ nodeUniqueToken: unique('t', 'f') });
  const waiting = gateway.provision({
    nodePublicKey: key('b'),
    nodeUniqueToken: unique('u', 'g'),
    wireguardOverGrpc: true,
  });
  assert.equal(waiting.pending, 'uuid_conflict');
  gateway.openStreams.add(key('b'));
  gateway.handshakeAgeMs.set(key('b'), 0);
  const joined = gateway.provision({
    nodeUuid: OTHER_UUID,
    nodePublicKey: key('b'),
    nodeUniqueToken: unique('u', 'g'),
    wireguardOverGrpc: true,
  });
  assert.equal(joined.machineId, OTHER_UUID);
  assert.deepEqual(joined.response, waiting.response);
  assert.equal(gateway.registry.pendingCount, 0);
});

test('a machine being removed is told so', () => {
  const gateway = new TestGateway();
  gateway.provision();
  const before = gateway.registry.machine(UUID);
  assert.ok(before);
  gateway.registry.apply([{ kind: 'put_machine', before, record: { ...before, isRemoving: true } }]);
  assert.equal(
    gateway.outcome(),
    `${STATUS.ALREADY_EXISTS} the machine with the same UUID is already registered in Omni and is in the tearing down phase`,
  );
});

test('the registration limit counts machines, and refuses new ones only', () => {
  const gateway = new TestGateway({ maxMachines: 1 });
  gateway.provision();
  assert.equal(
    gateway.outcome({ nodeUuid: OTHER_UUID, nodePublicKey: key('b') }),
    `${STATUS.RESOURCE_EXHAUSTED} machine registration limit reached: 1/1 machines registered`,
  );
  assert.equal(gateway.outcome({ nodePublicKey: key('c') }), `machine ${UUID}`);
});

test('a machine refused by the limit leaves no trace', () => {
  const gateway = new TestGateway({ maxMachines: 0 }, [token('good', { useLimit: 1 })]);
  gateway.refusal({ nodeUniqueToken: unique('t') });
  assert.equal(gateway.registry.usesOf('good'), 0);
  assert.equal(gateway.registry.machineCount, 0);
});

test('the number of waiting machines is bounded', () => {
  const gateway = new TestGateway({ accept: 'manual', maxPending: 1 });
  gateway.provision();
  assert.equal(gateway.provision().pending, 'approval');
  const refusal = gateway.refusal({ nodeUuid: OTHER_UUID, nodePublicKey: key('b') });
  assert.deepEqual([refusal.status.code, refusal.reason], [STATUS.RESOURCE_EXHAUSTED, 'pending_limit']);
});

test('a bad key or UUID is an invalid argument, but only to those who may join', () => {
  const gateway = new TestGateway();
  const keys = [
    '',
    'x',
    Buffer.alloc(31, 1).toString('base64'),
    Buffer.alloc(32).toString('base64'),
    SERVER_KEY,
  ];
  for (const nodePublicKey of keys) {
    const refusal = gateway.refusal({ nodePublicKey });
    assert.equal(refusal.status.code, STATUS.INVALID_ARGUMENT);
    assert.match(refusal.status.message, /^error parsing Wireguard key: /);
    assert.equal(gateway.outcome({ nodePublicKey, joinToken: 'bad' }), UNAUTHORIZED);
  }
  for (const nodeUuid of ['', 'a b', 'x'.repeat(129), 'a#2', '../x']) {
    assert.equal(gateway.refusal({ nodeUuid }).reason, 'bad_uuid');
  }
});

test('use limits count machines, not calls: a single-use token serves one machine for ever', () => {
  const gateway = new TestGateway({}, [token('once', { useLimit: 1 })]);
  gateway.provision({ joinToken: 'once' });
  gateway.provision({ joinToken: 'once', nodePublicKey: key('b') });
  assert.equal(gateway.registry.usesOf('once'), 1);
  const refusal = gateway.refusal({ joinToken: 'once', nodeUuid: OTHER_UUID, nodePublicKey: key('c') });
  assert.equal(refusal.reason, 'used_up_join_token');
});

test('waiting machines count as uses, and take theirs along when they join', () => {
  const gateway = new TestGateway({ requireUniqueToken: true }, [token('once', { useLimit: 1 })]);
  assert.equal(gateway.provision({ joinToken: 'once' }).pending, 'no_unique_token');
  assert.equal(
    gateway.refusal({ joinToken: 'once', nodeUuid: OTHER_UUID, nodePublicKey: key('b') }).reason,
    'used_up_join_token',
  );
  gateway.provision({ joinToken: 'once', nodeUniqueToken: unique('t') });
  assert.equal(gateway.registry.usesOf('once'), 1);
  assert.ok(gateway.registry.hasUsed('once', `machine:${UUID}`));
});

test('revoking a token does not turn away machines that have a unique token', () => {
  const gateway = new TestGateway();
  gateway.provision({ nodeUniqueToken: unique('t') });
  gateway.registry.apply([
    { kind: 'put_token', record: token('good', { isRevoked: true }), before: token('good') },
  ]);
  assert.equal(gateway.outcome({ nodeUniqueToken: unique('t'), nodePublicKey: key('b') }), `machine ${UUID}`);
  assert.equal(gateway.outcome({ nodeUuid: OTHER_UUID, nodePublicKey: key('c') }), UNAUTHORIZED);
});

test('predefined addresses belong to their UUID from the start', () => {
  const address = 'fdae:41e4:649b:9303:1234::5';
  const gateway = new TestGateway({ predefinedAddresses: new Map([[OTHER_UUID, address]]) });
  const other = { nodeUuid: OTHER_UUID, nodePublicKey: key('b') };
  assert.equal(gateway.provision(other).response.nodeAddressPrefix, `${address}/64`);
  gateway.settings = { ...gateway.settings, predefinedAddresses: new Map([[UUID, address]]) };
  assert.equal(
    gateway.outcome(),
    `${STATUS.INTERNAL} error generating node address: ${address} belongs to another machine`,
  );
});

test('who was denied, by UUID or by key, is unauthorized whatever it presents', () => {
  for (const subject of [UUID, key('a')]) {
    const gateway = new TestGateway();
    gateway.provision({ nodeUniqueToken: unique('t') });
    gateway.registry.apply([{ kind: 'deny', subject }]);
    assert.equal(gateway.outcome({ nodeUniqueToken: unique('t') }), UNAUTHORIZED);
    gateway.registry.apply([{ kind: 'allow', subject }]);
    assert.equal(gateway.outcome({ nodeUniqueToken: unique('t') }), `machine ${UUID}`);
  }
});
