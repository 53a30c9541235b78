/** The outcome of a handshake. */
export interface SessionKeysInit {
  readonly send: Uint8Array;
  readonly receive: Uint8Array;
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly isInitiator: boolean;
}

/** Two transport keys of 32 bytes and the indices that name the session on both sides. Does not print the keys. */
export class SessionKeys {
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly isInitiator: boolean;
  readonly #send: Uint8Array;
  readonly #receive: Uint8Array;

  /** Takes the key buffers over. */
  constructor(init: SessionKeysInit) {
    this.localIndex = init.localIndex;
    this.remoteIndex = init.remoteIndex;
    this.isInitiator = init.isInitiator;
    this.#send = init.send;
    this.#receive = init.receive;
  }

  /** The live buffer: hand it to a TransportAead, do not keep it. */
  get send(): Uint8Array {
    return this.#send;
  }

  /** As `send`. */
  get receive(): Uint8Array {
    return this.#receive;
  }

  zero(): void {
    this.#send.fill(0);
    this.#receive.fill(0);
  }
}
