/** A server that may become another one while everything around it goes on. */
import type { AppError } from '../../core/errors.ts';

interface Closable {
  close(): Promise<void>;
}

export class Replaceable<Where, Server extends Closable> {
  readonly #open: (where: Where) => Promise<Server>;
  #where: Where | undefined;
  #server: Server | undefined;
  #isClosed = false;

  constructor(open: (where: Where) => Promise<Server>) {
    this.#open = open;
  }

  get server(): Server | undefined {
    return this.#server;
  }

  /**
   * From now on it is there, or nowhere (undefined). The old one is closed first: the new one may want its port. Rejects
   * with AppError when it cannot be opened; then the old one is back.
   */
  async use(where: Where | undefined): Promise<void> {
    const before = this.#where;
    await this.#shut();
    if (this.#isClosed) return;
    try {
      this.#server = where === undefined ? undefined : await this.#open(where);
      this.#where = where;
    } catch (error) {
      if (before !== undefined) {
        this.#server = await this.#open(before);
        this.#where = before;
      }
      throw error as AppError;
    }
  }

  /** For good. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#shut();
  }

  async #shut(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    this.#where = undefined;
    await server?.close();
  }
}
