/** A device in the real world: TUN, sockets, clock, event loop. */
import { Arena } from '../core/arena.ts';
import { systemClock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { systemRandom } from '../core/random.ts';
import { wasmBlake2s } from '../noise/blake2s-wasm.ts';
import { nodeCrypto } from '../noise/crypto-node.ts';
import { fdWatcher } from '../sys/readiness.ts';
import { type LinuxTun, openTun, type TunFormat } from '../tun/linux.ts';
import { Device } from '../tunnel/device.ts';
import type { LanePolicy } from '../tunnel/lane/policy.ts';
import type { StreamBridge } from '../tunnel/stream-bridge.ts';
import { wasmChecksums } from '../wasm/checksums.ts';
import { Alarm } from './alarm.ts';
import { createTransport, laneThreads, type LaneThreads } from './transport.ts';
import { outerQueues, type Queue } from './queues.ts';
import { readTuning, type Tuning } from './tuning.ts';

/** Address space of a lane thread: receive and send buffers, records and keys of MAX_PEERS. Pages are used when touched. */
const ARENA_BYTES: number = 64 << 20;

export interface RuntimeOptions {
  /** Interface name. */
  readonly name: string;
  /** An inherited TUN descriptor (WG_TUN_FD); opened by name otherwise. */
  readonly tunFd?: number;
  readonly mtu?: number;
  /** What counts before the environment. */
  readonly tuning?: Partial<Tuning>;
  /** Datagrams may travel in streams, too: `RunningDevice.streams`. */
  readonly streams?: boolean;
  readonly policy?: LanePolicy;
  readonly logger: Logger;
}

export interface RunningDevice {
  /** The interface name that the operating system gave. */
  readonly name: string;
  readonly device: Device;
  /** When asked for. */
  readonly streams: StreamBridge | undefined;
  /** For people to read. */
  engine(): Engine;
  /** Resolves with the reason when the device has ended, by `close` or because the interface is gone. */
  readonly closed: Promise<string>;
  /** Ends sessions, closes sockets and TUN. Idempotent. */
  close(reason: string): Promise<void>;
  /** As OpenedDevice has it. */
  readonly onServed?: () => void;
}

/** How packets are moved and sealed, by the names of the parts. */
export interface Engine {
  readonly lanes: 'inline' | 'worker' | 'workers';
  readonly tunFormat: TunFormat;
  /** Backends. `transport` is empty while it is being chosen. */
  readonly transport: string;
  /** Of two backends in `transport`: the longest text in bytes that goes to the first. */
  readonly longestShort?: number | undefined;
  readonly x25519: string;
  readonly blake2s: string;
  /** Threads that move packets (sys/thread.ts). */
  readonly laneThreads: readonly number[];
  /** Datagrams joined for the kernel to cut (UDP_SEGMENT), and by the kernel for us (UDP_GRO). */
  readonly gso: Offload;
  readonly gro: Offload;
  /** Those around the device. */
  readonly queues: readonly Queue[];
}

/** failed: wanted, and the kernel or the network card does not do it. */
export type Offload = 'on' | 'off' | 'failed';
const LANES: Readonly<Record<LaneThreads, Engine['lanes']>> = { 0: 'inline', 1: 'worker', 2: 'workers' };

/** Opens the TUN and starts. The device goes up and down with the interface. */
export function startDevice(options: RuntimeOptions): RunningDevice {
  const { logger, policy = {} } = options;
  const tuning = { ...readTuning(process.env), ...options.tuning };
  const { threads, obstacle } = laneThreads(tuning, policy);
  if (obstacle !== undefined)
    logger.log('warn', 'lanes_not_as_wanted', { wanted: tuning.lanes, threads, reason: obstacle });
  const arena = new Arena({ bytes: ARENA_BYTES * Math.max(1, threads), shared: threads > 0 });
  const tun = openTun({
    name: options.name,
    ...(options.tunFd === undefined ? {} : { fd: options.tunFd }),
    ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
    offload: tuning.tunOffload,
    arena,
    checksums: wasmChecksums,
    watcher: fdWatcher,
    every,
    logger,
  });
  const alarm = new Alarm((now) => device.advance(now));
  const transport = createTransport({
    arena,
    tun,
    tuning,
    threads,
    streams: options.streams ?? false,
    policy,
    logger,
    onRoutesChanged: () => device.routesChanged(),
    onLaneRestart: (cause) => {
      logger.log('error', 'lane_restarted', { reason: String(cause) });
      device.laneRestarted();
    },
  });
  const crypto = nodeCrypto(wasmBlake2s());
  const device = new Device({
    crypto,
    clock: systemClock,
    random: systemRandom,
    logger,
    bind: transport.bind,
    defer: setImmediate,
    onEarlierDeadline: (at) => alarm.set(at),
    createLane: transport.createLane,
  });
  const engine = (): Engine => ({
    lanes: LANES[threads],
    tunFormat: tun.format,
    transport: transport.aead() ?? '',
    x25519: crypto.x25519.name,
    blake2s: crypto.blake2s.name,
    longestShort: transport.longestShort(),
    laneThreads: transport.laneThreads(),
    gso: offload(tuning.gso && tuning.bind !== 'dgram', device.laneFigures().usesGso !== false),
    // Sockets that are not open have not failed.
    gro: offload(tuning.gro && tuning.bind !== 'dgram', transport.usesGro() || !device.isUp),
    queues: outerQueues({
      tun: tun.fill(),
      sockets: transport.sockets(),
      streams: transport.streams()?.fill(),
    }),
  });
  return { name: tun.name, engine, streams: transport.streams(), ...run(tun, device, alarm, logger) };
}

function offload(isWanted: boolean, works: boolean): Offload {
  return isWanted ? (works ? 'on' : 'failed') : 'off';
}

function run(
  tun: LinuxTun,
  device: Device,
  alarm: Alarm,
  logger: Logger,
): Pick<RunningDevice, 'device' | 'closed' | 'close'> {
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
  return { device, closed, close };
}

function every(ms: number, task: () => void): () => void {
  const timer = setInterval(task, ms);
  return () => clearInterval(timer);
}
