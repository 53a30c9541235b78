/** One client of server-sent events (HTML Living Standard, section 9.2). */
import type { ServerResponse } from 'node:http';

/** A comment goes out this often, so that a connection that is dead shows, and proxies do not take it for idle. */
const HEARTBEAT_MS = 15_000;
/** A client that takes nothing while so many were due holds a place that others want. */
const MAX_MISSED = 4;

export class EventStream {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  /** Sends the head; from here on events may be sent. `onEnd` is called once, whoever ends it. */
  start(onEnd: () => void): void {
    this.#response.writeHead(200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
    this.#response.flushHeaders();
    let missed = 0;
    this.#response.on('drain', () => (missed = 0));
    const heartbeat = setInterval(() => {
      if (!this.isBusy) this.#response.write(':\n\n');
      else if (++missed >= MAX_MISSED) this.#response.destroy();
    }, HEARTBEAT_MS);
    this.#response.once('close', () => {
      clearInterval(heartbeat);
      onEnd();
    });
  }

  /** The client has yet to take what it was sent: more would pile up. */
  get isBusy(): boolean {
    return this.#response.writableNeedDrain;
  }

  get isEnded(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  onDrain(listener: () => void): void {
    this.#response.on('drain', listener);
  }

  /** `json` has no line breaks. */
  send(event: string, json: string, id?: number): void {
    this.#response.write(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${json}\n\n`);
  }

  end(): void {
    this.#response.end();
  }
}
