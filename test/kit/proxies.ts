/** Small proxies on loopback, and what they were asked for. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { TestCertificate } from './certificates.ts';

export interface ProxyBehaviour {
  /** Wanted from clients. */
  readonly credentials?: { readonly username: string; readonly password: string };
  /** Passes everything on to this port of loopback, whatever was asked for. */
  readonly port: number;
  /** Answers in place of the usual ones. */
  readonly answer?: string | Uint8Array;
  /** After such an answer. */
  readonly keepsOpen?: boolean;
  /** Serves TLS. */
  readonly tls?: TestCertificate;
}

export interface TestProxy {
  readonly port: number;
  /** `host:port` of each request, and `user:password` if given. */
  readonly requests: string[];
  close(): Promise<void>;
}

async function listen(
  behaviour: ProxyBehaviour,
  serve: (socket: Socket, requests: string[]) => Promise<void>,
): Promise<TestProxy> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const onConnection = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket, requests).catch(() => socket.destroy());
  };
  const server: Server = behaviour.tls
    ? createTlsServer(behaviour.tls, onConnection)
    : createServer(onConnection);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function join(near: Socket, port: number): void {
  const far = connect(port, '127.0.0.1');
  far.on('error', () => near.destroy());
  far.on('close', () => near.destroy());
  near.on('close', () => far.destroy());
  near.pipe(far).pipe(near);
}

/** Exactly `size` bytes. */
async function take(socket: Socket, size: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(size) as Buffer | null;
    if (bytes) return bytes;
    await once(socket, 'readable');
  }
}

export function httpProxy(behaviour: ProxyBehaviour): Promise<TestProxy> {
  return listen(behaviour, async (socket, requests) => {
    let head = '';
    while (!head.endsWith('\r\n\r\n')) head += (await take(socket, 1)).toString('latin1');
    const target = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head)?.[1] ?? head;
    const encoded = /^Proxy-Authorization: Basic (\S+)\r$/m.exec(head)?.[1];
    const given = encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString();
    requests.push(given === undefined ? target : `${target} ${given}`);
    const { credentials } = behaviour;
    if (behaviour.answer !== undefined) {
      socket.write(behaviour.answer);
      if (!behaviour.keepsOpen) socket.end();
    } else if (credentials && given !== `${credentials.username}:${credentials.password}`) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
    } else {
      socket.write('HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n');
      join(socket, behaviour.port);
    }
  });
}

export function socksProxy(behaviour: ProxyBehaviour): Promise<TestProxy> {
  return listen(behaviour, async (socket, requests) => {
    const [, count] = await take(socket, 2);
    const methods = [...(await take(socket, count as number))];
    if (behaviour.answer !== undefined) {
      socket.end(behaviour.answer);
      return;
    }
    const { credentials } = behaviour;
    let given = '';
    if (credentials) {
      if (!methods.includes(2)) {
        socket.end(Uint8Array.of(5, 0xff));
        return;
      }
      socket.write(Uint8Array.of(5, 2));
      const [, userSize] = await take(socket, 2);
      const user = (await take(socket, userSize as number)).toString();
      const [passwordSize] = await take(socket, 1);
      const password = (await take(socket, passwordSize as number)).toString();
      given = ` ${user}:${password}`;
      const isRight = user === credentials.username && password === credentials.password;
      socket.write(Uint8Array.of(1, isRight ? 0 : 1));
      if (!isRight) return;
    } else {
      socket.write(Uint8Array.of(5, 0));
    }
    const [, , , type] = await take(socket, 4);
    const host =
      type === 3
        ? (await take(socket, (await take(socket, 1))[0] as number)).toString()
        : type === 1
          ? [...(await take(socket, 4))].join('.')
          : (await take(socket, 16)).toString('hex');
    const port = (await take(socket, 2)).readUInt16BE();
    requests.push(`${host}:${port}${given}`);
    socket.write(Uint8Array.of(5, 0, 0, 1, 127, 0, 0, 1, 0x12, 0x34));
    join(socket, behaviour.port);
  });
}
