/** struct virtio_net_hdr (linux/virtio_net.h), which precedes each packet of a TUN with IFF_VNET_HDR. Native endian. */
export const VIRTIO_NET_HDR = {
  flags: 0,
  gsoType: 1,
  /** Headers of the packet, IP and transport. A hint that is not to be trusted. */
  headerLength: 2,
  /** Payload bytes of each segment but the last. */
  gsoSize: 4,
  /** Where checksumming starts, from the packet's first byte: the transport header. */
  checksumStart: 6,
  /** Where the checksum lies, from `checksumStart`. */
  checksumOffset: 8,
  size: 10,
} as const;

/** The checksum field holds the sum of the pseudo header only; the rest is for the receiver to add. */
export const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;

export const VIRTIO_NET_HDR_GSO_NONE = 0;
export const VIRTIO_NET_HDR_GSO_TCPV4 = 1;
export const VIRTIO_NET_HDR_GSO_TCPV6 = 4;
export const VIRTIO_NET_HDR_GSO_UDP_L4 = 5;
/** Set beside a TCP type when the super-packet carries CWR. */
export const VIRTIO_NET_HDR_GSO_ECN = 0x80;

/** The longest packet, super-packets included: the total length field of IPv4 says no more. */
export const MAX_PACKET_SIZE = 65_535;
