/**
 * Netlink messages (linux/netlink.h, RFC 3549): building requests and taking answers apart. Decoders never throw and
 * never read beyond what they were given; a malformed part ends the iteration.
 */

/** struct nlmsghdr. `length` counts the header; the next message is aligned to 4. */
const HEADER = { length: 0, type: 4, flags: 6, sequence: 8, portId: 12, size: 16 } as const;
/** struct rtattr / nlattr: u16 length with header, u16 type, data; aligned to 4. */
const ATTRIBUTE_HEADER = 4;
/** The two top bits of an attribute type are flags (nested, network byte order). */
const ATTRIBUTE_TYPE_MASK = 0x3fff;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
/** On an acknowledgement: the request is not repeated in it, and attributes follow. */
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** A view into the parsed bytes. */
  readonly payload: Uint8Array;
}

export interface Attribute {
  readonly type: number;
  readonly data: Uint8Array;
}

const align4 = (size: number): number => (size + 3) & ~3;

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function u32Attribute(type: number, value: number): Attribute {
  const data = new Uint8Array(4);
  viewOf(data).setUint32(0, value, true);
  return { type, data };
}

/** A text attribute with its terminating zero. */
export function textAttribute(type: number, text: string): Attribute {
  return { type, data: Buffer.from(`${text}\0`, 'utf8') };
}

/** One request: header, the fixed struct of the message type, attributes. */
export function encodeRequest(
  type: number,
  flags: number,
  sequence: number,
  fixed: Uint8Array,
  attributes: readonly Attribute[],
): Uint8Array {
  const size = attributes.reduce(
    (sum, attribute) => sum + align4(ATTRIBUTE_HEADER + attribute.data.length),
    HEADER.size + align4(fixed.length),
  );
  const bytes = new Uint8Array(size);
  const view = viewOf(bytes);
  view.setUint32(HEADER.length, size, true);
  view.setUint16(HEADER.type, type, true);
  view.setUint16(HEADER.flags, flags, true);
  view.setUint32(HEADER.sequence, sequence, true);
  bytes.set(fixed, HEADER.size);
  let at = HEADER.size + align4(fixed.length);
  for (const attribute of attributes) {
    view.setUint16(at, ATTRIBUTE_HEADER + attribute.data.length, true);
    view.setUint16(at + 2, attribute.type, true);
    bytes.set(attribute.data, at + ATTRIBUTE_HEADER);
    at += align4(ATTRIBUTE_HEADER + attribute.data.length);
  }
  return bytes;
}

/** The messages of one datagram. */
export function* decodeMessages(bytes: Uint8Array): Generator<NetlinkMessage> {
  const view = viewOf(bytes);
  let at = 0;
  while (at + HEADER.size <= bytes.length) {
    const length = view.getUint32(at + HEADER.length, true);
    if (length < HEADER.size || at + length > bytes.length) return;
    yield {
      type: view.getUint16(at + HEADER.type, true),
      flags: view.getUint16(at + HEADER.flags, true),
      sequence: view.getUint32(at + HEADER.sequence, true),
      payload: bytes.subarray(at + HEADER.size, at + length),
    };
    at += align4(length);
  }
}

/** The attributes behind a fixed struct of `fixedSize` bytes; of several with one type the last counts. */
export function decodeAttributes(payload: Uint8Array, fixedSize: number): Map<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>();
  const view = viewOf(payload);
  let at = align4(fixedSize);
  while (at + ATTRIBUTE_HEADER <= payload.length) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER || at + length > payload.length) break;
    const type = view.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK;
    attributes.set(type, payload.subarray(at + ATTRIBUTE_HEADER, at + length));
    at += align4(length);
  }
  return attributes;
}

/** A u32 attribute, or undefined when absent or too short. */
export function attributeU32(attributes: ReadonlyMap<number, Uint8Array>, type: number): number | undefined {
  const data = attributes.get(type);
  return data === undefined || data.length < 4 ? undefined : viewOf(data).getUint32(0, true);
}

/** A text attribute without its terminating zero. */
export function attributeText(attributes: ReadonlyMap<number, Uint8Array>, type: number): string | undefined {
  const data = attributes.get(type);
  if (data === undefined) return undefined;
  const end = data.indexOf(0);
  return Buffer.from(end < 0 ? data : data.subarray(0, end)).toString('utf8');
}

export interface NetlinkError {
  /** Positive; 0 = acknowledged. */
  readonly errno: number;
  /** The kernel's own words, when it had some (extended acknowledgement). */
  readonly text: string | undefined;
}

/** The payload of NLMSG_ERROR. Undefined when it is too short. */
export function decodeError(message: NetlinkMessage): NetlinkError | undefined {
  const { payload, flags } = message;
  if (payload.length < 4) return undefined;
  const view = viewOf(payload);
  const errno = view.getInt32(0, true);
  let text: string | undefined;
  if ((flags & NLM_F_ACK_TLVS) !== 0 && payload.length >= 4 + HEADER.size) {
    const repeated = (flags & NLM_F_CAPPED) === 0 ? view.getUint32(4, true) : HEADER.size;
    if (repeated <= payload.length) {
      text = attributeText(decodeAttributes(payload, 4 + repeated), NLMSGERR_ATTR_MSG);
    }
  }
  return { errno: Math.abs(errno), text };
}
