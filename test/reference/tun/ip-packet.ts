/**
 * IP packets with TCP or UDP inside as plain objects: built and read field by field, slowly, for tests. Shares no code
 * with src, so that both would have to be wrong in the same way.
 */

export interface IpFields {
  readonly version: 4 | 6;
  /** The last byte of the source and destination addresses; the rest is fixed. */
  readonly source: number;
  readonly destination: number;
  /** TOS or traffic class. */
  readonly tos: number;
  readonly ttl: number;
  /** IPv4 only. */
  readonly identification: number;
  readonly dontFragment: boolean;
  /** IPv4 only, a multiple of 4 bytes. */
  readonly ipOptions: Uint8Array;
  /** IPv6 only, 20 bits. */
  readonly flowLabel: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

export interface TcpFields extends IpFields {
  readonly protocol: 'tcp';
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  /** A multiple of 4 bytes. */
  readonly options: Uint8Array;
}

export interface UdpFields extends IpFields {
  readonly protocol: 'udp';
}

export type Fields = TcpFields | UdpFields;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

const ipDefaults = {
  version: 4,
  source: 1,
  destination: 2,
  tos: 0,
  ttl: 64,
  identification: 0,
  dontFragment: true,
  ipOptions: new Uint8Array(0),
  flowLabel: 0,
  sourcePort: 1000,
  destinationPort: 2000,
} as const;

const tcpDefaults = {
  protocol: 'tcp',
  sequence: 1,
  acknowledgment: 77,
  flags: ACK,
  window: 500,
  urgent: 0,
  options: new Uint8Array(0),
} as const;

/** Payload that differs from byte to byte and from start to start. */
export function payloadOf(size: number, start = 0): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => ((start + i) * 167 + ((start + i) >> 8)) & 0xff);
}

type Given<T extends Fields> = Partial<Omit<T, 'payload' | 'protocol'>>;

export function tcp(payload: number | Uint8Array, fields: Given<TcpFields> = {}): Uint8Array {
  return build({ ...ipDefaults, ...tcpDefaults, ...fields, payload: bytesOf(payload) });
}

export function udp(payload: number | Uint8Array, fields: Given<UdpFields> = {}): Uint8Array {
  return build({ ...ipDefaults, protocol: 'udp', ...fields, payload: bytesOf(payload) });
}

function bytesOf(payload: number | Uint8Array): Uint8Array {
  return typeof payload === 'number' ? payloadOf(payload) : payload;
}

export function build(fields: Fields): Uint8Array {
  return putIp(fields, fields.protocol === 'tcp' ? tcpSegment(fields) : udpDatagram(fields));
}

function tcpSegment(fields: TcpFields): number[] {
  return [
    ...word16(fields.sourcePort),
    ...word16(fields.destinationPort),
    ...word32(fields.sequence),
    ...word32(fields.acknowledgment),
    (5 + fields.options.length / 4) << 4,
    fields.flags,
    ...word16(fields.window),
    ...[0, 0],
    ...word16(fields.urgent),
    ...fields.options,
    ...fields.payload,
  ];
}

function udpDatagram(fields: UdpFields): number[] {
  const ports = [...word16(fields.sourcePort), ...word16(fields.destinationPort)];
  return [...ports, ...word16(8 + fields.payload.length), 0, 0, ...fields.payload];
}

function putIp(fields: Fields, transport: number[]): Uint8Array {
  const header = fields.version === 4 ? ipv4Header(fields, transport.length) : ipv6Header(fields, transport);
  const packet = Uint8Array.from([...header, ...transport]);
  fixChecksums(packet);
  return packet;
}

function ipv4Header(fields: Fields, size: number): number[] {
  const headerSize = 20 + fields.ipOptions.length;
  return [
    0x40 | (headerSize / 4),
    fields.tos,
    ...word16(headerSize + size),
    ...word16(fields.identification),
    ...word16(fields.dontFragment ? 0x4000 : 0),
    fields.ttl,
    fields.protocol === 'tcp' ? 6 : 17,
    ...[0, 0],
    ...[10, 0, 0, fields.source],
    ...[10, 0, 0, fields.destination],
    ...fields.ipOptions,
  ];
}

function ipv6Header(fields: Fields, transport: number[]): number[] {
  const prefix = [0xfd, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
  return [
    ...word32(0x6000_0000 + fields.tos * 0x10_0000 + fields.flowLabel),
    ...word16(transport.length),
    fields.protocol === 'tcp' ? 6 : 17,
    fields.ttl,
    ...[...prefix, fields.source],
    ...[...prefix, fields.destination],
  ];
}

function word16(value: number): number[] {
  return [(value >>> 8) & 0xff, value & 0xff];
}

function word32(value: number): number[] {
  return [...word16(value >>> 16), ...word16(value)];
}

export function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) * 256 + (bytes[at + 1] as number);
}

export function read32(bytes: Uint8Array, at: number): number {
  return read16(bytes, at) * 0x1_0000 + read16(bytes, at + 2);
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes.set(word16(value), at);
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes.set(word32(value), at);
}

/** RFC 1071 over whole arrays: the sum in network order, folded, not complemented. */
export function onesSum(...parts: readonly (Uint8Array | readonly number[])[]): number {
  let sum = 0;
  for (const part of parts)
    for (const [i, byte] of Array.from(part).entries()) sum += i % 2 === 0 ? byte * 256 : byte;
  while (sum > 0xffff) sum = (sum % 0x1_0000) + Math.floor(sum / 0x1_0000);
  return sum;
}

export interface Layout {
  readonly version: 4 | 6;
  readonly protocol: number;
  /** Offsets from the packet's start. */
  readonly transport: number;
  readonly payload: number;
  readonly transportChecksum: number;
}

/** Where things are in a well-formed, unfragmented TCP or UDP packet; undefined for all else. */
export function layoutOf(packet: Uint8Array): Layout | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4) return layoutOf4(packet);
  return version === 6 ? layoutOf6(packet) : undefined;
}

function layoutOf4(packet: Uint8Array): Layout | undefined {
  if (packet.length < 20) return undefined;
  const transport = ((packet[0] as number) % 16) * 4;
  if (transport < 20 || transport > packet.length) return undefined;
  if (read16(packet, 2) !== packet.length || read16(packet, 6) % 0x4000 !== 0) return undefined;
  return layoutOfTransport(packet, 4, packet[9] as number, transport);
}

function layoutOf6(packet: Uint8Array): Layout | undefined {
  if (packet.length < 40 || read16(packet, 4) + 40 !== packet.length) return undefined;
  let protocol = packet[6] as number;
  let transport = 40;
  while (protocol === 0 || protocol === 60) {
    if (transport + 8 > packet.length) return undefined;
    protocol = packet[transport] as number;
    transport += 8 + 8 * (packet[transport + 1] as number);
  }
  return layoutOfTransport(packet, 6, protocol, transport);
}

function layoutOfTransport(
  packet: Uint8Array,
  version: 4 | 6,
  protocol: number,
  transport: number,
): Layout | undefined {
  if (protocol === 17) {
    if (transport + 8 > packet.length || read16(packet, transport + 4) !== packet.length - transport)
      return undefined;
    return { version, protocol, transport, payload: transport + 8, transportChecksum: transport + 6 };
  }
  if (protocol !== 6 || transport + 20 > packet.length) return undefined;
  const headerSize = ((packet[transport + 12] as number) >> 4) * 4;
  if (headerSize < 20 || transport + headerSize > packet.length) return undefined;
  return {
    version,
    protocol,
    transport,
    payload: transport + headerSize,
    transportChecksum: transport + 16,
  };
}

/** The sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1). */
export function pseudoSum(packet: Uint8Array, layout: Layout): number {
  const addresses = layout.version === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  return onesSum(addresses, [0, layout.protocol], word16(packet.length - layout.transport));
}

/** Whether the IPv4 header's and the transport checksum hold. False for what has no layout. */
export function checksumsHold(packet: Uint8Array): boolean {
  const layout = layoutOf(packet);
  if (!layout) return false;
  if (layout.version === 4 && onesSum(packet.subarray(0, layout.transport)) !== 0xffff) return false;
  if (layout.protocol === 17 && read16(packet, layout.transportChecksum) === 0) return false;
  const transport = packet.subarray(layout.transport);
  return onesSum(word16(pseudoSum(packet, layout)), transport) === 0xffff;
}

/** Puts right checksums into a packet that has a layout. */
export function fixChecksums(packet: Uint8Array): void {
  const layout = layoutOf(packet);
  if (!layout) throw new Error('not a whole TCP or UDP packet');
  if (layout.version === 4) {
    write16(packet, 10, 0);
    write16(packet, 10, 0xffff - onesSum(packet.subarray(0, layout.transport)));
  }
  write16(packet, layout.transportChecksum, 0);
  const sum = onesSum(word16(pseudoSum(packet, layout)), packet.subarray(layout.transport));
  const isMangled = layout.protocol === 17 && sum === 0xffff;
  write16(packet, layout.transportChecksum, isMangled ? 0xffff : 0xffff - sum);
}
