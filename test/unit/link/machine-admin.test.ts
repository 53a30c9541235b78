import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  acceptPending,
  beginRemoval,
  denyPending,
  expiredPending,
  forgetUniqueToken,
  removeMachine,
} from '../../../src/link/machine-admin.ts';
import type { PendingRecord } from '../../../src/link/records.ts';
import { key, TestGateway, token, unique, UUID } from './provision-kit.ts';

function waiting(gateway: TestGateway, name = 'a'): PendingRecord {
  const record = gateway.registry.pendingByKey(key(name));
  assert.ok(record);
  return record;
}

function accept(gateway: TestGateway, name = 'a'): void {
  const changes = acceptPending(waiting(gateway, name), gateway.registry, gateway.wallMs);
  assert.equal(gateway.registry.apply(changes), undefined);
}

test('with manual acceptance every newcomer waits, and an accepted one keeps address, key and use', () => {
  const gateway = new TestGateway({ accept: 'manual' }, [token('good', { useLimit: 1 })]);
  for (const call of [{}, { nodeUniqueToken: unique('t') }, { talosVersion: 'v1.5.0' }]) {
    assert.equal(new TestGateway({ accept: 'manual' }).outcome(call), 'pending approval');
  }
  const before = gateway.provision();
  assert.equal(gateway.provision().pending, 'approval');
  accept(gateway);
  const after = gateway.provision();
  assert.equal(after.machineId, UUID);
  assert.deepEqual(after.response, before.response);
  assert.deepEqual(after.changes, []);
  assert.deepEqual([gateway.registry.pendingCount, gateway.registry.usesOf('good')], [0, 1]);
  assert.equal(gateway.provision({ nodePublicKey: key('second boot') }).machineId, UUID);
});

test('a second machine with a UUID is accepted under a name of its own when it has a unique token', () => {
  const gateway = new TestGateway();
  const first = gateway.provision({ nodeUniqueToken: unique('t', 'f') });
  const twin = { nodePublicKey: key('b'), nodeUniqueToken: unique('u', 'g') };
  gateway.provision(twin);
  accept(gateway, 'b');
  const joined = gateway.provision({ ...twin, nodePublicKey: key('c') });
  assert.equal(joined.machineId, `${UUID}#2`);
  assert.notEqual(joined.response.nodeAddressPrefix, first.response.nodeAddressPrefix);
  assert.equal(gateway.provision({ nodeUniqueToken: unique('t', 'f') }).machineId, UUID);
});

test('a machine that nothing would tell from another cannot be accepted', () => {
  const gateway = new TestGateway();
  gateway.provision({ nodeUniqueToken: unique('t') });
  gateway.provision({ nodePublicKey: key('b') });
  assert.throws(() => acceptPending(waiting(gateway, 'b'), gateway.registry, 0), { code: 'usage' });
  const nobody = new TestGateway();
  nobody.provision({ nodeUuid: 'ffffffff-ffff-ffff-ffff-ffffffffffff' });
  assert.throws(() => acceptPending(waiting(nobody), nobody.registry, 0), { code: 'usage' });
});

test('a denied machine is gone and refused; its use is free again', () => {
  const gateway = new TestGateway({ accept: 'manual' }, [token('good', { useLimit: 1 })]);
  gateway.provision();
  gateway.registry.apply(denyPending(waiting(gateway), gateway.registry));
  assert.equal(gateway.refusal().reason, 'denied');
  assert.equal(gateway.refusal({ nodePublicKey: key('b') }).reason, 'denied');
  assert.deepEqual([gateway.registry.pendingCount, gateway.registry.usesOf('good')], [0, 0]);
});

test('denying one of two machines with a UUID does not deny the other', () => {
  const gateway = new TestGateway();
  gateway.provision({ nodeUniqueToken: unique('t', 'f') });
  gateway.provision({ nodePublicKey: key('b'), nodeUniqueToken: unique('u', 'g') });
  gateway.registry.apply(denyPending(waiting(gateway, 'b'), gateway.registry));
  assert.equal(gateway.refusal({ nodePublicKey: key('b') }).reason, 'denied');
  assert.equal(gateway.outcome({ nodeUniqueToken: unique('t', 'f') }), `machine ${UUID}`);
});

test('a removed machine may join again as a new one', () => {
  const gateway = new TestGateway({}, [token('good', { useLimit: 1 })]);
  gateway.provision({ nodeUniqueToken: unique('t') });
  const machine = () => {
    const record = gateway.registry.machine(UUID);
    assert.ok(record);
    return record;
  };
  gateway.registry.apply(beginRemoval(machine()));
  assert.equal(gateway.refusal({ nodeUniqueToken: unique('t') }).reason, 'removing');
  gateway.registry.apply(removeMachine(machine()));
  assert.equal(gateway.registry.usesOf('good'), 0);
  assert.equal(gateway.outcome({ nodeUniqueToken: unique('u', 'g') }), `machine ${UUID}`);
});

test('a machine whose unique token was forgotten may come with another one', () => {
  const gateway = new TestGateway();
  gateway.provision({ nodeUniqueToken: unique('t', 'f') });
  gateway.provision({ nodeUniqueToken: unique('t', 'f'), nodePublicKey: key('b') });
  const before = gateway.registry.machine(UUID);
  assert.ok(before);
  gateway.registry.apply(forgetUniqueToken(before));
  assert.equal(
    gateway.outcome({ nodeUniqueToken: unique('u', 'g'), nodePublicKey: key('c') }),
    `machine ${UUID}`,
  );
});

test('a waiting machine is forgotten after 275 s without a sign of life', () => {
  const gateway = new TestGateway({ accept: 'manual' });
  gateway.provision();
  const pending = gateway.registry.pendingRecords();
  assert.deepEqual(
    expiredPending(pending, () => 274_999),
    [],
  );
  assert.deepEqual(
    expiredPending(pending, () => 275_000),
    pending,
  );
});
