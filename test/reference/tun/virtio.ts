/** struct virtio_net_hdr as an object, for tests. */

export interface VirtioHeader {
  readonly flags: number;
  readonly gsoType: number;
  readonly headerLength: number;
  readonly gsoSize: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
}

export const VIRTIO_SIZE = 10;
export const NEEDS_CSUM = 1;
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
export const GSO_ECN = 0x80;

export const PLAIN: VirtioHeader = {
  flags: 0,
  gsoType: GSO_NONE,
  headerLength: 0,
  gsoSize: 0,
  checksumStart: 0,
  checksumOffset: 0,
};

export function encodeVirtio(header: VirtioHeader): Uint8Array {
  const bytes = new Uint8Array(VIRTIO_SIZE);
  const view = new DataView(bytes.buffer);
  bytes[0] = header.flags;
  bytes[1] = header.gsoType;
  view.setUint16(2, header.headerLength, true);
  view.setUint16(4, header.gsoSize, true);
  view.setUint16(6, header.checksumStart, true);
  view.setUint16(8, header.checksumOffset, true);
  return bytes;
}

export function decodeVirtio(bytes: Uint8Array): VirtioHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, VIRTIO_SIZE);
  return {
    flags: view.getUint8(0),
    gsoType: view.getUint8(1),
    headerLength: view.getUint16(2, true),
    gsoSize: view.getUint16(4, true),
    checksumStart: view.getUint16(6, true),
    checksumOffset: view.getUint16(8, true),
  };
}
