/**
 * A program that sends over TCP and UDP without pause and holds what comes back against what it sent:
 * `node flow.js serve ADDRESS` echoes, `node flow.js send ADDRESS` prints a FlowReport as JSON every second.
 */
import { createSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import { pathToFileURL } from 'node:url';

export interface FlowReport {
  /** Bytes that came back by TCP as they were sent. */
  readonly tcpBytes: number;
  /** Connections that were begun. */
  readonly tcpConnections: number;
  readonly udpSent: number;
  readonly udpReceived: number;
  /** What came back otherwise than it was sent; must stay 0. */
  readonly corrupt: number;
}

const PORT = 4711;
const BLOCK_BYTES = 32_768;
const TCP_INTERVAL_MS = 100;
const UDP_INTERVAL_MS = 20;
/** A connection from which nothing comes for so long is given up: the other end may have been started anew. */
const SILENCE_MS = 8_000;

/** Byte `at` of the stream or datagram that `seed` names. */
function patternByte(seed: number, at: number): number {
  return (Math.imul(seed ^ at, 0x9e37_79b9) >>> 24) & 255;
}

function pattern(seed: number, at: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i++) bytes[i] = patternByte(seed, at + i);
  return bytes;
}

function serve(address: string): void {
  createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket)).listen(PORT, address);
  const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  udp.on('error', () => {});
  udp.on('message', (bytes, { port, address: from }) => udp.send(bytes, port, from));
  udp.bind(PORT, address);
}

class Sender {
  readonly #address: string;
  #tcpBytes = 0;
  #tcpConnections = 0;
  #udpSent = 0;
  #udpReceived = 0;
  #corrupt = 0;

  constructor(address: string) {
    this.#address = address;
  }

  run(): void {
    this.#tcp();
    this.#udp();
    setInterval(() => {
      const report: FlowReport = {
        tcpBytes: this.#tcpBytes,
        tcpConnections: this.#tcpConnections,
        udpSent: this.#udpSent,
        udpReceived: this.#udpReceived,
        corrupt: this.#corrupt,
      };
      process.stdout.write(`${JSON.stringify(report)}\n`);
    }, 1_000);
  }

  #tcp(): void {
    const seed = ++this.#tcpConnections;
    let sent = 0;
    let received = 0;
    const socket: Socket = connect(PORT, this.#address);
    const timer = setInterval(() => {
      if (socket.connecting || socket.writableLength > BLOCK_BYTES) return;
      socket.write(pattern(seed, sent, BLOCK_BYTES));
      sent += BLOCK_BYTES;
    }, TCP_INTERVAL_MS);
    socket.setTimeout(SILENCE_MS, () => socket.destroy());
    socket.on('data', (bytes) => {
      for (let i = 0; i < bytes.length; i++)
        if (bytes[i] !== patternByte(seed, received + i)) this.#corrupt++;
      received += bytes.length;
      this.#tcpBytes += bytes.length;
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearInterval(timer);
      setTimeout(() => this.#tcp(), 200);
    });
  }

  #udp(): void {
    const socket = createSocket(this.#address.includes(':') ? 'udp6' : 'udp4');
    socket.on('error', () => {});
    socket.on('message', (bytes) => {
      const seed = bytes.readUInt32LE(0);
      const isRight =
        bytes.length === sizeOf(seed) && bytes.subarray(4).equals(pattern(seed, 4, bytes.length - 4));
      if (isRight) this.#udpReceived++;
      else this.#corrupt++;
    });
    setInterval(() => {
      const seed = ++this.#udpSent;
      const bytes = pattern(seed, 0, sizeOf(seed));
      bytes.writeUInt32LE(seed, 0);
      socket.send(bytes, PORT, this.#address);
    }, UDP_INTERVAL_MS);
  }
}

/** 4 to 1300 bytes. */
function sizeOf(seed: number): number {
  return 4 + ((seed * 97) % 1297);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [, , role, address = ''] = process.argv;
  if (role === 'serve') serve(address);
  else new Sender(address).run();
}
