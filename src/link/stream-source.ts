/** Streams as the device sees them (tunnel/stream-bridge.ts): the gateway's, and those of a machine. */
import { ENDPOINT } from '../tunnel/endpoint.ts';
import type { StreamSource } from '../tunnel/stream-bridge.ts';
import type { Relay } from './relay.ts';
import type { StreamTable } from './stream-table.ts';

/** Every datagram goes to the stream of its virtual endpoint. */
export function tableSource(table: StreamTable): StreamSource {
  return {
    send: (endpoint, endpointAt, bytes, at, length, flow) => {
      const low = endpoint[endpointAt + ENDPOINT.port] as number;
      const port = low | ((endpoint[endpointAt + ENDPOINT.port + 1] as number) << 8);
      table.send(endpoint, endpointAt + ENDPOINT.address, port, bytes, at, length, flow);
    },
    flush: () => table.flush(),
    pull: () => table.pull(),
  };
}

/** Every datagram goes to the gateway, whatever its endpoint. */
export function relaySource(relay: Relay): StreamSource {
  return {
    send: (_endpoint, _endpointAt, bytes, at, length, flow) => relay.send(bytes, at, length, flow),
    flush: () => relay.flush(),
    pull: () => relay.pull(),
  };
}
