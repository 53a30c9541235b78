/** What every Store has to do. `reopen` closes the store and opens it again over what it left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { PrivateKey } from '../../src/noise/keys.ts';
import type { MachineRecord, PendingRecord, StoreChange } from '../../src/link/records.ts';
import { Registry } from '../../src/link/registry.ts';
import { EMPTY_CONTENTS, type Store, type StoreContents } from '../../src/link/store.ts';
import type { TokenRecord } from '../../src/link/tokens.ts';
import { seededRandom } from '../kit/random.ts';

export interface OpenStore {
  readonly store: Store;
  reopen(): Promise<OpenStore>;
  /** Closes it and removes what it left. */
  dispose(): Promise<void>;
}

export function machineRecord(name: string, more: Partial<MachineRecord> = {}): MachineRecord {
  return {
    id: name,
    uuid: name,
    publicKey: `key of ${name}`,
    replacedKeys: [],
    nodeAddress: `fd00::${name}`,
    pinsUniqueToken: false,
    talosVersion: 'v1.7.0',
    labels: {},
    joinedAtMs: 1,
    isRemoving: false,
    ...more,
  };
}

export function pendingRecord(name: string, more: Partial<PendingRecord> = {}): PendingRecord {
  return {
    publicKey: `key of ${name}`,
    uuid: name,
    reason: 'approval',
    nodeAddress: `fd00::${name}`,
    talosVersion: '',
    labels: { a: 'b' },
    createdAtMs: 2,
    ...more,
  };
}

export function tokenRecord(token: string, more: Partial<TokenRecord> = {}): TokenRecord {
  return { token, name: token, createdAtMs: 0, isRevoked: false, ...more };
}

function sortedEntries(record: object): [string, unknown][] {
  return Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** Comparable: keys of the server as text, order where it has no meaning taken out. */
export function comparable(contents: StoreContents): unknown {
  const sorted = (values: readonly unknown[]) => values.map((value) => JSON.stringify(value)).toSorted();
  return {
    serverKey: contents.serverKey?.exposeBase64(),
    defaultToken: contents.defaultToken,
    tokens: sorted(contents.tokens.map((token) => sortedEntries(token))),
    uses: sorted(contents.uses.map(({ token, subject }) => [token, subject])),
    machines: sorted(contents.machines.map((machine) => sortedEntries(machine))),
    pending: sorted(contents.pending.map((pending) => sortedEntries(pending))),
    denied: sorted(contents.denied),
    endpoints: sorted([...contents.endpoints]),
  };
}

const put = (record: MachineRecord, before?: MachineRecord): StoreChange => ({
  kind: 'put_machine',
  record,
  before,
});
const hold = (record: PendingRecord, before?: PendingRecord): StoreChange => ({
  kind: 'put_pending',
  record,
  before,
});
const putToken = (record: TokenRecord, before?: TokenRecord): StoreChange => ({
  kind: 'put_token',
  record,
  before,
});

export function storeContract(name: string, open: () => Promise<OpenStore>): void {
  const contract = (title: string, body: (opened: OpenStore) => Promise<OpenStore | void>) =>
    test(`${name}: ${title}`, async () => {
      const opened = await open();
      const last = await body(opened);
      await (last ?? opened).dispose();
    });

  void contract('a new store is empty', async ({ store }) => {
    assert.deepEqual(comparable(await store.load()), comparable(EMPTY_CONTENTS));
  });

  void contract('everything that was committed is there after a restart', async (opened) => {
    const a = machineRecord('a', {
      virtualEndpoint: '[fd01::1]:50889',
      uniqueToken: '{"Token":"ü"}',
      tunnel: false,
      labels: { 'omni.sidero.dev/machine-request': 'x' },
      replacedKeys: ['k'],
    });
    const changes: StoreChange[] = [
      { kind: 'set_server_key', privateKey: PrivateKey.generate(seededRandom(1)) },
      putToken(tokenRecord('t', { useLimit: 3, expiresAtMs: 5 })),
      putToken(tokenRecord('u')),
      { kind: 'set_default_token', token: 't' },
      put(a),
      hold(pendingRecord('b')),
      { kind: 'use_token', token: 't', subject: 'machine:a' },
      { kind: 'deny', subject: 'c' },
      { kind: 'put_endpoint', publicKey: a.publicKey, endpoint: '[2001:db8::1]:51820' },
    ];
    assert.equal(await opened.store.commit(changes), undefined);
    const expected = new Registry(EMPTY_CONTENTS);
    expected.apply(changes);
    assert.deepEqual(comparable(await opened.store.load()), comparable(expected.contents()));
    const reopened = await opened.reopen();
    assert.deepEqual(comparable(await reopened.store.load()), comparable(expected.contents()));
    return reopened;
  });

  void contract('machines come back oldest first', async (opened) => {
    await opened.store.commit([put(machineRecord('young', { joinedAtMs: 9 }))]);
    await opened.store.commit([put(machineRecord('old', { joinedAtMs: 3 }))]);
    const reopened = await opened.reopen();
    const { machines } = await reopened.store.load();
    assert.deepEqual(
      machines.map(({ id }) => id),
      ['old', 'young'],
    );
    return reopened;
  });

  void contract(
    'a transaction that is refused changes nothing, not even by its first steps',
    async (opened) => {
      const { store } = opened;
      await store.commit([put(machineRecord('a'))]);
      const before = comparable(await store.load());
      const refused = await store.commit([
        putToken(tokenRecord('t')),
        hold(pendingRecord('p')),
        put(machineRecord('b', { nodeAddress: 'fd00::a' })),
      ]);
      assert.equal(refused, 'address');
      assert.deepEqual(comparable(await store.load()), before);
      const reopened = await opened.reopen();
      assert.deepEqual(comparable(await reopened.store.load()), before);
      return reopened;
    },
  );

  void contract('a record that changed meanwhile makes the decision stale', async ({ store }) => {
    const a = machineRecord('a');
    const newer = machineRecord('a', { talosVersion: 'v1.8.0' });
    await store.commit([put(a)]);
    assert.equal(await store.commit([put(newer)]), 'stale');
    assert.equal(await store.commit([put(newer, a)]), undefined);
    assert.equal(await store.commit([put(a, a)]), 'stale');
    assert.equal(await store.commit([{ kind: 'delete_machine', before: a }]), 'stale');
    assert.equal(await store.commit([{ kind: 'delete_machine', before: newer }]), undefined);
    assert.equal(await store.commit([{ kind: 'delete_machine', before: newer }]), 'stale');
    const p = pendingRecord('p');
    await store.commit([hold(p)]);
    assert.equal(await store.commit([hold({ ...p, reason: 'uuid_conflict' })]), 'stale');
    assert.equal(await store.commit([{ kind: 'delete_pending', before: p }]), undefined);
    const t = tokenRecord('t');
    await store.commit([putToken(t)]);
    assert.equal(await store.commit([putToken({ ...t, isRevoked: true })]), 'stale');
    assert.equal(await store.commit([putToken({ ...t, isRevoked: true }, t)]), undefined);
    assert.equal(await store.commit([{ kind: 'delete_token', before: t }]), 'stale');
  });

  void contract('node addresses, virtual addresses and keys have one owner each', async ({ store }) => {
    await store.commit([put(machineRecord('a', { virtualEndpoint: '[fd01::a]:1' }))]);
    assert.equal(await store.commit([put(machineRecord('b', { nodeAddress: 'fd00::a' }))]), 'address');
    assert.equal(await store.commit([hold(pendingRecord('b', { nodeAddress: 'fd00::a' }))]), 'address');
    assert.equal(
      await store.commit([put(machineRecord('b', { virtualEndpoint: '[fd01::a]:2' }))]),
      'address',
    );
    assert.equal(await store.commit([put(machineRecord('b', { publicKey: 'key of a' }))]), 'public_key');
    assert.equal(await store.commit([put(machineRecord('b'))]), undefined);
  });

  void contract(
    'an address that was given back can be given out, also within one transaction',
    async ({ store }) => {
      const p = pendingRecord('p');
      await store.commit([hold(p)]);
      const accepted = machineRecord('m', { publicKey: p.publicKey, nodeAddress: p.nodeAddress });
      assert.equal(await store.commit([{ kind: 'delete_pending', before: p }, put(accepted)]), undefined);
      await store.commit([{ kind: 'delete_machine', before: accepted }]);
      assert.equal(await store.commit([hold(p)]), undefined);
    },
  );

  void contract('the uses of a token are counted by subject and end at its limit', async (opened) => {
    const { store } = opened;
    const use = (subject: string): StoreChange => ({ kind: 'use_token', token: 't', subject });
    await store.commit([putToken(tokenRecord('t', { useLimit: 2 }))]);
    assert.equal(await store.commit([use('a'), use('a'), use('b')]), undefined);
    assert.equal(await store.commit([use('a')]), undefined);
    assert.equal(await store.commit([use('c')]), 'token_used_up');
    assert.equal(await store.commit([{ kind: 'release_uses', subject: 'a' }, use('c')]), undefined);
    assert.equal(await store.commit([{ kind: 'rename_uses', from: 'c', to: 'd' }, use('d')]), undefined);
    assert.equal(await store.commit([{ kind: 'use_token', token: 'gone', subject: 'a' }]), 'token_used_up');
    const reopened = await opened.reopen();
    const { uses } = await reopened.store.load();
    assert.deepEqual(uses.map(({ subject }) => subject).toSorted(), ['b', 'd']);
    return reopened;
  });

  void contract('the default token exists and stays; names and providers are unique', async ({ store }) => {
    assert.equal(await store.commit([{ kind: 'set_default_token', token: 't' }]), 'default_token');
    const t = tokenRecord('t', { provider: 'p' });
    await store.commit([putToken(t), { kind: 'set_default_token', token: 't' }]);
    assert.equal(await store.commit([{ kind: 'delete_token', before: t }]), 'default_token');
    assert.equal(await store.commit([putToken(tokenRecord('u', { name: 't' }))]), 'token_name');
    assert.equal(await store.commit([putToken(tokenRecord('u', { provider: 'p' }))]), 'token_name');
    assert.equal(await store.commit([putToken(tokenRecord('u')), putToken(tokenRecord('v'))]), undefined);
  });

  void contract('a deleted token takes its uses along', async ({ store }) => {
    const t = tokenRecord('t', { useLimit: 1 });
    const use: StoreChange = { kind: 'use_token', token: 't', subject: 'a' };
    await store.commit([putToken(t), use]);
    await store.commit([{ kind: 'delete_token', before: t }]);
    assert.deepEqual((await store.load()).uses, []);
    assert.equal(await store.commit([putToken(t), { ...use, subject: 'b' }]), undefined);
  });

  void contract('denials and endpoints can be taken back', async ({ store }) => {
    await store.commit([
      { kind: 'deny', subject: 'x' },
      { kind: 'put_endpoint', publicKey: 'k', endpoint: '1.2.3.4:5' },
    ]);
    await store.commit([
      { kind: 'allow', subject: 'x' },
      { kind: 'put_endpoint', publicKey: 'k', endpoint: undefined },
    ]);
    assert.deepEqual(comparable(await store.load()), comparable(EMPTY_CONTENTS));
  });

  test(`${name}: any history of commits has the outcome that the rules say, before and after a restart`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(anyChange, { maxLength: 4 }), { maxLength: 12 }),
        async (history) => {
          let opened = await open();
          const model = new Registry(EMPTY_CONTENTS);
          try {
            for (const changes of history) {
              assert.equal(await opened.store.commit(changes), model.apply(changes));
            }
            assert.deepEqual(comparable(await opened.store.load()), comparable(model.contents()));
            opened = await opened.reopen();
            assert.deepEqual(comparable(await opened.store.load()), comparable(model.contents()));
          } finally {
            await opened.dispose();
          }
        },
      ),
      { numRuns: 25 },
    );
  });
}

/** Changes over few names, so that they meet and conflict. */
const anyName = fc.constantFrom('a', 'b', 'c');
const anyMachine = fc
  .tuple(anyName, anyName, fc.option(anyName, { nil: undefined }))
  .map(([id, address, virtual]) =>
    machineRecord(id, {
      nodeAddress: `fd00::${address}`,
      ...(virtual === undefined ? {} : { virtualEndpoint: `[fd01::${virtual}]:1` }),
    }),
  );
const anyPending = anyName.map((name) => pendingRecord(name));
const anyToken = fc
  .tuple(anyName, fc.option(fc.nat(2), { nil: undefined }))
  .map(([token, useLimit]) => tokenRecord(token, useLimit === undefined ? {} : { useLimit }));
const anyChange: fc.Arbitrary<StoreChange> = fc.oneof(
  fc
    .tuple(anyMachine, fc.option(anyMachine, { nil: undefined }))
    .map(([record, before]) => put(record, before && { ...before, id: record.id })),
  anyMachine.map((before): StoreChange => ({ kind: 'delete_machine', before })),
  anyPending.map((record) => hold(record)),
  anyPending.map((before): StoreChange => ({ kind: 'delete_pending', before })),
  anyToken.map((record) => putToken(record)),
  anyToken.map((before): StoreChange => ({ kind: 'delete_token', before })),
  anyName.map((token): StoreChange => ({ kind: 'set_default_token', token })),
  fc.tuple(anyName, anyName).map(([token, subject]): StoreChange => ({ kind: 'use_token', token, subject })),
  anyName.map((subject): StoreChange => ({ kind: 'release_uses', subject })),
  fc.tuple(anyName, anyName).map(([from, to]): StoreChange => ({ kind: 'rename_uses', from, to })),
  anyName.map((subject): StoreChange => ({ kind: 'deny', subject })),
  anyName.map((subject): StoreChange => ({ kind: 'allow', subject })),
  fc
    .tuple(anyName, fc.option(anyName, { nil: undefined }))
    .map(([publicKey, endpoint]): StoreChange => ({ kind: 'put_endpoint', publicKey, endpoint })),
);
