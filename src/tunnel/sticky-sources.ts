/**
 * Replies leave from the address that the peer knows (the sticky source of its endpoint record), but only while the
 * route to the peer still uses the interface at which that address was learnt. The kernel's WireGuard checks this for
 * every packet (wg_socket_send_skb_to_peer); here it is checked on the first packet after routes have changed, and when
 * the record differs from what was checked. Addresses that merely could be affected are left alone: a server that
 * answered from another address would be lost to clients behind a NAT.
 */
import type { Arena } from '../core/arena.ts';
import { ENDPOINT, clearSource, hasSource } from './endpoint.ts';

/**
 * Whether packets from `source` to `destination` leave by the interface with this index, as far as can be told.
 * `scope` is that of a link-local destination. Never throws.
 */
export type RouteCheck = (
  interfaceIndex: number,
  destination: Uint8Array,
  source: Uint8Array,
  scope: number,
) => boolean;

/** Remembered checks: a direct-mapped table. Two peers that share a place cost each other look-ups, nothing else. */
const PLACES = 4_096;
/** What makes a check valid: the record without carrier. */
const KEY_WORDS = ENDPOINT.carrier / 4;
/** Besides the key: its place of origin is implied, the generation is not. */
const PLACE_WORDS = KEY_WORDS + 1;

export class StickySources {
  readonly #arena: Arena;
  readonly #leavesBy: RouteCheck;
  /** 0 until the first change: whatever was learnt so far came in by the routes there are. */
  #generation = 0;
  #checked: Uint32Array | undefined;
  /** Sources cleared so far. */
  cleared = 0;

  constructor(arena: Arena, leavesBy: RouteCheck) {
    this.#arena = arena;
    this.#leavesBy = leavesBy;
  }

  /** Routes, addresses or the mark changed: every source is checked again before its next use. */
  routesChanged(): void {
    this.#generation = (this.#generation + 1) & 0x7fff_ffff || 1;
    this.#checked ??= new Uint32Array(PLACES * PLACE_WORDS);
  }

  /** Clears the source of a record that the routes contradict. To be called before the record is used for sending. */
  check(record: number): void {
    const checked = this.#checked;
    if (checked === undefined || !hasSource(this.#arena, record)) return;
    const { u32 } = this.#arena;
    const from = record / 4;
    // Records of peers lie 64 bytes apart.
    const place = ((record >>> 6) % PLACES) * PLACE_WORDS;
    let same = checked[place + KEY_WORDS] === this.#generation;
    for (let i = 0; same && i < KEY_WORDS; i++) same = checked[place + i] === u32[from + i];
    if (same) return;
    if (!this.#holds(record)) {
      this.clear(record);
      return;
    }
    for (let i = 0; i < KEY_WORDS; i++) checked[place + i] = u32[from + i] as number;
    checked[place + KEY_WORDS] = this.#generation;
  }

  clear(record: number): void {
    clearSource(this.#arena, record);
    this.cleared = (this.cleared + 1) >>> 0;
  }

  #holds(record: number): boolean {
    const { u8, u16, u32 } = this.#arena;
    const size = u16[(record + ENDPOINT.family) / 2] === 4 ? 4 : 16;
    const at = (field: number) => u8.slice(record + field, record + field + size);
    const scope = u32[(record + ENDPOINT.scope) / 4] as number;
    const learntAt = u32[(record + ENDPOINT.sourceInterface) / 4] as number;
    return this.#leavesBy(learntAt, at(ENDPOINT.address), at(ENDPOINT.source), scope);
  }
}
