/** Beginning and end of the HTTP servers of this process. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { AppError } from '../../core/errors.ts';
import { formatListenAddress, type ListenAddress } from './listen-address.ts';

/** Resolves to where it really listens. Rejects with AppError `in_use`, `permission` or `io`: `what` cannot, and `hint`. */
export async function listenOn(
  server: Server | TlsServer,
  address: ListenAddress,
  what: string,
  hint: string,
): Promise<ListenAddress> {
  server.listen({ host: address.host, port: address.port });
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const kind = code === 'EADDRINUSE' ? 'in_use' : code === 'EACCES' ? 'permission' : 'io';
    throw new AppError(kind, `${what} cannot listen on ${formatListenAddress(address)}: ${code || message}`, {
      cause: error,
      hint,
    });
  }
  return { host: address.host, port: (server.address() as AddressInfo).port };
}

/** Cuts all connections. Idempotent. */
export async function closeServer(server: Server | TlsServer): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}
