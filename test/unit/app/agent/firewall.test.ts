import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FirewallOpening, inputChains, markedRules, type Nft } from '../../../../src/app/agent/firewall.ts';

const base = (family: string, table: string, name: string, hook = 'input', type = 'filter') => ({
  chain: { family, table, name, hook, type, prio: 0, policy: 'drop', handle: 1 },
});

/** nft with the chains it was given and the rules it was told. */
class FakeNft implements Nft {
  readonly chains: object[];
  readonly rules: {
    family: string;
    table: string;
    chain: string;
    handle: number;
    comment: string;
    expr: unknown;
  }[] = [];
  #lastHandle = 10;

  constructor(...chains: object[]) {
    this.chains = chains;
  }

  apply(commands: readonly object[]): Promise<void> {
    for (const command of commands as readonly {
      insert?: { rule: FakeNft['rules'][number] };
      delete?: { rule: { handle: number } };
    }[]) {
      if (command.insert) this.rules.push({ ...command.insert.rule, handle: ++this.#lastHandle });
      const handle = command.delete?.rule.handle;
      const index = this.rules.findIndex((rule) => rule.handle === handle);
      if (command.delete) assert.notEqual(index, -1);
      if (index >= 0) this.rules.splice(index, 1);
    }
    return Promise.resolve();
  }

  list(): Promise<unknown> {
    const rules = this.rules.map((rule) => ({ rule }));
    return Promise.resolve({ nftables: [{ metainfo: {} }, ...this.chains, ...rules] });
  }
}

const CHAINS = [
  base('inet', 'filter', 'input'),
  base('ip6', 'we ird', 'INPUT'),
  base('ip', 'filter', 'INPUT'),
  base('inet', 'filter', 'forward', 'forward'),
  base('inet', 'nat', 'in', 'input', 'nat'),
  { chain: { family: 'inet', table: 'filter', name: 'helpers', handle: 2 } },
];

test('every chain that filters IPv6 input gets one rule for both names, and loses it again', async () => {
  const nft = new FakeNft(...CHAINS);
  const opening = new FirewallOpening('over0', nft);
  assert.equal(await opening.open(), 2);
  assert.deepEqual(
    nft.rules.map(({ family, table, chain, comment }) => [family, table, chain, comment]),
    [
      ['inet', 'filter', 'input', 'culvert join over0'],
      ['ip6', 'we ird', 'INPUT', 'culvert join over0'],
    ],
  );
  const [match] = (nft.rules[0]?.expr ?? []) as { match: { right: unknown } }[];
  assert.deepEqual(match?.match.right, { set: ['siderolink', 'siderolinktun', 'over0'] });
  await opening.close();
  assert.deepEqual(nft.rules, []);
});

test('opening again adds only what is missing', async () => {
  const nft = new FakeNft(...CHAINS);
  const opening = new FirewallOpening('siderolink', nft);
  await opening.open();
  nft.rules.shift();
  await opening.open();
  assert.equal(nft.rules.length, 2);
});

test('rules of other interfaces and of nobody stay', async () => {
  const nft = new FakeNft(...CHAINS);
  const other = new FirewallOpening('other', nft);
  const opening = new FirewallOpening('siderolink', nft);
  await other.open();
  await opening.open();
  await opening.close();
  assert.ok(nft.rules.every(({ comment }) => comment === 'culvert join other'));
  assert.equal(nft.rules.length, 2);
});

test('a machine without a firewall is left alone', async () => {
  const nft = new FakeNft();
  const opening = new FirewallOpening('siderolink', nft);
  assert.equal(await opening.open(), 0);
  await opening.close();
  assert.deepEqual(nft.rules, []);
});

test('what is no listing is refused', () => {
  for (const listing of [null, {}, { nftables: 1 }]) {
    assert.throws(() => inputChains(listing), { code: 'protocol' });
    assert.throws(() => markedRules(listing, ''), { code: 'protocol' });
  }
});
