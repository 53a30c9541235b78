/** One end of the gRPC bench, in a process of its own: a device whose only peer is reached through gRPC streams. */
import { Server } from '@grpc/grpc-js';
import { systemClock } from '../../src/core/clock.ts';
import { parsePrefix, parseSocketAddress, type SocketAddress } from '../../src/core/ip.ts';
import { silentLogger } from '../../src/core/log.ts';
import { systemRandom } from '../../src/core/random.ts';
import { parseKeyBytes, PrivateKey, PublicKey } from '../../src/noise/keys.ts';
import { createStreamCall, GrpcFront } from '../../src/link/grpc-front.ts';
import { Http2Dialer } from '../../src/link/http2-dialer.ts';
import { Relay } from '../../src/link/relay.ts';
import { relaySource, tableSource } from '../../src/link/stream-source.ts';
import { StreamTable } from '../../src/link/stream-table.ts';
import type { TlsPair } from '../../src/link/tls-files.ts';
import { startDevice } from '../../src/app/runtime.ts';
import { Alarm } from '../../src/app/alarm.ts';
import { GRPC_CARRIER } from '../../src/tunnel/endpoint.ts';
import type { StreamBridge } from '../../src/tunnel/stream-bridge.ts';

/** Given as JSON in the first argument. */
export interface EndSettings {
  readonly side: 'gateway' | 'machine';
  readonly link: string;
  readonly mtu: number;
  /** Base64. */
  readonly privateKey: string;
  readonly peerPublicKey: string;
  /** `address/128`. */
  readonly allowedIp: string;
  /** The machine's label. */
  readonly virtualEndpoint: string;
  /** Of the gateway. */
  readonly host: string;
  readonly port: number;
  /** PEM, self-signed; absent: plain HTTP/2. */
  readonly tls?: TlsPair | undefined;
  /** Streams of the machine. */
  readonly lanes: number;
}

function keyBytes(text: string): Uint8Array {
  const bytes = parseKeyBytes(text);
  if (!bytes) throw new Error('not a key');
  return bytes;
}

async function main(settings: EndSettings): Promise<void> {
  const running = startDevice({
    name: settings.link,
    mtu: settings.mtu,
    logger: silentLogger,
    streams: true,
  });
  const { device, streams } = running;
  if (!streams) throw new Error('no streams');
  const label = parseSocketAddress(settings.virtualEndpoint);
  const prefix = parsePrefix(settings.allowedIp);
  if (!label || !prefix) throw new Error('bad addresses');
  const isReady =
    settings.side === 'gateway' ? await serve(settings, streams) : relay(settings, streams, label);
  await device.configure({
    privateKey: new PrivateKey(keyBytes(settings.privateKey)),
    peers: [
      {
        publicKey: new PublicKey(keyBytes(settings.peerPublicKey)),
        endpoint: { ...label, scope: 0, carrier: GRPC_CARRIER },
        persistentKeepalive: 25,
        allowedIps: [{ prefix, remove: false }],
      },
    ],
  });
  process.on('SIGTERM', () => void running.close('told to').then(() => process.exit(0)));
  const poll = setInterval(() => {
    if (!isReady()) return;
    clearInterval(poll);
    process.stdout.write('ready\n');
  }, 20);
}

async function serve(settings: EndSettings, streams: StreamBridge): Promise<() => boolean> {
  const table = new StreamTable(streams);
  streams.connect(tableSource(table));
  table.allow(settings.peerPublicKey, settings.virtualEndpoint);
  table.start();
  const front = new GrpcFront({
    clock: systemClock,
    streams: table,
    services: new Server(),
    tls: settings.tls,
  });
  await front.listen(settings.host, settings.port);
  return () => true;
}

function relay(settings: EndSettings, streams: StreamBridge, label: SocketAddress): () => boolean {
  const { host, port, tls, virtualEndpoint } = settings;
  const target = { host, port, isPlaintext: !tls };
  const dialer = new Http2Dialer(target, createStreamCall(virtualEndpoint), {
    proxies: {},
    ...(tls && { ca: [tls.cert] }),
  });
  const alarm = new Alarm((now) => machine.advance(now));
  const machine = new Relay({
    dialer,
    sink: streams,
    clock: systemClock,
    random: systemRandom,
    endpoint: label,
    lanes: settings.lanes,
    onEarlierDeadline: (at) => alarm.set(at),
    onEnd: ({ message }) => {
      throw new Error(`the gateway refused: ${message}`);
    },
  });
  streams.connect(relaySource(machine));
  machine.start();
  return () => machine.openLanes === settings.lanes;
}

await main(JSON.parse(process.argv[2] ?? '{}') as EndSettings);
