/**
 * A program between two or more UDP sockets that loses, repeats and delays datagrams, for kernels without netem:
 * `node forwarder.js WEATHER`, with a Weather as JSON. Prints `ready` when all ports are open.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';

export interface Weather {
  readonly ways: readonly Way[];
  /** Percent. */
  readonly loss: number;
  readonly duplicates: number;
  /** Percent of datagrams that are delayed, and by how much at most: they are overtaken by those behind. */
  readonly reordered: number;
  readonly delayMs: number;
}

/** Whatever `first` sends to `facingFirst` comes to `second` from `facingSecond`, and the other way round. */
export interface Way {
  readonly first: Place;
  readonly second: Place;
  readonly facingFirst: number;
  readonly facingSecond: number;
}

interface Place {
  readonly address: string;
  readonly port: number;
}

const BUFFER_BYTES = 4 << 20;

async function open(port: number): Promise<Socket> {
  const socket = createSocket('udp4');
  // An ICMP error about a side that is down just now.
  socket.on('error', () => {});
  socket.bind(port);
  await once(socket, 'listening');
  socket.setRecvBufferSize(BUFFER_BYTES);
  socket.setSendBufferSize(BUFFER_BYTES);
  return socket;
}

async function forward(weather: Weather): Promise<void> {
  const hits = (percent: number): boolean => Math.random() * 100 < percent;
  const pass = (from: Socket, through: Socket, to: Place): void => {
    from.on('message', (bytes) => {
      if (hits(weather.loss)) return;
      const send = (): void => through.send(bytes, to.port, to.address);
      if (hits(weather.reordered)) setTimeout(send, Math.random() * weather.delayMs);
      else send();
      if (hits(weather.duplicates)) send();
    });
  };
  for (const { first, second, facingFirst, facingSecond } of weather.ways) {
    const [left, right] = [await open(facingFirst), await open(facingSecond)];
    pass(left, right, second);
    pass(right, left, first);
  }
  process.stdout.write('ready\n');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  await forward(JSON.parse(process.argv[2] ?? '') as Weather);
