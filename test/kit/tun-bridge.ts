/**
 * Two TUN devices of the kernel, each in a namespace of its own, with this process between them: what one namespace
 * sends to the other goes through both ports, split and joined, and through nothing else.
 */
import { fileURLToPath } from 'node:url';
import { Arena } from '../../src/core/arena.ts';
import type { Checksums } from '../../src/core/checksums.ts';
import { silentLogger } from '../../src/core/log.ts';
import { fdWatcher } from '../../src/sys/readiness.ts';
import { type LinuxTun, openTun } from '../../src/tun/linux.ts';
import type { PacketPort } from '../../src/tun/tun.ts';
import { Namespace } from './netns.ts';

const LINK = 'tun0';
const MAX_PACKET = 65_535;
/** Packets moved before the other direction has its turn. */
const BURST = 128;
/** Room before each packet, as a transport header gives it. */
const BEFORE = 16;

export interface BridgeEnd {
  readonly namespace: Namespace;
  readonly tun: LinuxTun;
  readonly ipv4: string;
  readonly ipv6: string;
}

export interface LinkPackets {
  /** What the kernel took from the TUN as one packet, however much was joined in it. */
  readonly rx: { readonly bytes: number; readonly packets: number };
  /** What it gave to the TUN as one packet. */
  readonly tx: { readonly bytes: number; readonly packets: number };
}

export interface BridgeOptions {
  readonly mtu: number;
  readonly offload: boolean;
  readonly checksums: (arena: Arena) => Checksums;
}

export class TunBridge {
  readonly a: BridgeEnd;
  readonly b: BridgeEnd;
  readonly #arena = new Arena({ bytes: 16 << 20 });

  constructor(options: BridgeOptions) {
    this.a = this.#end(1, options);
    this.b = this.#end(2, options);
    this.#forward(this.a.tun.packets, this.b.tun.packets, options.mtu);
    this.#forward(this.b.tun.packets, this.a.tun.packets, options.mtu);
  }

  #end(number: 1 | 2, options: BridgeOptions): BridgeEnd {
    const namespace = Namespace.create();
    const tun = namespace.within(() =>
      openTun({
        ...options,
        name: LINK,
        arena: this.#arena,
        watcher: fdWatcher,
        every: () => () => {},
        logger: silentLogger,
      }),
    );
    const [ipv4, ipv6] = [`10.66.0.${number}`, `fd66::${number}`];
    namespace.ip(`address add ${ipv4}/24 dev ${LINK}`);
    namespace.ip(`address add ${ipv6}/64 dev ${LINK} nodad`);
    namespace.ip(`link set ${LINK} up`);
    return { namespace, tun, ipv4, ipv6 };
  }

  #forward(from: PacketPort, to: PacketPort, mtu: number): void {
    const stride = (BEFORE + mtu + 63) & ~63;
    const area = this.#arena.alloc(BURST * stride + MAX_PACKET) + BEFORE;
    from.onReadable(() => {
      for (let i = 0; i < BURST; i++) {
        const at = area + i * stride;
        const length = from.read(at, MAX_PACKET);
        if (length <= 0) break;
        to.write(at, length);
      }
      to.flush();
    });
  }

  static linkPackets({ namespace }: BridgeEnd): LinkPackets {
    const [link] = JSON.parse(namespace.exec('ip', ['-s', '-j', 'link', 'show', 'dev', LINK])) as [
      { readonly stats64: LinkPackets },
    ];
    return link.stats64;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { namespace, tun } of [this.a, this.b]) {
      tun.close();
      await namespace.close();
    }
  }
}

const TRAFFIC = fileURLToPath(new URL('offload-traffic.js', import.meta.url));

/** Runs both ends of a transfer of offload-traffic.ts, of so many bytes or at this MTU. Rejects when it fails. */
export async function transfer(
  kind: 'tcp' | 'udp',
  source: BridgeEnd,
  sink: BridgeEnd,
  family: 4 | 6,
  number: number,
): Promise<void> {
  const address = family === 4 ? sink.ipv4 : sink.ipv6;
  const run = [TRAFFIC, kind === 'tcp' ? 'tcp-sink' : 'udp-echo', address];
  const serving = sink.namespace.spawn(process.execPath, run, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    serving.stdout?.once('data', () => resolve());
    serving.once('exit', (code) => reject(new Error(`${run.join(' ')} ended with ${code}`)));
  });
  await source.namespace.run(process.execPath, [TRAFFIC, `${kind}-source`, address, `${number}`]);
  serving.kill();
}
