/** The slow twin of src/tun/offload/coalescer.ts: lists of whole packets, joined at the end. */
import {
  ACK,
  PSH,
  checksumsHold,
  layoutOf,
  onesSum,
  pseudoSum,
  read16,
  read32,
  write16,
} from './ip-packet.ts';
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, PLAIN, type VirtioHeader } from './virtio.ts';

export interface Written {
  readonly header: VirtioHeader;
  readonly packet: Uint8Array;
}

export interface CoalesceOptions {
  readonly tcp: boolean;
  readonly udp: boolean;
  /** Flows that are kept open at a time. */
  readonly flows: number;
}

const MAX_SEGMENTS = 64;
const MAX_LENGTH = 65_535;

/** What is written, in this order, for a batch of packets in the order in which they came. */
export function coalesce(packets: readonly Uint8Array[], options: CoalesceOptions): readonly Written[] {
  const written: Written[] = [];
  /** Packets of one flow that will be one; the flow that was opened first comes first. */
  let open: (readonly Uint8Array[])[] = [];

  for (const packet of packets) {
    if (isUnrelated(packet)) {
      written.push({ header: PLAIN, packet });
      continue;
    }
    const flow = flowOf(packet);
    if (flow === undefined) {
      written.push(...open.map(join), { header: PLAIN, packet });
      open = [];
      continue;
    }
    const group = open.find((group) => flowOf(group[0] as Uint8Array) === flow);
    if (group && mayFollow(group, packet)) {
      const longer = [...group, packet];
      if (isFinal(longer)) {
        open = open.filter((other) => other !== group);
        written.push(join(longer));
      } else {
        open = open.map((other) => (other === group ? longer : other));
      }
      continue;
    }
    if (group) {
      open = open.filter((other) => other !== group);
      written.push(join(group));
    }
    const isOn = layoutOf(packet)?.protocol === 17 ? options.udp : options.tcp;
    if (!isOn || !isCandidate(packet) || hasPush(packet)) {
      written.push({ header: PLAIN, packet });
      continue;
    }
    if (open.length === options.flows) written.push(join(open.shift() as readonly Uint8Array[]));
    open.push([packet]);
  }
  return [...written, ...open.map(join)];
}

/** Neither TCP nor UDP, beyond doubt. */
function isUnrelated(packet: Uint8Array): boolean {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= 20) return packet[9] !== 6 && packet[9] !== 17;
  return version === 6 && packet.length >= 40 && packet[6] === 58;
}

/** Names the flow; undefined when it cannot be told, or when the header is not a plain one. */
function flowOf(packet: Uint8Array): string | undefined {
  const version = (packet[0] ?? 0) >> 4;
  const ipSize = version === 4 ? 20 : 40;
  if ((version !== 4 && version !== 6) || packet.length < ipSize) return undefined;
  const protocol = version === 4 ? packet[9] : packet[6];
  if (protocol !== 6 && protocol !== 17) return undefined;
  if (version === 4 && (packet[0] !== 0x45 || read16(packet, 2) !== packet.length)) return undefined;
  if (version === 4 && read16(packet, 6) !== 0 && read16(packet, 6) !== 0x4000) return undefined;
  if (version === 6 && read16(packet, 4) + 40 !== packet.length) return undefined;
  if (packet.length < ipSize + (protocol === 6 ? 20 : 8)) return undefined;
  const addresses = version === 4 ? packet.slice(12, 20) : packet.slice(8, 40);
  return [version, protocol, ...addresses, ...packet.slice(ipSize, ipSize + 4)].join();
}

function isCandidate(packet: Uint8Array): boolean {
  const layout = layoutOf(packet);
  if (!layout || packet.length === layout.payload) return false;
  if (layout.protocol === 17) return read16(packet, layout.transportChecksum) !== 0;
  const { transport } = layout;
  const hasReserved = (packet[transport + 12] as number) % 16 !== 0;
  return !hasReserved && ((packet[transport + 13] as number) & ~PSH) === ACK;
}

function hasPush(packet: Uint8Array): boolean {
  const layout = layoutOf(packet);
  return layout?.protocol === 6 && ((packet[layout.transport + 13] as number) & PSH) !== 0;
}

function payloadSize(packet: Uint8Array): number {
  return packet.length - (layoutOf(packet)?.payload ?? packet.length);
}

/** Nothing may follow the last packet of the group. */
function isFinal(group: readonly Uint8Array[]): boolean {
  const last = group.at(-1) as Uint8Array;
  return hasPush(last) || payloadSize(last) < payloadSize(group[0] as Uint8Array);
}

function mayFollow(group: readonly Uint8Array[], packet: Uint8Array): boolean {
  const first = group[0] as Uint8Array;
  const sizes = group.map(payloadSize);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const layout = layoutOf(packet);
  const firstLayout = layoutOf(first);
  if (!layout || !firstLayout || !isCandidate(packet)) return false;
  if (layout.payload !== firstLayout.payload || payloadSize(packet) > (sizes[0] as number)) return false;
  if (group.length === MAX_SEGMENTS || layout.payload + total + payloadSize(packet) > MAX_LENGTH)
    return false;
  const header = headersWithoutOwn(packet, group.length, 0);
  if (header !== headersWithoutOwn(first, 0, total)) return false;
  return checksumsHold(first) && checksumsHold(packet);
}

/**
 * The headers as text, in terms of what follows: equal for the first packet of a group, with `ahead` bytes of payload in
 * the group, and for a packet that may follow as number `index`. Left out is what every packet has of its own: lengths,
 * checksums, PSH, and the identification where it says nothing.
 */
function headersWithoutOwn(packet: Uint8Array, index: number, ahead: number): string {
  const layout = layoutOf(packet);
  if (!layout) return '';
  const { transport, payload, transportChecksum } = layout;
  const header = packet.slice(0, payload);
  write16(header, transportChecksum, 0);
  if (layout.version === 6) write16(header, 4, 0);
  else {
    write16(header, 2, 0);
    write16(header, 10, 0);
    const isAtomic = read16(header, 6) === 0x4000;
    write16(header, 4, isAtomic ? 0 : (read16(header, 4) - index + 0x1_0000) % 0x1_0000);
  }
  if (layout.protocol === 17) {
    write16(header, transport + 4, 0);
    return header.join();
  }
  header[transport + 13] = (header[transport + 13] as number) & ~PSH;
  const sequence = (read32(header, transport + 4) + ahead) % 2 ** 32;
  return [sequence, ...header.slice(0, transport + 4), ...header.slice(transport + 8)].join();
}

function join(group: readonly Uint8Array[]): Written {
  const first = group[0] as Uint8Array;
  const layout = layoutOf(first);
  if (group.length === 1 || !layout) return { header: PLAIN, packet: first };
  const { version, transport, payload, transportChecksum } = layout;
  const isUdp = layout.protocol === 17;
  const packet = Uint8Array.from([
    ...first.slice(0, payload),
    ...group.flatMap((one) => Array.from(one.slice(payload))),
  ]);
  if (version === 6) write16(packet, 4, packet.length - 40);
  else {
    write16(packet, 2, packet.length);
    write16(packet, 10, 0);
    write16(packet, 10, 0xffff - onesSum(packet.slice(0, 20)));
  }
  if (isUdp) write16(packet, transport + 4, packet.length - transport);
  else if (hasPush(group.at(-1) as Uint8Array))
    packet[transport + 13] = (packet[transport + 13] as number) | PSH;
  write16(packet, transportChecksum, pseudoSum(packet, layout));
  const tcpType = version === 4 ? GSO_TCPV4 : GSO_TCPV6;
  return {
    packet,
    header: {
      flags: NEEDS_CSUM,
      gsoType: isUdp ? GSO_UDP_L4 : tcpType,
      headerLength: payload,
      gsoSize: payloadSize(first),
      checksumStart: transport,
      checksumOffset: transportChecksum - transport,
    },
  };
}
