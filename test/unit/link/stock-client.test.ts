// The gateway's port as a stock gRPC client sees it: @grpc/grpc-js with messages of protobufjs.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type ClientDuplexStream,
  type ChannelCredentials,
  credentials,
  makeGenericClientConstructor,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { ProvisionServiceClient } from '../../../src/gen/siderolink/provision.ts';
import { STATUS } from '../../../src/link/grpc-status.ts';
import { CERTIFICATE } from '../../kit/certificates.ts';
import { loadProtos } from '../../kit/protos.ts';
import { until } from '../../kit/until.ts';
import { startFront } from './front-kit.ts';
import { datagram, numberOf } from './stream-kit.ts';

interface Packet {
  readonly Data: Uint8Array;
}

const PeerPacket = loadProtos().lookupType('sidero.link.PeerPacket');
const TunnelClient = makeGenericClientConstructor(
  {
    createStream: {
      path: '/sidero.link.WireGuardOverGRPCService/CreateStream',
      requestStream: true,
      responseStream: true,
      requestSerialize: (packet: Packet) => Buffer.from(PeerPacket.encode(packet).finish()),
      requestDeserialize: (bytes: Buffer) => PeerPacket.decode(bytes),
      responseSerialize: (packet: Packet) => Buffer.from(PeerPacket.encode(packet).finish()),
      responseDeserialize: (bytes: Buffer) => PeerPacket.decode(bytes) as unknown as Packet,
    },
  },
  'sidero.link.WireGuardOverGRPCService',
);

type Stream = ClientDuplexStream<Packet, Packet>;

function connect(t: TestContext, port: number, channel: ChannelCredentials): (header?: string) => Stream {
  const client = new TunnelClient(`localhost:${port}`, channel);
  t.after(() => client.close());
  return (header) => {
    const metadata = new Metadata();
    if (header !== undefined) metadata.set('x-siderolink-ipv6-addr', header);
    const method = client['createStream'] as (metadata: Metadata) => Stream;
    return method.call(client, metadata);
  };
}

function ended(stream: Stream): Promise<ServiceError> {
  return new Promise((resolve) => stream.once('error', resolve));
}

for (const [name, tls] of [
  ['plain', undefined],
  ['TLS', CERTIFICATE],
] as const) {
  test(`${name}: two streams carry a thousand datagrams each way, in order`, async (t) => {
    const { gateway, port, close } = await startFront({ tls });
    t.after(close);
    const channel = tls ? credentials.createSsl(Buffer.from(tls.cert)) : credentials.createInsecure();
    const open = connect(t, port, channel);
    const headers = [gateway.allow('a'), gateway.allow('b')];
    const streams = headers.map(open);
    const received: number[][] = [[], []];
    for (const [i, stream] of streams.entries()) {
      stream.on('error', () => {});
      stream.on('data', (packet: Packet) => received[i]?.push(numberOf(packet.Data)));
    }
    for (let n = 0; n < 1000; n++) for (const stream of streams) stream.write({ Data: datagram(n, 1312) });
    await until(() => gateway.sink.received.length === 2000);
    const numbers = Array.from({ length: 1000 }, (_, n) => n);
    for (const header of headers) {
      const from = gateway.sink.received.filter((datagrams) => datagrams.from === header);
      assert.deepEqual(
        from.map(({ bytes }) => numberOf(bytes)),
        numbers,
      );
    }
    for (let n = 0; n < 1000; n++) {
      for (const header of headers) gateway.send(header, datagram(n, 1312));
      gateway.table.flush();
      // As the device does: not everything in one turn of the event loop.
      if (n % 50 === 49) await until(() => received.every(({ length }) => length === n + 1));
    }
    assert.deepEqual(received, [numbers, numbers]);
    for (const stream of streams) stream.cancel();
  });
}

test('the statuses that the client compares arrive as they are', async (t) => {
  const { gateway, port, close } = await startFront();
  t.after(close);
  const open = connect(t, port, credentials.createInsecure());
  const refused = await ended(open('[fdae:41e4:649b:9304::1]:50889'));
  assert.deepEqual([refused.code, refused.details], [STATUS.PERMISSION_DENIED, 'peer not allowed']);
  const absent = await ended(open());
  assert.deepEqual(
    [absent.code, absent.details],
    [STATUS.UNKNOWN, 'failed to get peer address from context'],
  );
  const header = gateway.allow('a');
  const first = open(header);
  const replaced = ended(first);
  await until(() => gateway.table.isOpen('key a'));
  const second = open(header);
  const revoked = ended(second);
  const status = await replaced;
  assert.deepEqual([status.code, status.details], [STATUS.ABORTED, 'peer replaced']);
  gateway.table.allow('key a', undefined);
  assert.equal((await revoked).details, 'peer not allowed');
});

test('half-closing ends the call as cancelled', async (t) => {
  const { gateway, port, close } = await startFront();
  t.after(close);
  const stream = connect(t, port, credentials.createInsecure())(gateway.allow('a'));
  const status = ended(stream);
  await until(() => gateway.table.isOpen('key a'));
  stream.end();
  assert.deepEqual([(await status).code, (await status).details], [STATUS.CANCELLED, 'context canceled']);
});

test('a call that goes to the library works with the library as client', async (t) => {
  const { port, close } = await startFront();
  const client = new ProvisionServiceClient(`127.0.0.1:${port}`, credentials.createInsecure());
  t.after(async () => {
    client.close();
    await close();
  });
  const provision = (nodeUuid: string) =>
    new Promise<unknown>((resolve) => {
      client.provision({ nodeUuid, nodePublicKey: 'k' }, (error, response) => resolve(error ?? response));
    });
  assert.equal(((await provision('u')) as { serverPublicKey: string }).serverPublicKey, 'u');
  const error = (await provision('refuse')) as ServiceError;
  assert.deepEqual([error.code, error.details], [STATUS.PERMISSION_DENIED, 'unauthorized']);
  const many = await Promise.all(Array.from({ length: 200 }, (_, n) => provision(`m${n}`)));
  assert.deepEqual(
    many.map((response) => (response as { serverPublicKey: string }).serverPublicKey),
    Array.from({ length: 200 }, (_, n) => `m${n}`),
  );
});
