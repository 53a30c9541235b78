/**
 * The sessions of one peer that may receive, and which of them sends (whitepaper section 6; the kernel's noise_keypairs).
 *
 *   previous   what was sent with before: its packets may still be on their way
 *   current    the one to send with
 *   next       made as responder: may not send before the initiator has used it
 *
 * Unlike in the kernel, both of two crossing handshakes complete. Each side then sends with the session that it has
 * initiated itself and has that of the other side as `next`, older than `current`: it receives there and never sends.
 */
export interface Keypair {
  /** Receiver index. */
  readonly index: number;
  readonly createdAtMs: number;
}

export class Keypairs {
  readonly #drop: (keypair: Keypair) => void;
  #previous: Keypair | undefined;
  #current: Keypair | undefined;
  #next: Keypair | undefined;
  /** `next` was there before `current`. */
  #isNextOlder = false;
  /** The other side sends with `next`, which is older than `current`. */
  #isNextInUse = false;
  /** The other side has been seen to send with another one, so nothing will come on `current`. */
  #isCurrentSendOnly = false;

  /** `drop` is told of each keypair that leaves. */
  constructor(drop: (keypair: Keypair) => void) {
    this.#drop = drop;
  }

  get current(): Keypair | undefined {
    return this.#current;
  }

  /** The response has come: the keypair is the one to send with at once. */
  derivedAsInitiator(keypair: Keypair): void {
    if (this.#current && this.#isCurrentSendOnly) this.#drop(this.#current);
    else this.#setPrevious(this.#current);
    this.#current = keypair;
    this.#isCurrentSendOnly = false;
    this.#isNextOlder = true;
  }

  /** The response is being sent: the keypair waits for its confirmation. */
  derivedAsResponder(keypair: Keypair): void {
    if (this.#isNextInUse) {
      this.#setPrevious(this.#next);
    } else {
      // What the other side sends with may be `previous`: when it is not `current`.
      if (!this.#isCurrentSendOnly) this.#setPrevious(undefined);
      if (this.#next) this.#drop(this.#next);
    }
    this.#next = keypair;
    this.#isNextOlder = false;
    this.#isNextInUse = false;
  }

  /** The first authenticated packet came on a keypair. True when that makes it the one to send with. */
  confirmed(index: number): boolean {
    if (this.#next?.index !== index) return false;
    if (this.#isNextOlder) {
      this.#isNextInUse = true;
      this.#isCurrentSendOnly = true;
      return false;
    }
    this.#setPrevious(this.#current);
    this.#current = this.#next;
    this.#isCurrentSendOnly = false;
    this.#next = undefined;
    return true;
  }

  /** None may send any more; `current` may still receive. */
  retire(): void {
    if (this.#next) this.#drop(this.#next);
    this.#next = undefined;
    if (this.#current) this.#setPrevious(this.#current);
    this.#current = undefined;
  }

  clear(): void {
    this.retire();
    this.#setPrevious(undefined);
  }

  #setPrevious(keypair: Keypair | undefined): void {
    if (this.#previous) this.#drop(this.#previous);
    this.#previous = keypair;
  }
}
