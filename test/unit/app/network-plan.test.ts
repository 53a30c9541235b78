import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { type NetworkFacts, type NetworkStep, planNetwork, undoOf } from '../../../src/app/network-plan.ts';
import { parseWgConf } from '../../../src/app/wg-conf.ts';
import { formatInterfaceAddress } from '../../../src/app/wg-conf-print.ts';
import { formatPrefix } from '../../../src/core/ip.ts';

const FACTS: NetworkFacts = {
  pathMtu: 1500,
  hasNft: true,
  hasResolvconf: true,
  isTableUsed: () => false,
  tableNumber: (name) => (name === 'vpn' ? 77 : undefined),
};

/** A step as ip(8) would be asked for it. */
function words(step: NetworkStep): string {
  switch (step.kind) {
    case 'address':
      return `address ${formatInterfaceAddress(step.address)}`;
    case 'up':
      return `up mtu ${step.mtu}`;
    case 'dns':
      return `dns ${[...step.servers, ...step.search].join(' ')}`;
    case 'fwmark':
      return `fwmark ${step.mark}`;
    case 'route':
      return `route ${formatPrefix(step.prefix)}${step.table === undefined ? '' : ` table ${step.table}`}`;
    case 'rule': {
      const { family, table, fwmark, invert, suppressPrefixLength } = step.rule;
      const not = invert === true ? 'not ' : '';
      const suppress =
        suppressPrefixLength === undefined ? '' : ` suppress_prefixlength ${suppressPrefixLength}`;
      return `rule -${family} ${fwmark === undefined ? '' : `${not}fwmark ${fwmark} `}table ${table}${suppress}`;
    }
    case 'src_valid_mark':
      return 'src_valid_mark';
    case 'firewall':
      return `firewall ${step.family}`;
    default:
      return step satisfies never;
  }
}

function plan(
  text: string,
  facts: Partial<NetworkFacts> = {},
): { steps: string[]; warnings: readonly string[] } {
  const { steps, warnings } = planNetwork('wg0', parseWgConf(text, 'wg0.conf').conf, { ...FACTS, ...facts });
  return { steps: steps.map(words), warnings };
}

const peer = (allowedIps: string) => `[Peer]\nPublicKey = ${'A'.repeat(43)}=\nAllowedIPs = ${allowedIps}\n`;

test('addresses come first, then MTU and up, then DNS, then routes from the longest to the shortest', () => {
  const { steps, warnings } = plan(
    `[Interface]\nAddress = 10.0.0.1/24, fd00::1/64\nDNS = 10.0.0.53, example.org\n${peer('10.0.0.0/8, 192.0.2.0/24, 2001:db8::/32')}`,
  );
  assert.deepEqual(steps, [
    'address 10.0.0.1/24',
    'address fd00::1/64',
    'up mtu 1420',
    'dns 10.0.0.53 example.org',
    'route 2001:db8::/32',
    'route 192.0.2.0/24',
    'route 10.0.0.0/8',
  ]);
  assert.deepEqual(warnings, []);
});

test('the MTU is that of the way out less 80, unless the file says it', () => {
  assert.deepEqual(plan('', { pathMtu: 9000 }).steps, ['up mtu 8920']);
  assert.deepEqual(plan('', { pathMtu: undefined }).steps, ['up mtu 1420']);
  assert.deepEqual(plan('[Interface]\nMTU = 1280\n', { pathMtu: 9000 }).steps, ['up mtu 1280']);
});

test('routes that the kernel makes with the addresses are left to it', () => {
  const { steps } = plan(
    `[Interface]\nAddress = 10.0.0.1/24\n${peer('10.0.0.2/32, 10.0.0.0/24, 10.0.1.0/24')}`,
  );
  assert.deepEqual(
    steps.filter((step) => step.startsWith('route')),
    ['route 10.0.1.0/24'],
  );
});

test('a prefix of several peers is one route', () => {
  const { steps } = plan(`${peer('10.0.0.0/8')}${peer('10.0.0.0/8')}`);
  assert.deepEqual(steps, ['up mtu 1420', 'route 10.0.0.0/8']);
});

test('a default route goes to a table of its own, with its mark, rules and firewall', () => {
  assert.deepEqual(plan(peer('0.0.0.0/0')).steps, [
    'up mtu 1420',
    'fwmark 51820',
    'route 0.0.0.0/0 table 51820',
    'rule -4 not fwmark 51820 table 51820',
    'rule -4 table 254 suppress_prefixlength 0',
    'src_valid_mark',
    'firewall 4',
  ]);
  assert.deepEqual(plan(peer('::/0')).steps, [
    'up mtu 1420',
    'fwmark 51820',
    'route ::/0 table 51820',
    'rule -6 not fwmark 51820 table 51820',
    'rule -6 table 254 suppress_prefixlength 0',
    'firewall 6',
  ]);
});

test('both default routes share one mark, and a table in use is passed over', () => {
  const { steps } = plan(peer('0.0.0.0/0, ::/0'), { isTableUsed: (table) => table < 51_822 });
  assert.equal(steps.filter((step) => step.startsWith('fwmark')).length, 1);
  assert.ok(steps.includes('fwmark 51822'));
  assert.ok(steps.includes('route ::/0 table 51822'));
});

test('FwMark of the file is mark and table of the default route', () => {
  const { steps } = plan(`[Interface]\nFwMark = 0x10\n${peer('0.0.0.0/0')}`);
  assert.ok(steps.includes('rule -4 not fwmark 16 table 16'));
  assert.ok(!steps.some((step) => step.startsWith('fwmark')));
});

test('Table = off sets no routes; a number or name takes them all, default routes without rules', () => {
  assert.deepEqual(plan(`[Interface]\nTable = off\n${peer('0.0.0.0/0, 10.0.0.0/8')}`).steps, ['up mtu 1420']);
  for (const [table, number] of [
    ['1000', 1000],
    ['0x10', 16],
    ['vpn', 77],
  ] as const)
    assert.deepEqual(
      plan(`[Interface]\nAddress = 10.0.0.1/8\nTable = ${table}\n${peer('0.0.0.0/0, 10.0.0.0/8')}`).steps,
      [
        'address 10.0.0.1/8',
        'up mtu 1420',
        `route 10.0.0.0/8 table ${number}`,
        `route 0.0.0.0/0 table ${number}`,
      ],
    );
});

test('what the machine cannot do is said', () => {
  assert.match(
    plan(`[Interface]\nTable = nosuch\n${peer('10.0.0.0/8')}`).warnings[0] ?? '',
    /no routing table "nosuch"/,
  );
  assert.match(
    plan('[Interface]\nDNS = 1.1.1.1\n', { hasResolvconf: false }).warnings[0] ?? '',
    /DNS is not set/,
  );
  const { steps, warnings } = plan(peer('0.0.0.0/0, ::/0'), { hasNft: false });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /CVE-2019-14899/);
  assert.ok(!steps.some((step) => step.startsWith('firewall')));
});

test('the firewall drops packets to the tunnel addresses that come in elsewhere, as wg-quick does', () => {
  const { conf } = parseWgConf(
    `[Interface]\nAddress = 10.0.0.1/24, fd00::1/64\n${peer('0.0.0.0/0, ::/0')}`,
    'x',
  );
  const scripts = planNetwork('wg0', conf, FACTS).steps.flatMap((step) =>
    step.kind === 'firewall' ? [step.script] : [],
  );
  assert.equal(
    scripts[0],
    `add table ip wg-quick-wg0
add chain ip wg-quick-wg0 preraw { type filter hook prerouting priority -300; }
add chain ip wg-quick-wg0 premangle { type filter hook prerouting priority -150; }
add chain ip wg-quick-wg0 postmangle { type filter hook postrouting priority -150; }
add rule ip wg-quick-wg0 preraw iifname != "wg0" ip daddr 10.0.0.1 fib saddr type != local drop
add rule ip wg-quick-wg0 postmangle meta l4proto udp mark 51820 ct mark set mark
add rule ip wg-quick-wg0 premangle meta l4proto udp meta mark set ct mark
`,
  );
  assert.ok(scripts[1]?.includes('add rule ip6 wg-quick-wg0 preraw iifname != "wg0" ip6 daddr fd00::1 '));
  assert.ok(!scripts[1]?.includes('10.0.0.1'));
});

test('what is to be undone is what outlives the interface', () => {
  const { conf } = parseWgConf(`[Interface]\nDNS = 1.1.1.1\n${peer('0.0.0.0/0, 10.0.0.0/8')}`, 'x');
  assert.deepEqual(undoOf('wg0', planNetwork('wg0', conf, FACTS).steps), {
    interfaceName: 'wg0',
    rules: [
      { family: 4, table: 51820, fwmark: 51820, invert: true },
      { family: 4, table: 254, suppressPrefixLength: 0 },
    ],
    firewallFamilies: [4],
    hasDns: true,
  });
});

test('every allowed prefix is routed exactly once or covered by an address', () => {
  const octet = fc.integer({ min: 0, max: 3 });
  const prefix = fc
    .tuple(octet, octet, fc.integer({ min: 1, max: 32 }))
    .map(([a, b, length]) => `10.${a}.${b}.0/${length}`);
  fc.assert(
    fc.property(
      fc.array(prefix, { minLength: 1, maxLength: 12 }),
      fc.array(prefix, { maxLength: 2 }),
      (ips, addresses) => {
        const text = `[Interface]\nAddress = ${addresses.join(', ')}\n${peer(ips.join(', '))}`;
        const routes = plan(text).steps.filter((step) => step.startsWith('route'));
        assert.equal(new Set(routes).size, routes.length);
        if (addresses.length === 0) {
          const wanted = new Set(
            parseWgConf(text, 'x').conf.peers[0]?.allowedIps.map(({ prefix }) => formatPrefix(prefix)),
          );
          assert.deepEqual(new Set(routes.map((step) => step.slice('route '.length))), wanted);
        }
      },
    ),
  );
});
