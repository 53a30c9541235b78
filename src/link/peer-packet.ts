/**
 * The message `sidero.link.PeerPacket`: one WireGuard datagram as `bytes Data = 2`. Coded by hand because generated
 * code copies the datagram twice; here it is written once into the caller's buffer and read in place.
 */
import { FRAME_PREFIX_SIZE, writeFramePrefix } from './grpc-frame.ts';

/** Field 2, wire type 2 (length-delimited). */
const DATA_TAG = 0x12;

/** The largest UDP payload that fits a 16-bit length. */
export const MAX_DATAGRAM_SIZE = 65_535;

/** Bound for a frame parser: tag and varint, and room for fields that a later peer may add. */
export const MAX_PEER_PACKET_SIZE: number = MAX_DATAGRAM_SIZE + 1024;

/** The most that prefix, tag and varint take in front of a datagram. */
export const MAX_PEER_PACKET_OVERHEAD: number = FRAME_PREFIX_SIZE + 1 + 3;

/** Bytes of gRPC prefix, tag and varint in front of a datagram of `length` bytes (1 .. MAX_DATAGRAM_SIZE). */
export function peerPacketOverhead(length: number): number {
  return FRAME_PREFIX_SIZE + 1 + varintSize(length);
}

/** Writes everything that stands before the datagram and returns the offset where its `length` bytes go. */
export function writePeerPacketHeader(into: Uint8Array, at: number, length: number): number {
  let next = writeFramePrefix(into, at, 1 + varintSize(length) + length);
  into[next++] = DATA_TAG;
  let rest = length;
  while (rest > 0x7f) {
    into[next++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  into[next++] = rest;
  return next;
}

/** Where a decoded datagram lies. One object serves for all calls. */
export interface Slice {
  at: number;
  length: number;
}

/**
 * Finds the datagram in the message `bytes[at .. at + size)`. As in any protobuf parser the last value wins, unknown
 * fields are skipped, and an absent field is an empty datagram. False when the message is malformed.
 */
export function readPeerPacket(bytes: Uint8Array, at: number, size: number, out: Slice): boolean {
  const end = at + size;
  // What every known sender writes: the one field and nothing else.
  if (size > 3 && bytes[at] === DATA_TAG) {
    const low = bytes[at + 1] as number;
    const high = bytes[at + 2] as number;
    if (low < 0x80 && at + 2 + low === end) {
      out.at = at + 2;
      out.length = low;
      return true;
    }
    if (high < 0x80 && at + 3 + ((low & 0x7f) | (high << 7)) === end && low >= 0x80) {
      out.at = at + 3;
      out.length = end - out.at;
      return true;
    }
  }
  return readSlowly(bytes, at, end, out);
}

function readSlowly(bytes: Uint8Array, start: number, end: number, out: Slice): boolean {
  out.at = start;
  out.length = 0;
  const cursor = { at: start };
  while (cursor.at < end) {
    const tag = readVarint(bytes, cursor, end);
    // Field numbers start at 1 and have 29 bits.
    if (tag < 8 || tag > 0xffff_ffff) return false;
    switch (tag % 8) {
      case 0:
        if (readVarint(bytes, cursor, end) < 0) return false;
        break;
      case 1:
        cursor.at += 8;
        break;
      case 2: {
        const length = readVarint(bytes, cursor, end);
        if (length < 0 || length > end - cursor.at) return false;
        if (tag === DATA_TAG) {
          out.at = cursor.at;
          out.length = length;
        }
        cursor.at += length;
        break;
      }
      case 5:
        cursor.at += 4;
        break;
      default:
        // Groups (3, 4) are not part of proto3.
        return false;
    }
    if (cursor.at > end) return false;
  }
  return out.length <= MAX_DATAGRAM_SIZE;
}

/** A varint of at most ten bytes as a float (exact up to 2^53); -1 when cut off or longer. */
function readVarint(bytes: Uint8Array, cursor: { at: number }, end: number): number {
  let value = 0;
  let scale = 1;
  for (let i = 0; i < 10; i++) {
    if (cursor.at >= end) return -1;
    const byte = bytes[cursor.at++] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 128;
  }
  return -1;
}

function varintSize(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : 3;
}
