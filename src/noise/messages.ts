/**
 * The four messages on the wire, whitepaper sections 5.4.2 to 5.4.7, as tables of byte offsets.
 * Integers are little endian. The type is one byte followed by three zero bytes, read as one u32.
 */
import { readU32le } from '../core/bytes.ts';

export const MESSAGE_INITIATION = 1;
export const MESSAGE_RESPONSE = 2;
export const MESSAGE_COOKIE_REPLY = 3;
export const MESSAGE_TRANSPORT = 4;

export type MessageType =
  | typeof MESSAGE_INITIATION
  | typeof MESSAGE_RESPONSE
  | typeof MESSAGE_COOKIE_REPLY
  | typeof MESSAGE_TRANSPORT;

/** Handshake initiation, section 5.4.2. */
export const INITIATION = {
  type: 0,
  sender: 4,
  ephemeral: 8,
  static: 40,
  timestamp: 88,
  mac1: 116,
  mac2: 132,
  size: 148,
} as const;

/** Handshake response, section 5.4.3. */
export const RESPONSE = {
  type: 0,
  sender: 4,
  receiver: 8,
  ephemeral: 12,
  empty: 44,
  mac1: 60,
  mac2: 76,
  size: 92,
} as const;

/** Cookie reply, section 5.4.7. */
export const COOKIE_REPLY = {
  type: 0,
  receiver: 4,
  nonce: 8,
  cookie: 32,
  size: 64,
} as const;

/** Transport data, section 5.4.6. `size` is that of the smallest one, a keepalive: the content is a tag alone. */
export const TRANSPORT = {
  type: 0,
  receiver: 4,
  counter: 8,
  content: 16,
  size: 32,
} as const;

/**
 * What the datagram of `length` bytes at `at` claims to be, or 0 when no message has this type and length. Nonzero
 * reserved bytes make an unknown type. Allocates nothing; `at` and `length` must lie within `bytes`.
 */
export function classify(bytes: Uint8Array, at: number, length: number): MessageType | 0 {
  // The shortest message of all: nothing below is worth reading.
  if (length < TRANSPORT.size) return 0;
  switch (readU32le(bytes, at)) {
    case MESSAGE_TRANSPORT:
      return MESSAGE_TRANSPORT;
    case MESSAGE_INITIATION:
      return length === INITIATION.size ? MESSAGE_INITIATION : 0;
    case MESSAGE_RESPONSE:
      return length === RESPONSE.size ? MESSAGE_RESPONSE : 0;
    case MESSAGE_COOKIE_REPLY:
      return length === COOKIE_REPLY.size ? MESSAGE_COOKIE_REPLY : 0;
    default:
      return 0;
  }
}
