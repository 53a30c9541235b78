/**
 * What ip(8) does with links, addresses, routes and rules, by rtnetlink requests. Every call is one request and its
 * answer, and throws SystemError naming the operation and the errno.
 */
import { type Address, formatAddress, formatPrefix, type Prefix } from '../core/ip.ts';
import { SystemError } from '../core/errors.ts';
import { EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH, ENODEV, ENOENT } from './errno.ts';
import {
  type Attribute,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  textAttribute,
  u32Attribute,
} from './netlink-message.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import * as rt from './rtnetlink.ts';
import { AF_INET, AF_INET6 } from './structs.ts';

export interface RouteSpec {
  readonly destination: Prefix;
  readonly interfaceIndex: number;
  /** Routing table, u32; main by default. */
  readonly table?: number;
}

export interface RuleSpec {
  readonly family: 4 | 6;
  /** Table to look up, u32. */
  readonly table: number;
  /** Applies to packets with (or, with `invert`, without) this mark. */
  readonly fwmark?: number;
  readonly invert?: boolean;
  /** Ignores results whose prefix is this long or shorter; 0 = "not the default route". */
  readonly suppressPrefixLength?: number;
  readonly priority?: number;
}

const CREATE = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

const familyOf = (address: Address): number => (address.length === 4 ? AF_INET : AF_INET6);

function link(index: number, flags = 0, change = 0): Uint8Array {
  const fixed = new Uint8Array(rt.IFINFOMSG.size);
  const view = new DataView(fixed.buffer);
  view.setInt32(rt.IFINFOMSG.index, index, true);
  view.setUint32(rt.IFINFOMSG.flags, flags, true);
  view.setUint32(rt.IFINFOMSG.change, change, true);
  return fixed;
}

export class RouteClient {
  readonly #socket: NetlinkSocket = new NetlinkSocket();

  /** The link with this name or index, or undefined. `namespaceId`: in that namespace, see `namespaceId()`. */
  link(which: string | number, namespaceId?: number): rt.Link | undefined {
    const attributes: Attribute[] = [];
    if (typeof which === 'string') attributes.push(textAttribute(rt.IFLA_IFNAME, which));
    if (namespaceId !== undefined) attributes.push(u32Attribute(rt.IFLA_TARGET_NETNSID, namespaceId));
    try {
      const [answer] = this.#socket.request(`look up link ${which}`, {
        type: rt.RTM_GETLINK,
        flags: 0,
        fixed: link(typeof which === 'number' ? which : 0),
        attributes,
      });
      return answer && rt.decodeLink(answer);
    } catch (error) {
      if (error instanceof SystemError && error.errno === ENODEV) return undefined;
      throw error;
    }
  }

  setLinkUp(index: number, up: boolean): void {
    this.#acknowledged(`set link ${index} ${up ? 'up' : 'down'}`, {
      type: rt.RTM_NEWLINK,
      fixed: link(index, up ? rt.IFF_UP : 0, rt.IFF_UP),
    });
  }

  setLinkMtu(index: number, mtu: number): void {
    this.#acknowledged(`set MTU of link ${index} to ${mtu}`, {
      type: rt.RTM_NEWLINK,
      fixed: link(index),
      attributes: [u32Attribute(rt.IFLA_MTU, mtu)],
    });
  }

  /** Moves the link to the namespace of a descriptor, where it is down and without addresses. */
  moveLink(index: number, namespaceFd: number): void {
    this.#acknowledged(`move link ${index} to another network namespace`, {
      type: rt.RTM_NEWLINK,
      fixed: link(index),
      attributes: [u32Attribute(rt.IFLA_NET_NS_FD, namespaceFd)],
    });
  }

  deleteLink(index: number): void {
    this.#acknowledged(`delete link ${index}`, { type: rt.RTM_DELLINK, fixed: link(index) });
  }

  /** `prefixLength` makes the on-link route. Throws EEXIST when the interface has the address. */
  addAddress(index: number, address: Address, prefixLength: number): void {
    this.#address(`add address ${formatAddress(address)}/${prefixLength} to`, rt.RTM_NEWADDR, CREATE, {
      index,
      address,
      prefixLength,
    });
  }

  /** Takes its on-link route away too. Throws EADDRNOTAVAIL when the interface does not have it. */
  deleteAddress(index: number, address: Address, prefixLength: number): void {
    this.#address(
      `delete address ${formatAddress(address)}/${prefixLength} from`,
      rt.RTM_DELADDR,
      NLM_F_ACK,
      { index, address, prefixLength },
    );
  }

  #address(
    what: string,
    type: number,
    flags: number,
    { index, address, prefixLength }: { index: number; address: Address; prefixLength: number },
  ): void {
    const fixed = new Uint8Array(rt.IFADDRMSG.size);
    fixed[rt.IFADDRMSG.family] = familyOf(address);
    fixed[rt.IFADDRMSG.prefixLength] = prefixLength;
    new DataView(fixed.buffer).setUint32(rt.IFADDRMSG.index, index, true);
    this.#acknowledged(`${what} link ${index}`, {
      type,
      flags,
      fixed,
      attributes: [
        { type: rt.IFA_LOCAL, data: address },
        { type: rt.IFA_ADDRESS, data: address },
      ],
    });
  }

  /** An on-link route through the interface. Throws EEXIST when it is there. */
  addRoute(route: RouteSpec): void {
    this.#route(`add route ${formatPrefix(route.destination)}`, rt.RTM_NEWROUTE, CREATE, route);
  }

  deleteRoute(route: RouteSpec): void {
    this.#route(`delete route ${formatPrefix(route.destination)}`, rt.RTM_DELROUTE, NLM_F_ACK, route);
  }

  #route(what: string, type: number, flags: number, route: RouteSpec): void {
    const { address, length } = route.destination;
    const table = route.table ?? rt.RT_TABLE_MAIN;
    const fixed = new Uint8Array(rt.RTMSG.size);
    fixed[rt.RTMSG.family] = familyOf(address);
    fixed[rt.RTMSG.destinationLength] = length;
    fixed[rt.RTMSG.protocol] = rt.RTPROT_BOOT;
    // IPv6 knows no scopes of routes and ignores the field.
    fixed[rt.RTMSG.scope] = rt.RT_SCOPE_LINK;
    fixed[rt.RTMSG.type] = rt.RTN_UNICAST;
    const attributes: Attribute[] = [
      u32Attribute(rt.RTA_TABLE, table),
      u32Attribute(rt.RTA_OIF, route.interfaceIndex),
    ];
    if (length > 0) attributes.push({ type: rt.RTA_DST, data: address });
    this.#acknowledged(`${what} dev ${route.interfaceIndex} table ${table}`, {
      type,
      flags,
      fixed,
      attributes,
    });
  }

  /** Throws EEXIST when an equal rule with this priority is there; without a priority each call adds another one. */
  addRule(rule: RuleSpec): void {
    this.#rule('add', rt.RTM_NEWRULE, CREATE, rule);
  }

  /** Throws ENOENT when no rule matches. */
  deleteRule(rule: RuleSpec): void {
    this.#rule('delete', rt.RTM_DELRULE, NLM_F_ACK, rule);
  }

  #rule(verb: string, type: number, flags: number, rule: RuleSpec): void {
    const fixed = new Uint8Array(rt.FIB_RULE_HDR.size);
    fixed[rt.FIB_RULE_HDR.family] = rule.family === 4 ? AF_INET : AF_INET6;
    fixed[rt.FIB_RULE_HDR.action] = rt.FR_ACT_TO_TBL;
    fixed[rt.FIB_RULE_HDR.flags] = rule.invert === true ? rt.FIB_RULE_INVERT : 0;
    const attributes: Attribute[] = [u32Attribute(rt.FRA_TABLE, rule.table)];
    const optional = [
      [rt.FRA_FWMARK, rule.fwmark],
      [rt.FRA_SUPPRESS_PREFIXLEN, rule.suppressPrefixLength],
      [rt.FRA_PRIORITY, rule.priority],
    ] as const;
    for (const [attribute, value] of optional) {
      if (value !== undefined) attributes.push(u32Attribute(attribute, value));
    }
    this.#acknowledged(`${verb} IPv${rule.family} rule for table ${rule.table}`, {
      type,
      flags,
      fixed,
      attributes,
    });
  }

  /** True when an equal rule is there, of any priority when none is given. */
  hasRule(rule: RuleSpec): boolean {
    const fixed = new Uint8Array(rt.FIB_RULE_HDR.size);
    fixed[rt.FIB_RULE_HDR.family] = rule.family === 4 ? AF_INET : AF_INET6;
    return this.#dump('list rules', rt.RTM_GETRULE, fixed, []).some((message) => {
      const found = rt.decodeRule(message);
      return (
        found !== undefined &&
        found.table === rule.table &&
        found.fwmark === (rule.fwmark ?? 0) &&
        found.invert === (rule.invert ?? false) &&
        found.suppressPrefixLength === rule.suppressPrefixLength &&
        (rule.priority === undefined || found.priority === rule.priority)
      );
    });
  }

  /** True when the routing table has a route of the family. */
  hasRoutes(family: 4 | 6, table: number): boolean {
    const fixed = new Uint8Array(rt.RTMSG.size);
    fixed[rt.RTMSG.family] = family === 4 ? AF_INET : AF_INET6;
    try {
      const routes = this.#dump('list routes', rt.RTM_GETROUTE, fixed, [u32Attribute(rt.RTA_TABLE, table)]);
      return routes.some((message) => rt.decodeRouteTable(message) === table);
    } catch (error) {
      // A table that was never used does not exist.
      if (error instanceof SystemError && error.errno === ENOENT) return false;
      throw error;
    }
  }

  #dump(
    what: string,
    type: number,
    fixed: Uint8Array,
    attributes: readonly Attribute[],
  ): ReturnType<NetlinkSocket['request']> {
    return this.#socket.request(what, { type, flags: NLM_F_DUMP, fixed, attributes });
  }

  /** The route that packets to `destination` take, or undefined when there is none. */
  routeTo(
    destination: Address,
    options: { readonly mark?: number; readonly source?: Address; readonly interfaceIndex?: number } = {},
  ): rt.Route | undefined {
    const fixed = new Uint8Array(rt.RTMSG.size);
    const bits = destination.length * 8;
    fixed[rt.RTMSG.family] = familyOf(destination);
    fixed[rt.RTMSG.destinationLength] = bits;
    const attributes: Attribute[] = [{ type: rt.RTA_DST, data: destination }];
    if (options.mark) attributes.push(u32Attribute(rt.RTA_MARK, options.mark));
    if (options.interfaceIndex) attributes.push(u32Attribute(rt.RTA_OIF, options.interfaceIndex));
    if (options.source) {
      fixed[rt.RTMSG.sourceLength] = bits;
      attributes.push({ type: rt.RTA_SRC, data: options.source });
    }
    try {
      const [answer] = this.#socket.request(`look up route to ${formatAddress(destination)}`, {
        type: rt.RTM_GETROUTE,
        flags: 0,
        fixed,
        attributes,
      });
      return answer && rt.decodeRoute(answer);
    } catch (error) {
      // The answers of blackhole, prohibit and unreachable routes, of no route, and of a source that is not ours.
      const none = [ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL, ENODEV];
      if (error instanceof SystemError && none.includes(error.errno)) return undefined;
      throw error;
    }
  }

  /** The id under which this namespace knows the one that `fd` stands for, made when there is none. */
  namespaceId(fd: number): number {
    const known = this.#namespaceId(fd);
    if (known !== undefined) return known;
    this.#acknowledged('give the namespace an id', {
      type: rt.RTM_NEWNSID,
      fixed: new Uint8Array(rt.RTGENMSG_SIZE),
      // -1: the kernel chooses.
      attributes: [u32Attribute(rt.NETNSA_FD, fd), u32Attribute(rt.NETNSA_NSID, 0xffff_ffff)],
    });
    return this.#namespaceId(fd) as number;
  }

  #namespaceId(fd: number): number | undefined {
    const [answer] = this.#socket.request('look up the id of the namespace', {
      type: rt.RTM_GETNSID,
      flags: 0,
      fixed: new Uint8Array(rt.RTGENMSG_SIZE),
      attributes: [u32Attribute(rt.NETNSA_FD, fd)],
    });
    return answer && rt.decodeNamespaceId(answer);
  }

  #acknowledged(
    what: string,
    request: { type: number; flags?: number; fixed: Uint8Array; attributes?: readonly Attribute[] },
  ): void {
    this.#socket.request(what, { flags: NLM_F_ACK, attributes: [], ...request });
  }

  close(): void {
    this.#socket.close();
  }
}
