/** A store that forgets everything at the end: for tests, and for gateways that shall leave no trace. */
import { Registry } from './registry.ts';
import type { StoreChange, StoreConflict } from './records.ts';
import { EMPTY_CONTENTS, type Store, type StoreContents } from './store.ts';

export class MemoryStore implements Store {
  readonly kind = 'memory';
  readonly #registry: Registry;

  constructor(contents: StoreContents = EMPTY_CONTENTS) {
    this.#registry = new Registry(contents);
  }

  async load(): Promise<StoreContents> {
    return this.#registry.contents();
  }

  async commit(changes: readonly StoreChange[]): Promise<StoreConflict | undefined> {
    return this.#registry.apply(changes);
  }

  async close(): Promise<void> {}
}
