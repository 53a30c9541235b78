/**
 * What wg-quick does to the network around an interface, as data: which addresses, routes, rules and settings a
 * configuration asks for, in order, and what has to be undone afterwards. Nothing is changed here.
 */
import { formatAddress, formatPrefix, maskAddress, type Prefix, prefixContains } from '../core/ip.ts';
import type { InterfaceAddress, WgConf } from './wg-conf.ts';

export type NetworkStep =
  | { readonly kind: 'address'; readonly address: InterfaceAddress }
  /** Sets the MTU and the interface up. */
  | { readonly kind: 'up'; readonly mtu: number }
  | { readonly kind: 'dns'; readonly servers: readonly string[]; readonly search: readonly string[] }
  /** SO_MARK of the device's own packets. */
  | { readonly kind: 'fwmark'; readonly mark: number }
  /** `table` absent: main. */
  | { readonly kind: 'route'; readonly prefix: Prefix; readonly table?: number }
  | { readonly kind: 'rule'; readonly rule: RoutingRule }
  /** net.ipv4.conf.all.src_valid_mark=1: the reverse path filter looks at marks, too. */
  | { readonly kind: 'src_valid_mark' }
  /** For `nft -f -`. */
  | { readonly kind: 'firewall'; readonly family: 4 | 6; readonly script: string };

export interface RoutingRule {
  readonly family: 4 | 6;
  readonly table: number;
  readonly fwmark?: number;
  /** Packets without the mark. */
  readonly invert?: boolean;
  readonly suppressPrefixLength?: number;
}

/** What stays when the interface is gone. Plain data: it is kept in a file. */
export interface NetworkUndo {
  readonly interfaceName: string;
  readonly rules: readonly RoutingRule[];
  readonly firewallFamilies: readonly (4 | 6)[];
  readonly hasDns: boolean;
}

export interface NetworkPlan {
  readonly interfaceName: string;
  readonly steps: readonly NetworkStep[];
  /** What could not be done as asked, as sentences. */
  readonly warnings: readonly string[];
}

/** What the plan depends on besides the file. */
export interface NetworkFacts {
  /** MTU of the way to the endpoints, or of the default route; undefined when there is none. */
  readonly pathMtu: number | undefined;
  readonly hasNft: boolean;
  readonly hasResolvconf: boolean;
  /** True when the routing table has routes. */
  readonly isTableUsed: (table: number) => boolean;
  /** By rt_tables(5). */
  readonly tableNumber: (name: string) => number | undefined;
}

/** Outer IPv6 and UDP headers (40 + 8) and a transport message around the packet (32). */
const OVERHEAD_BYTES = 80;
const DEFAULT_PATH_MTU = 1500;
const FIRST_TABLE = 51_820;
const MAIN_TABLE = 254;

export function planNetwork(interfaceName: string, conf: WgConf, facts: NetworkFacts): NetworkPlan {
  const { device } = conf;
  const steps: NetworkStep[] = [];
  const warnings: string[] = [];
  for (const address of device.addresses) steps.push({ kind: 'address', address });
  steps.push({ kind: 'up', mtu: device.mtu ?? (facts.pathMtu ?? DEFAULT_PATH_MTU) - OVERHEAD_BYTES });

  const wantsDns = device.dns.length > 0;
  if (wantsDns && facts.hasResolvconf)
    steps.push({ kind: 'dns', servers: device.dns.map(formatAddress), search: device.dnsSearch });
  else if (wantsDns) warnings.push('DNS is not set: there is no resolvconf');

  steps.push(...planRoutes(interfaceName, conf, facts, warnings));
  return { interfaceName, steps, warnings };
}

/** What is to be undone after these steps. */
export function undoOf(interfaceName: string, steps: readonly NetworkStep[]): NetworkUndo {
  return {
    interfaceName,
    rules: steps.flatMap((step) => (step.kind === 'rule' ? [step.rule] : [])),
    firewallFamilies: steps.flatMap((step) => (step.kind === 'firewall' ? [step.family] : [])),
    hasDns: steps.some((step) => step.kind === 'dns'),
  };
}

function planRoutes(
  interfaceName: string,
  { device, peers }: WgConf,
  facts: NetworkFacts,
  warnings: string[],
): NetworkStep[] {
  const { table = 'auto' } = device;
  if (table === 'off') return [];
  const prefixes = longestFirst(
    peers.flatMap(({ allowedIps }) => allowedIps.filter(({ remove }) => !remove).map(({ prefix }) => prefix)),
  );
  if (table !== 'auto') {
    const number = parseTable(table) ?? facts.tableNumber(table);
    if (number === undefined) {
      warnings.push(`routes are not set: there is no routing table ${JSON.stringify(table)}`);
      return [];
    }
    return prefixes.map((prefix) => ({ kind: 'route', prefix, table: number }));
  }
  const steps: NetworkStep[] = [];
  // The kernel makes these routes itself, with the addresses.
  const present: Prefix[] = device.addresses.map(({ address, length }) => ({
    address: maskAddress(address, length),
    length,
  }));
  for (const prefix of prefixes) {
    if (prefix.length === 0) continue;
    if (present.some((one) => one.length <= prefix.length && prefixContains(one, prefix.address))) continue;
    steps.push({ kind: 'route', prefix });
  }
  const defaults = prefixes.filter(({ length }) => length === 0);
  if (defaults.length > 0) steps.push(...planDefaults(interfaceName, device, defaults, facts, warnings));
  return steps;
}

/**
 * A default route through the tunnel in a table of its own. Everything without the mark of the device's own packets
 * looks there, except what a more specific route of the main table knows.
 */
function planDefaults(
  interfaceName: string,
  device: WgConf['device'],
  defaults: readonly Prefix[],
  facts: NetworkFacts,
  warnings: string[],
): NetworkStep[] {
  const steps: NetworkStep[] = [];
  let mark = device.fwmark ?? 0;
  if (mark === 0) {
    mark = FIRST_TABLE;
    while (facts.isTableUsed(mark)) mark++;
    steps.push({ kind: 'fwmark', mark });
  }
  for (const prefix of defaults) {
    const family = prefix.address.length === 4 ? 4 : 6;
    steps.push(
      { kind: 'route', prefix, table: mark },
      { kind: 'rule', rule: { family, table: mark, fwmark: mark, invert: true } },
      { kind: 'rule', rule: { family, table: MAIN_TABLE, suppressPrefixLength: 0 } },
    );
    if (family === 4) steps.push({ kind: 'src_valid_mark' });
    if (facts.hasNft)
      steps.push({
        kind: 'firewall',
        family,
        script: firewallScript(interfaceName, family, device.addresses, mark),
      });
  }
  if (!facts.hasNft)
    warnings.push(
      'packets to the addresses of the tunnel are accepted from other interfaces, too (CVE-2019-14899): there is no nft',
    );
  return steps;
}

/** The name that wg-quick gives its table, so that either tool can clean up after the other. */
export function firewallTable(interfaceName: string, family: 4 | 6): string {
  return `${family === 4 ? 'ip' : 'ip6'} wg-quick-${interfaceName}`;
}

function firewallScript(
  interfaceName: string,
  family: 4 | 6,
  addresses: readonly InterfaceAddress[],
  mark: number,
): string {
  const table = firewallTable(interfaceName, family);
  const [protocol] = table.split(' ');
  const mine = addresses.filter(({ address }) => address.length === (family === 4 ? 4 : 16));
  const lines = [
    `add table ${table}`,
    `add chain ${table} preraw { type filter hook prerouting priority -300; }`,
    `add chain ${table} premangle { type filter hook prerouting priority -150; }`,
    `add chain ${table} postmangle { type filter hook postrouting priority -150; }`,
    ...mine.map(
      ({ address }) =>
        `add rule ${table} preraw iifname != "${interfaceName}" ${protocol} daddr ${formatAddress(address)} ` +
        'fib saddr type != local drop',
    ),
    // Answers to the device's own packets find their way past the tunnel.
    `add rule ${table} postmangle meta l4proto udp mark ${mark} ct mark set mark`,
    `add rule ${table} premangle meta l4proto udp meta mark set ct mark`,
  ];
  return `${lines.join('\n')}\n`;
}

function longestFirst(prefixes: readonly Prefix[]): Prefix[] {
  const unique = new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix]));
  return [...unique.values()].sort((a, b) => b.length - a.length);
}

/** A table given as a number, decimal or hexadecimal. */
function parseTable(text: string): number | undefined {
  if (!/^(\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text)) return undefined;
  const number = Number(text);
  return number > 0 && number <= 0xffff_ffff ? number : undefined;
}
