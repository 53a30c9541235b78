/** Puts a device together with the real world: TUN, sockets, clock, event loop. */
import { Arena } from '../core/arena.ts';
import { systemClock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { systemRandom } from '../core/random.ts';
import { WasmTransportAead } from '../noise/aead-wasm.ts';
import { wasmBlake2s } from '../noise/blake2s-wasm.ts';
import { nodeCrypto } from '../noise/crypto-node.ts';
import { fdWatcher } from '../sys/readiness.ts';
import { openTun, type LinuxTun } from '../tun/linux.ts';
import { wasmChecksums } from '../wasm/checksums.ts';
import { InlineSocketUser, LinuxBind, type SocketUser } from '../tunnel/bind-linux.ts';
import { Device } from '../tunnel/device.ts';
import type { LaneEvents, LaneHost } from '../tunnel/lane/control.ts';
import { InlineHost } from '../tunnel/lane/inline-host.ts';
import { createWorkerHost, type WorkerHost } from '../tunnel/lane/worker-host.ts';
import { LinuxDatagrams } from '../tunnel/linux-datagrams.ts';

/** Address space of one device: receive and send buffers, peer records. Pages are used when touched. */
const ARENA_BYTES: number = 32 << 20;

const OFFLOADS = { gso: true, gro: true } as const;

export interface RuntimeOptions {
  /** Interface name. */
  readonly name: string;
  /** An inherited TUN descriptor (WG_TUN_FD); opened by name otherwise. */
  readonly tunFd?: number;
  readonly mtu?: number;
  /** Where packets are moved: on the control thread, or in a worker thread. */
  readonly lanes?: 'inline' | 'worker';
  /** TUN offloads (IFF_VNET_HDR); on unless false. An inherited descriptor is as it is. */
  readonly offload?: boolean;
  readonly logger: Logger;
}

export interface RunningDevice {
  /** The interface name that the operating system gave. */
  readonly name: string;
  readonly device: Device;
  /** Resolves with the reason when the device has ended, by `close` or because the interface is gone. */
  readonly closed: Promise<string>;
  /** Ends sessions, closes sockets and TUN. Idempotent. */
  close(reason: string): Promise<void>;
}

/** Opens the TUN and starts. The device goes up and down with the interface. */
export function startDevice(options: RuntimeOptions): RunningDevice {
  const { logger, lanes = 'worker' } = options;
  const arena = new Arena({ bytes: ARENA_BYTES, shared: lanes === 'worker' });
  const tun = openTun({
    name: options.name,
    ...(options.tunFd === undefined ? {} : { fd: options.tunFd }),
    ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
    offload: options.offload ?? true,
    arena,
    checksums: wasmChecksums,
    watcher: fdWatcher,
    every,
    logger,
  });
  const alarm = new Alarm((now) => device.advance(now));
  const { createLane, sockets } = (lanes === 'worker' ? hostedLane : inlineLane)(arena, tun, (cause) => {
    logger.log('error', 'lane_restarted', { reason: String(cause) });
    device.laneRestarted();
  });
  const bind = new LinuxBind({
    user: sockets,
    watcher: fdWatcher,
    gro: OFFLOADS.gro,
    logger,
    onRoutesChanged: () => device.routesChanged(),
  });
  const device = new Device({
    crypto: nodeCrypto(wasmBlake2s()),
    clock: systemClock,
    random: systemRandom,
    logger,
    bind,
    defer: setImmediate,
    onEarlierDeadline: (at) => alarm.set(at),
    createLane,
  });
  return run(tun, device, alarm, logger);
}

interface HostedLane {
  readonly createLane: (events: LaneEvents) => LaneHost;
  readonly sockets: SocketUser;
}

function inlineLane(arena: Arena, tun: LinuxTun): HostedLane {
  const datagrams = new LinuxDatagrams(arena, { ...OFFLOADS, maxWaitMs: 0 });
  const parts = { arena, clock: systemClock, tun: tun.packets, bind: datagrams, defer: setImmediate };
  return {
    createLane: (events) => new InlineHost({ ...parts, aead: new WasmTransportAead(arena) }, events),
    sockets: new InlineSocketUser(datagrams, fdWatcher),
  };
}

function hostedLane(arena: Arena, tun: LinuxTun, onRestart: (cause: Error) => void): HostedLane {
  let host: WorkerHost | undefined;
  return {
    createLane: (events) => {
      host = createWorkerHost(
        { arena, tunFd: tun.fd, tunFormat: tun.format, ...OFFLOADS, clock: systemClock, after, onRestart },
        events,
      );
      return host;
    },
    sockets: {
      useSockets: (ipv4, ipv6) => host?.useSockets(ipv4, ipv6) ?? Promise.resolve(),
    },
  };
}

function run(tun: LinuxTun, device: Device, alarm: Alarm, logger: Logger): RunningDevice {
  let resolve: (reason: string) => void = () => {};
  const closed = new Promise<string>((settle) => (resolve = settle));
  let closing: Promise<void> | undefined;
  const close = (reason: string): Promise<void> => {
    closing ??= device.close().then(() => {
      alarm.cancel();
      tun.close();
      resolve(reason);
    });
    return closing;
  };
  device.setMtu(tun.mtu);
  tun.watch({
    onLink: (up) => {
      const change = up ? device.up() : device.down();
      // The configuration stays, and the next change of the link tries again.
      change.catch((error: unknown) => logger.log('error', 'device_not_up', { reason: String(error) }));
    },
    onMtu: (mtu) => device.setMtu(mtu),
    onGone: (reason) => void close(reason),
  });
  return { name: tun.name, device, closed, close };
}

function every(ms: number, task: () => void): () => void {
  const timer = setInterval(task, ms);
  return () => clearInterval(timer);
}

function after(ms: number, task: () => void): void {
  setTimeout(task, ms);
}

/** One Node timer for all deadlines of a device. */
class Alarm {
  readonly #advance: (now: number) => number;
  #timer: NodeJS.Timeout | undefined;
  #at: number = Number.POSITIVE_INFINITY;

  /** `advance` fires what is due and returns the next deadline. */
  constructor(advance: (now: number) => number) {
    this.#advance = advance;
  }

  set(at: number): void {
    if (at >= this.#at) return;
    this.#arm(at);
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#at = Number.POSITIVE_INFINITY;
  }

  #arm(at: number): void {
    this.cancel();
    if (at === Number.POSITIVE_INFINITY) return;
    this.#at = at;
    // Rounded up: a timer that fires early would only go round again.
    this.#timer = setTimeout(() => this.#ring(), Math.max(0, Math.ceil(at - systemClock.now())));
  }

  #ring(): void {
    this.#at = Number.POSITIVE_INFINITY;
    this.#arm(this.#advance(systemClock.now()));
  }
}
