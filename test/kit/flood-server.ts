// A gateway's gRPC port in a process of its own, to be flooded: real gateway, streams that echo, real time. Answers every
// message of its parent with a FloodReport. Argument: `tls` for TLS.
import { Server } from '@grpc/grpc-js';
import { systemClock } from '../../src/core/clock.ts';
import { systemRandom } from '../../src/core/random.ts';
import { GrpcFront } from '../../src/link/grpc-front.ts';
import { type FrontCounters, SERVICE_OPTIONS } from '../../src/link/grpc-limits.ts';
import { MemoryStore } from '../../src/link/memory-store.ts';
import { addProvisionService } from '../../src/link/provision-service.ts';
import { EMPTY_CONTENTS } from '../../src/link/store.ts';
import { type DatagramSink, StreamTable } from '../../src/link/stream-table.ts';
import { decodeEndpoint } from '../../src/tunnel/endpoint.ts';
import { CERTIFICATE } from './certificates.ts';
import { startGatewayOn } from './gateway.ts';
import { FLOODED_HEADER, GOOD_HEADER } from './floods.ts';

export interface FloodReport {
  readonly port: number;
  readonly rssBytes: number;
  /** After a collection. */
  readonly heapBytes: number;
  readonly connections: number;
  readonly front: FrontCounters;
  readonly provisions: Readonly<Record<string, number>>;
}

const CHECK_INTERVAL_MS = 1_000;

class Echo implements DatagramSink {
  table: StreamTable | undefined;

  deliver(endpoint: Uint8Array, bytes: Uint8Array, at: number, length: number): boolean {
    const to = decodeEndpoint(endpoint, 0);
    if (to) this.table?.send(to.address, 0, to.port, bytes, at, length, 0);
    this.table?.flush();
    return true;
  }
}

const sink = new Echo();
const streams = new StreamTable(sink);
sink.table = streams;
streams.allow('good', GOOD_HEADER);
streams.allow('flooded', FLOODED_HEADER);
streams.start();
const gateway = await startGatewayOn(new MemoryStore(EMPTY_CONTENTS), systemRandom, undefined, undefined, {
  perSecond: 50,
  burst: 100,
});
const services = new Server(SERVICE_OPTIONS);
addProvisionService(services, gateway);
const front = new GrpcFront({
  clock: systemClock,
  streams,
  services,
  tls: process.argv[2] === 'tls' ? CERTIFICATE : undefined,
});
const { port } = await front.listen('127.0.0.1', 0);
setInterval(() => front.checkConnections(), CHECK_INTERVAL_MS);
process.on('message', () => {
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  if (!process.connected) return;
  process.send?.({
    port,
    rssBytes: rss,
    heapBytes: heapUsed + external,
    connections: front.sockets,
    front: front.counters,
    provisions: gateway.counters.provisions,
  } satisfies FloodReport);
});
process.on('disconnect', () => process.exit(0));
