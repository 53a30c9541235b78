/** The network settings of this machine: rtnetlink, nft(8), resolvconf(8) and /proc/sys. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import type { Address } from '../core/ip.ts';
import { EEXIST, ENOENT, ESRCH } from '../sys/errno.ts';
import type { RouteClient } from '../sys/route-client.ts';
import type { NetworkSystem } from './network-apply.ts';
import { hasProgram, runProgram } from './programs.ts';
import { ignoring, linkIndex, withRoutes } from './routes.ts';

const SOURCE_VALID_MARK = '/proc/sys/net/ipv4/conf/all/src_valid_mark';
/** An address of TEST-NET-1 (RFC 5737): the way to it is the default route. */
const SOMEWHERE: Address = Uint8Array.of(192, 0, 2, 1);

export function createNetworkSystem(): NetworkSystem {
  return {
    facts: (endpoints) => ({
      pathMtu: withRoutes((client) => pathMtu(client, endpoints)),
      hasNft: hasProgram('nft'),
      hasResolvconf: hasProgram('resolvconf'),
      isTableUsed: (table) =>
        withRoutes((client) => client.hasRoutes(4, table) || client.hasRoutes(6, table)),
      tableNumber: (name) => routingTables().get(name),
    }),
    hasInterface: (name) => withRoutes((client) => client.link(name) !== undefined),
    deleteInterface: (name) =>
      withRoutes((client) => {
        const link = client.link(name);
        if (link) client.deleteLink(link.index);
      }),
    addAddress: (name, { address, length }) =>
      withRoutes((client) => client.addAddress(linkIndex(client, name), address, length)),
    setUp: (name, mtu) =>
      withRoutes((client) => {
        const index = linkIndex(client, name);
        client.setLinkMtu(index, mtu);
        client.setLinkUp(index, true);
      }),
    addRoute: (name, { prefix, table }) =>
      withRoutes((client) => {
        const route = { destination: prefix, interfaceIndex: linkIndex(client, name) };
        ignoring([EEXIST], () => client.addRoute(table === undefined ? route : { ...route, table }));
      }),
    addRule: (rule) => withRoutes((client) => client.addRule(rule)),
    deleteRule: (rule) => withRoutes((client) => ignoring([ENOENT, ESRCH], () => client.deleteRule(rule))),
    setSourceValidMark: () => writeFileSync(SOURCE_VALID_MARK, '1'),
    loadFirewall: (script) => runProgram('nft', ['-f', '-'], script),
    // Making it first makes deleting it work whether it was there or not.
    deleteFirewall: (table) => runProgram('nft', ['-f', '-'], `add table ${table}\ndelete table ${table}\n`),
    setDns: (name, servers, search) =>
      runProgram(
        'resolvconf',
        ['-a', resolvconfName(name), '-m', '0', '-x'],
        [
          ...servers.map((server) => `nameserver ${server}\n`),
          ...(search.length === 0 ? [] : [`search ${search.join(' ')}\n`]),
        ].join(''),
      ),
    unsetDns: (name) => runProgram('resolvconf', ['-d', resolvconfName(name), '-f']),
  };
}

/** As wg-quick: the largest MTU on the way to an endpoint, else that of the default route. */
function pathMtu(client: RouteClient, endpoints: readonly Address[]): number | undefined {
  const mtuTo = (address: Address) => {
    const route = client.routeTo(address);
    return route && (route.mtu ?? client.link(route.interfaceIndex)?.mtu);
  };
  const known = endpoints.map(mtuTo).filter((mtu) => mtu !== undefined);
  return known.length > 0 ? Math.max(...known) : mtuTo(SOMEWHERE);
}

const TABLE_FILES = ['/usr/share/iproute2/rt_tables', '/etc/iproute2/rt_tables'];
const TABLE_DIRECTORY = '/etc/iproute2/rt_tables.d';

/** The names of routing tables, from the files that ip(8) reads. */
function routingTables(): Map<string, number> {
  const more = existsSync(TABLE_DIRECTORY)
    ? readdirSync(TABLE_DIRECTORY).filter((file) => file.endsWith('.conf'))
    : [];
  const tables = new Map([
    ['default', 253],
    ['main', 254],
    ['local', 255],
  ]);
  for (const file of [...TABLE_FILES, ...more.map((name) => `${TABLE_DIRECTORY}/${name}`)]) {
    if (!existsSync(file)) continue;
    for (const [, number, name] of readFileSync(file, 'utf8').matchAll(
      /^\s*(\d+|0x[0-9a-f]+)\s+([^\s#]+)/gim,
    ))
      tables.set(name as string, Number(number));
  }
  return tables;
}

/** Debian's resolvconf ranks interfaces by the prefix of their name (interface-order); wg-quick takes the first. */
function resolvconfName(interfaceName: string): string {
  const order = '/etc/resolvconf/interface-order';
  const prefix = existsSync(order)
    ? /^([A-Za-z0-9-]+)\*$/m.exec(readFileSync(order, 'utf8'))?.[1]
    : undefined;
  return prefix === undefined ? interfaceName : `${prefix}.${interfaceName}`;
}
