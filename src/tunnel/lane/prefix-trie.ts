/**
 * Longest-prefix match from IP addresses to small integers (peer ids): a path-compressed binary trie in typed arrays, as
 * the kernel's allowedips.c, one for each family. Nodes are indices; 0 is "none", so the root is a variable.
 */
export class PrefixTrie {
  readonly #words: 1 | 4;
  #key: Uint32Array;
  #length: Uint8Array;
  #child: Int32Array;
  #value: Int32Array;
  #capacity = 64;
  #used = 1;
  #free = 0;
  #root = 0;
  #size = 0;
  readonly #probe = new Uint32Array(4);

  constructor(bits: 32 | 128) {
    this.#words = bits === 32 ? 1 : 4;
    this.#key = new Uint32Array(this.#capacity * this.#words);
    this.#length = new Uint8Array(this.#capacity);
    this.#child = new Int32Array(this.#capacity * 2);
    this.#value = new Int32Array(this.#capacity);
  }

  /** Number of prefixes. */
  get size(): number {
    return this.#size;
  }

  /** The value of the longest prefix that contains the address, 0 when there is none. */
  find4(address: number): number {
    let best = 0;
    let node = this.#root;
    while (node !== 0) {
      const length = this.#length[node] as number;
      if (length !== 0 && (address ^ (this.#key[node] as number)) >>> (32 - length) !== 0) break;
      const value = this.#value[node] as number;
      if (value !== 0) best = value;
      if (length === 32) break;
      node = this.#child[2 * node + ((address >>> (31 - length)) & 1)] as number;
    }
    return best;
  }

  /** The same for IPv6, the address as four big-endian words. */
  find6(a: number, b: number, c: number, d: number): number {
    const probe = this.#probe;
    probe[0] = a;
    probe[1] = b;
    probe[2] = c;
    probe[3] = d;
    let best = 0;
    let node = this.#root;
    while (node !== 0) {
      const length = this.#length[node] as number;
      if (this.#common(node, length) < length) break;
      const value = this.#value[node] as number;
      if (value !== 0) best = value;
      if (length === 128) break;
      node = this.#child[2 * node + this.#bit(length)] as number;
    }
    return best;
  }

  /** `value` > 0. Returns the value that the very same prefix had before, 0 for none. Host bits must be zero. */
  insert(address: Uint8Array, length: number, value: number): number {
    this.#load(address);
    let parent = 0;
    let node = this.#root;
    while (node !== 0) {
      const nodeLength = this.#length[node] as number;
      const shared = this.#common(node, Math.min(length, nodeLength));
      if (shared < nodeLength) {
        this.#split(parent, node, shared, length, value);
        return 0;
      }
      if (nodeLength === length) {
        const previous = this.#value[node] as number;
        this.#value[node] = value;
        if (previous === 0) this.#size++;
        return previous;
      }
      parent = node;
      node = this.#child[2 * node + this.#bit(nodeLength)] as number;
    }
    this.#attach(parent, this.#create(length, value));
    this.#size++;
    return 0;
  }

  /** Removes exactly this prefix when it has this value. Returns whether it did. */
  remove(address: Uint8Array, length: number, value: number): boolean {
    this.#load(address);
    let grandparent = 0;
    let parent = 0;
    let node = this.#root;
    while (node !== 0) {
      const nodeLength = this.#length[node] as number;
      if (nodeLength > length || this.#common(node, nodeLength) < nodeLength) return false;
      if (nodeLength === length) break;
      grandparent = parent;
      parent = node;
      node = this.#child[2 * node + this.#bit(nodeLength)] as number;
    }
    if (node === 0 || this.#value[node] !== value) return false;
    this.#value[node] = 0;
    this.#size--;
    this.#collapse(parent, node);
    // A parent that only branched may have become a pass-through.
    if (parent !== 0 && this.#value[parent] === 0) this.#collapse(grandparent, parent);
    return true;
  }

  #load(address: Uint8Array): void {
    for (let i = 0; i < this.#words; i++) {
      const at = 4 * i;
      this.#probe[i] =
        ((address[at] as number) << 24) |
        ((address[at + 1] as number) << 16) |
        ((address[at + 2] as number) << 8) |
        (address[at + 3] as number);
    }
  }

  /** Number of leading bits, at most `limit`, that the probe shares with the node's key. */
  #common(node: number, limit: number): number {
    const base = node * this.#words;
    for (let i = 0; i < this.#words; i++) {
      const difference = ((this.#key[base + i] as number) ^ (this.#probe[i] as number)) >>> 0;
      if (difference !== 0) return Math.min(limit, 32 * i + Math.clz32(difference));
    }
    return limit;
  }

  #bit(index: number): number {
    return ((this.#probe[index >> 5] as number) >>> (31 - (index & 31))) & 1;
  }

  #keyBit(node: number, index: number): number {
    return ((this.#key[node * this.#words + (index >> 5)] as number) >>> (31 - (index & 31))) & 1;
  }

  /** Puts a node of `shared` bits above `node`; the new prefix is that node itself or its other child. */
  #split(parent: number, node: number, shared: number, length: number, value: number): void {
    const branch = this.#create(shared, shared === length ? value : 0);
    this.#replace(parent, node, branch);
    this.#child[2 * branch + this.#keyBit(node, shared)] = node;
    if (shared !== length) {
      const leaf = this.#create(length, value);
      this.#child[2 * branch + this.#bit(shared)] = leaf;
    }
    this.#size++;
  }

  /** Removes a valueless node with fewer than two children. */
  #collapse(parent: number, node: number): void {
    const left = this.#child[2 * node] as number;
    const right = this.#child[2 * node + 1] as number;
    if (left !== 0 && right !== 0) return;
    this.#replace(parent, node, left === 0 ? right : left);
    this.#child[2 * node] = this.#free;
    this.#child[2 * node + 1] = 0;
    this.#free = node;
  }

  #attach(parent: number, node: number): void {
    if (parent === 0) this.#root = node;
    else this.#child[2 * parent + this.#bit(this.#length[parent] as number)] = node;
  }

  #replace(parent: number, node: number, by: number): void {
    if (parent === 0) this.#root = by;
    else this.#child[2 * parent + (this.#child[2 * parent] === node ? 0 : 1)] = by;
  }

  /** A node with the first `length` bits of the probe as its key. */
  #create(length: number, value: number): number {
    let node = this.#free;
    if (node !== 0) {
      this.#free = this.#child[2 * node] as number;
    } else {
      if (this.#used === this.#capacity) this.#grow();
      node = this.#used++;
    }
    for (let i = 0; i < this.#words; i++) {
      const keep = Math.min(32, Math.max(0, length - 32 * i));
      // `x << 32` is `x << 0` in JavaScript, so "keep nothing" needs its own branch.
      this.#key[node * this.#words + i] = keep === 0 ? 0 : (this.#probe[i] as number) & (-1 << (32 - keep));
    }
    this.#length[node] = length;
    this.#child[2 * node] = 0;
    this.#child[2 * node + 1] = 0;
    this.#value[node] = value;
    return node;
  }

  #grow(): void {
    this.#capacity *= 2;
    const grown = <T extends Uint32Array | Uint8Array | Int32Array>(old: T, array: T): T => {
      array.set(old);
      return array;
    };
    this.#key = grown(this.#key, new Uint32Array(this.#capacity * this.#words));
    this.#length = grown(this.#length, new Uint8Array(this.#capacity));
    this.#child = grown(this.#child, new Int32Array(this.#capacity * 2));
    this.#value = grown(this.#value, new Int32Array(this.#capacity));
  }
}
