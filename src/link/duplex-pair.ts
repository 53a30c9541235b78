/** Two ends of a connection inside this process. */
import { Duplex } from 'node:stream';

class End extends Duplex {
  peer: End | undefined;
  /** The other side's writer waits until this side has been read. */
  #resume: (() => void) | undefined;

  override _read(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    const peer = this.peer;
    if (!peer || peer.destroyed || chunk.length === 0) done();
    else if (peer.push(chunk)) done();
    else peer.#resume = done;
  }

  override _final(done: () => void): void {
    this.peer?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const peer = this.peer;
    this.peer = undefined;
    this._read();
    done(error);
    if (peer && !peer.destroyed) peer.destroy();
  }
}

export function duplexPair(): [Duplex, Duplex] {
  const [a, b] = [new End(), new End()];
  a.peer = b;
  b.peer = a;
  return [a, b];
}
