/** The services on the gateway's overlay address: event sink (gRPC without TLS, as Talos dials it) and kernel logs. */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { createSocket } from 'node:dgram';
import { AppError } from '../../core/errors.ts';
import { addEventSinkService, type EventSink } from '../../link/event-sink.ts';
import { type LogReceiver, LogServer } from '../../link/log-receiver.ts';
import { bracketed } from './config.ts';

/** Events are small; a larger message costs memory before anybody looks at it. */
const MAX_EVENT_MESSAGE_BYTES = 256 * 1024;
/** How long calls under way may take to end. */
const DRAIN_MS = 1_000;

export interface Service {
  readonly port: number;
  close(): Promise<void>;
}

/** `port` 0: any. Rejects with AppError. */
export async function serveEvents(
  sink: Pick<EventSink, 'publish'>,
  host: string,
  port: number,
): Promise<Service> {
  const server = new Server({ 'grpc.max_receive_message_length': MAX_EVENT_MESSAGE_BYTES });
  addEventSinkService(server, sink);
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${bracketed(host)}:${port}`, ServerCredentials.createInsecure(), (error, actual) => {
      if (error) reject(cannotListen('event sink', host, port, error));
      else resolve(actual);
    });
  });
  return {
    port: bound,
    close: async () => {
      await new Promise<void>((resolve) => {
        // Connections of machines that have gone are cut; the kernel's good-byes to them are not waited for.
        const deadline = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, DRAIN_MS);
        server.tryShutdown(() => {
          clearTimeout(deadline);
          resolve();
        });
      });
    },
  };
}

/** TCP and UDP on one port. `port` 0: any for TCP, and the same for UDP. Rejects with AppError. */
export async function serveLogs(receiver: LogReceiver, host: string, port: number): Promise<Service> {
  const tcp = new LogServer(receiver);
  const { port: bound } = await tcp.listen(host, port);
  const udp = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' });
  try {
    await new Promise<void>((resolve, reject) => {
      udp.once('error', (error) => reject(cannotListen('log receiver', host, bound, error)));
      udp.bind(bound, host, resolve);
    });
  } catch (error) {
    udp.close();
    await tcp.close();
    throw error;
  }
  udp.on('error', () => {});
  udp.on('message', (bytes, { address }) => receiver.datagram(address, bytes));
  return {
    port: bound,
    close: async () => {
      await new Promise<void>((resolve) => udp.close(() => resolve()));
      await tcp.close();
    },
  };
}

function cannotListen(what: string, host: string, port: number, error: Error): AppError {
  return new AppError('io', `${what}: cannot listen on ${host} port ${port}: ${error.message}`, {
    cause: error,
  });
}
