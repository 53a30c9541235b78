/** TCP (RFC 9293) and UDP (RFC 768) header fields by offset, as far as offloads touch them. */
export const TCP = {
  sequence: 4,
  acknowledgment: 8,
  /** High four bits: header size in 32-bit words. Low four: reserved, of which the last is AE (RFC 9768). */
  dataOffset: 12,
  flags: 13,
  checksum: 16,
  urgent: 18,
  headerSize: 20,
} as const;

export const TCP_FLAG = { fin: 0x01, psh: 0x08, ack: 0x10, cwr: 0x80 } as const;

export const UDP = { length: 4, checksum: 6, headerSize: 8 } as const;
