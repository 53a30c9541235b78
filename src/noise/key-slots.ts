/** Keys behind small integer handles, so that a batch in the arena can name them. Handles start at 1 and are reused. */
export class KeySlots<Key> {
  readonly #keys: (Key | undefined)[] = [];
  readonly #free: number[] = [];

  add(key: Key): number {
    const slot = this.#free.pop() ?? this.#keys.length;
    this.#keys[slot] = key;
    return slot + 1;
  }

  get(handle: number): Key | undefined {
    return this.#keys[handle - 1];
  }

  /** Forgets the key and returns it, for wiping; undefined when the handle is not in use. */
  remove(handle: number): Key | undefined {
    const key = this.#keys[handle - 1];
    if (key === undefined) return undefined;
    this.#keys[handle - 1] = undefined;
    this.#free.push(handle - 1);
    return key;
  }
}
