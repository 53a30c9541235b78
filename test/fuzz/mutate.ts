/** Changes to an input, as plain records: fast-check makes and shrinks them, the fuzz loop draws them. */
import { uniform, type Random } from '../../src/core/random.ts';
import { bytesOf } from './target.ts';

const KINDS = [
  'flipBit',
  'setByte',
  'setEdge',
  'addSmall',
  'delete',
  'repeat',
  'truncate',
  'insertBytes',
  'insertWord',
  'splice',
] as const;

export interface Mutation {
  readonly kind: (typeof KINDS)[number];
  /** Where, modulo the length. */
  readonly at: number;
  /** How much or what; its meaning depends on the kind. */
  readonly value: number;
}

export const MUTATION_KINDS: readonly Mutation['kind'][] = KINDS;

/** Values at which lengths and counters change their meaning, with their width in bytes. */
const EDGES: readonly (readonly [value: number, width: 1 | 2 | 4])[] = [
  ...[0, 1, 15, 16, 31, 32, 63, 64, 127, 128, 255].map((value) => [value, 1] as const),
  ...[0, 127, 128, 255, 256, 1280, 1420, 0x7fff, 0x8000, 0xfffe, 0xffff].map((value) => [value, 2] as const),
  ...[0, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff].map((value) => [value, 4] as const),
];

export interface Material {
  readonly words: readonly string[];
  /** Inputs to splice with. */
  readonly others: readonly Uint8Array[];
  readonly maxBytes: number;
}

export function randomMutation(random: Random): Mutation {
  return {
    kind: KINDS[uniform(random, KINDS.length)] as Mutation['kind'],
    at: uniform(random, 0x8000_0000),
    value: uniform(random, 0x8000_0000),
  };
}

/** A changed copy. */
export function mutate(bytes: Uint8Array, mutation: Mutation, material: Material): Uint8Array {
  return apply(bytes, mutation, material).slice(0, material.maxBytes);
}

function apply(bytes: Uint8Array, { kind, at: place, value }: Mutation, material: Material): Uint8Array {
  const { length } = bytes;
  const at = length === 0 ? 0 : place % length;
  const copy = bytes.slice();
  switch (kind) {
    case 'flipBit':
      if (length > 0) copy[at] = (copy[at] as number) ^ (1 << (value & 7));
      return copy;
    case 'setByte':
      if (length > 0) copy[at] = value;
      return copy;
    case 'setEdge': {
      const [edge, width] = EDGES[value % EDGES.length] as (typeof EDGES)[number];
      const isBig = ((value >>> 16) & 1) === 1;
      for (let i = 0; i < width && at + i < length; i++)
        copy[at + i] = Math.floor(edge / 2 ** (8 * (isBig ? width - 1 - i : i)));
      return copy;
    }
    case 'addSmall':
      if (length > 0) copy[at] = (copy[at] as number) + (value % 33) - 16;
      return copy;
    case 'delete':
      return without(bytes, at, 1 + (value % 32));
    case 'repeat': {
      const piece = bytes.subarray(at, at + 1 + (value % 64));
      return insert(bytes, at, ...Array.from({ length: 1 + ((value >>> 8) % 4) }, () => piece));
    }
    case 'truncate':
      return bytes.slice(0, at);
    case 'insertBytes':
      return insert(bytes, at, scrambled(value, 1 + (value % 24)));
    case 'insertWord':
      return insert(bytes, at, bytesOf(material.words[value % material.words.length] ?? ''));
    case 'splice': {
      const other = material.others[value % material.others.length] ?? bytes;
      return insert(bytes.subarray(0, at), at, other.subarray((value >>> 8) % (other.length + 1)));
    }
    default:
      return kind satisfies never;
  }
}

function without(bytes: Uint8Array, at: number, size: number): Uint8Array {
  return new Uint8Array(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]));
}

function insert(bytes: Uint8Array, at: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat([bytes.subarray(0, at), ...parts, bytes.subarray(at)]));
}

function scrambled(seed: number, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => Math.imul(seed ^ (i + 1), 0x9e37_79b9) >>> 24);
}
