/** A raw client of a daemon's UAPI socket, for what `wg` never sends. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { eventually } from './eventually.ts';

const REPLY_TIMEOUT_MS = 5_000;

export class UapiClient {
  readonly #socket: Socket;
  #received = '';
  #hasEnded = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => (this.#received += text));
    // A daemon that closes with unread input resets the connection: that is an end as well.
    socket.on('error', () => {});
    socket.on('close', () => (this.#hasEnded = true));
  }

  static async connect(path: string): Promise<UapiClient> {
    const socket = connect({ path });
    await once(socket, 'connect');
    return new UapiClient(socket);
  }

  write(text: string): void {
    this.#socket.write(text, 'latin1');
  }

  /** Says that nothing more will come; replies can still be read. */
  end(): void {
    this.#socket.end();
  }

  /** The next reply with its blank line. Rejects when the connection ends before. */
  async reply(): Promise<string> {
    const end = await eventually(
      'a reply',
      () => {
        const at = this.#received.indexOf('\n\n');
        if (at !== -1) return at + 2;
        return this.#hasEnded ? -1 : undefined;
      },
      REPLY_TIMEOUT_MS,
    );
    if (end === -1) throw new Error(`the connection ended after ${JSON.stringify(this.#received)}`);
    const text = this.#received.slice(0, end);
    this.#received = this.#received.slice(end);
    return text;
  }

  /** Waits for the daemon to end the connection; gives what it sent before. */
  async ended(): Promise<string> {
    await eventually('the end of the connection', () => this.#hasEnded);
    return this.#received;
  }

  close(): void {
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** One request on a connection of its own. `request` lacks the blank line. */
export async function askUapi(path: string, request: string): Promise<string> {
  using client = await UapiClient.connect(path);
  client.write(`${request}\n\n`);
  return await client.reply();
}
