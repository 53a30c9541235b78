/** The message types, structs and attributes of rtnetlink (linux/rtnetlink.h, if_link.h, fib_rules.h) in use here. */
import { attributeText, attributeU32, decodeAttributes, type NetlinkMessage } from './netlink-message.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;
export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;
export const RTM_NEWNSID = 88;
export const RTM_GETNSID = 90;

/** Multicast groups, as bits of sockaddr_nl. */
export const RTMGRP_LINK = 1;
export const RTMGRP_IPV4_IFADDR = 0x10;
export const RTMGRP_IPV4_ROUTE = 0x40;
export const RTMGRP_IPV6_IFADDR = 0x100;
export const RTMGRP_IPV6_ROUTE = 0x400;

/** struct ifinfomsg. */
export const IFINFOMSG = { family: 0, type: 2, index: 4, flags: 8, change: 12, size: 16 } as const;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_TXQLEN = 13;
export const IFLA_STATS64 = 23;
/** In struct rtnl_link_stats64. */
const STATS64_TX_DROPPED = 56;
export const IFLA_NET_NS_FD = 28;
export const IFLA_TARGET_NETNSID = 46;
export const IFF_UP = 1;
export const IFF_RUNNING = 0x40;

/** struct ifaddrmsg. */
export const IFADDRMSG = { family: 0, prefixLength: 1, flags: 2, scope: 3, index: 4, size: 8 } as const;
export const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;

/** struct rtmsg. */
export const RTMSG = {
  family: 0,
  destinationLength: 1,
  sourceLength: 2,
  tos: 3,
  table: 4,
  protocol: 5,
  scope: 6,
  type: 7,
  flags: 8,
  size: 12,
} as const;
export const RTA_DST = 1;
export const RTA_SRC = 2;
export const RTA_OIF = 4;
export const RTA_PREFSRC = 7;
export const RTA_METRICS = 8;
export const RTA_TABLE = 15;
export const RTA_MARK = 16;
const RTAX_MTU = 2;
export const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
export const RTPROT_BOOT = 3;
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;
export const RT_TABLE_MAIN = 254;

/** struct fib_rule_hdr. */
export const FIB_RULE_HDR = {
  family: 0,
  destinationLength: 1,
  sourceLength: 2,
  tos: 3,
  table: 4,
  action: 7,
  flags: 8,
  size: 12,
} as const;
const FRA_IIFNAME = 3;
const FRA_OIFNAME = 17;
export const FRA_PRIORITY = 6;
export const FRA_FWMARK = 10;
export const FRA_SUPPRESS_PREFIXLEN = 14;
export const FRA_TABLE = 15;
export const FR_ACT_TO_TBL = 1;
export const FIB_RULE_INVERT = 2;

/** struct rtgenmsg, padded. */
export const RTGENMSG_SIZE = 4;
export const NETNSA_NSID = 1;
export const NETNSA_FD = 3;

export interface Link {
  readonly index: number;
  readonly name: string;
  /** IFF_UP, IFF_RUNNING, ... */
  readonly flags: number;
  readonly mtu: number;
  /** Packets that wait for the device, at most. */
  readonly txQueueLength: number;
  /** Those that found it full. */
  readonly txDropped: number;
}

/** RTM_NEWLINK and RTM_DELLINK. Undefined for any other message and for malformed ones. */
export function decodeLink(message: NetlinkMessage): Link | undefined {
  const { type, payload } = message;
  if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || payload.length < IFINFOMSG.size) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const attributes = decodeAttributes(payload, IFINFOMSG.size);
  return {
    index: view.getInt32(IFINFOMSG.index, true),
    name: attributeText(attributes, IFLA_IFNAME) ?? '',
    flags: view.getUint32(IFINFOMSG.flags, true),
    mtu: attributeU32(attributes, IFLA_MTU) ?? 0,
    txQueueLength: attributeU32(attributes, IFLA_TXQLEN) ?? 0,
    txDropped: txDropped(attributes.get(IFLA_STATS64)),
  };
}

function txDropped(stats: Uint8Array | undefined): number {
  if (!stats || stats.length < STATS64_TX_DROPPED + 8) return 0;
  const view = new DataView(stats.buffer, stats.byteOffset, stats.byteLength);
  return Number(view.getBigUint64(STATS64_TX_DROPPED, true));
}

export interface Route {
  /** Interface the packets leave by. */
  readonly interfaceIndex: number;
  /** The source address the kernel would choose. */
  readonly source: Uint8Array | undefined;
  /** MTU metric of the route, when it has one. */
  readonly mtu: number | undefined;
}

/** A usable RTM_NEWROUTE (unicast or local). Undefined for unreachable and blackhole routes and malformed messages. */
export function decodeRoute(message: NetlinkMessage): Route | undefined {
  const { type, payload } = message;
  if (type !== RTM_NEWROUTE || payload.length < RTMSG.size) return undefined;
  const routeType = payload[RTMSG.type];
  const attributes = decodeAttributes(payload, RTMSG.size);
  const interfaceIndex = attributeU32(attributes, RTA_OIF);
  if ((routeType !== RTN_UNICAST && routeType !== RTN_LOCAL) || interfaceIndex === undefined)
    return undefined;
  const metrics = attributes.get(RTA_METRICS);
  return {
    interfaceIndex,
    source: attributes.get(RTA_PREFSRC)?.slice(),
    mtu: metrics && attributeU32(decodeAttributes(metrics, 0), RTAX_MTU),
  };
}

/** The answer to RTM_GETNSID; undefined when the namespace has no id here. */
export function decodeNamespaceId(message: NetlinkMessage): number | undefined {
  const id = attributeU32(decodeAttributes(message.payload, RTGENMSG_SIZE), NETNSA_NSID);
  // -1 says "not assigned".
  return message.type !== RTM_NEWNSID || id === 0xffff_ffff ? undefined : id;
}

/** The table of an RTM_NEWROUTE. */
export function decodeRouteTable(message: NetlinkMessage): number | undefined {
  const { type, payload } = message;
  if (type !== RTM_NEWROUTE || payload.length < RTMSG.size) return undefined;
  return attributeU32(decodeAttributes(payload, RTMSG.size), RTA_TABLE) ?? payload[RTMSG.table];
}

export interface Rule {
  readonly table: number;
  /** 0 = any. */
  readonly fwmark: number;
  readonly invert: boolean;
  readonly suppressPrefixLength: number | undefined;
  readonly priority: number;
}

/** An RTM_NEWRULE that leads to a table and selects by nothing but the mark. Undefined for all others. */
export function decodeRule(message: NetlinkMessage): Rule | undefined {
  const { type, payload } = message;
  if (type !== RTM_NEWRULE || payload.length < FIB_RULE_HDR.size) return undefined;
  const attributes = decodeAttributes(payload, FIB_RULE_HDR.size);
  const selects =
    payload[FIB_RULE_HDR.destinationLength] !== 0 ||
    payload[FIB_RULE_HDR.sourceLength] !== 0 ||
    payload[FIB_RULE_HDR.tos] !== 0 ||
    attributes.has(FRA_IIFNAME) ||
    attributes.has(FRA_OIFNAME);
  if (selects || payload[FIB_RULE_HDR.action] !== FR_ACT_TO_TBL) return undefined;
  const flags = new DataView(payload.buffer, payload.byteOffset).getUint32(FIB_RULE_HDR.flags, true);
  const suppress = attributeU32(attributes, FRA_SUPPRESS_PREFIXLEN);
  return {
    table: attributeU32(attributes, FRA_TABLE) ?? (payload[FIB_RULE_HDR.table] as number),
    fwmark: attributeU32(attributes, FRA_FWMARK) ?? 0,
    invert: (flags & FIB_RULE_INVERT) !== 0,
    // The kernel prints -1 for none.
    suppressPrefixLength: suppress === 0xffff_ffff ? undefined : suppress,
    priority: attributeU32(attributes, FRA_PRIORITY) ?? 0,
  };
}
