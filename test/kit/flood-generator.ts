// Sends one of FLOODS for a while and prints how much of it. Arguments: name, port, milliseconds.
import { connect, type Socket } from 'node:net';
import { FLOODS, PREFACE } from './floods.ts';

const [name = '', port = '0', durationMs = '0'] = process.argv.slice(2);
const flood = FLOODS[name];
if (!flood) throw new Error(`no flood "${name}"`);
const over = new AbortController();
let sent = 0;
let opened = 0;
const sockets = new Set<Socket>();

function open(n: number): void {
  if (over.signal.aborted || !flood) return;
  // Other sources than the clients that shall be served; ten thousand ports of one address are slow to find.
  const localAddress = `127.0.1.${1 + (flood.connections < 1_000 ? 0 : n % 200)}`;
  const socket = connect({ port: Number(port), host: '127.0.0.1', localAddress });
  sockets.add(socket);
  let sequence = 0;
  const more = () => {
    while (!over.signal.aborted && !socket.destroyed && sequence < (flood.bursts ?? Infinity)) {
      const bytes = flood.next(sequence++);
      if (!bytes) return;
      sent += flood.size;
      if (!socket.write(bytes)) {
        socket.once('drain', more);
        return;
      }
      // One burst a turn, so that others have theirs.
      if (sequence % 4 === 0) {
        setImmediate(more);
        return;
      }
    }
  };
  socket.on('connect', () => {
    opened++;
    if (!flood.hasNoPreface) socket.write(PREFACE);
    if (!flood.readsNothing) socket.resume();
    more();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    sockets.delete(socket);
    setTimeout(() => open(n), 1);
  });
}

for (let n = 0; n < flood.connections; n++) {
  open(n);
  // The listening queue is finite.
  if (n % 200 === 199) await new Promise((resolve) => setTimeout(resolve, 10));
}
await new Promise((resolve) => setTimeout(resolve, Number(durationMs)));
over.abort();
for (const socket of sockets) socket.destroy();
process.stdout.write(`${JSON.stringify({ sent, opened })}\n`);
