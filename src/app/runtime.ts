/** Puts a device together with the real world: TUN, sockets, clock, event loop. */
import { Arena } from '../core/arena.ts';
import { systemClock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { systemRandom } from '../core/random.ts';
import { NodeTransportAead } from '../noise/aead-node.ts';
import { nodeCrypto } from '../noise/crypto-node.ts';
import { fdWatcher } from '../sys/readiness.ts';
import { openTun, type LinuxTun } from '../tun/linux.ts';
import { InlineSocketUser, LinuxBind } from '../tunnel/bind-linux.ts';
import { Device } from '../tunnel/device.ts';
import { InlineHost } from '../tunnel/lane/inline-host.ts';
import { LinuxDatagrams } from '../tunnel/linux-datagrams.ts';

/** Address space of one device: receive and send buffers, peer records. Pages are used when touched. */
const ARENA_BYTES: number = 32 << 20;

export interface RuntimeOptions {
  /** Interface name. */
  readonly name: string;
  /** An inherited TUN descriptor (WG_TUN_FD); opened by name otherwise. */
  readonly tunFd?: number;
  readonly mtu?: number;
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
  const { logger } = options;
  const arena = new Arena({ bytes: ARENA_BYTES });
  const tun = openTun({
    name: options.name,
    ...(options.tunFd === undefined ? {} : { fd: options.tunFd }),
    ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
    arena,
    watcher: fdWatcher,
    every,
    logger,
  });
  const bind = new LinuxBind({
    user: new InlineSocketUser(new LinuxDatagrams(arena, { gso: true, gro: true, maxWaitMs: 0 }), fdWatcher),
    watcher: fdWatcher,
    gro: true,
    logger,
    onRoutesChanged: () => device.routesChanged(),
  });
  const alarm = new Alarm((now) => device.advance(now));
  const device = new Device({
    crypto: nodeCrypto(),
    clock: systemClock,
    random: systemRandom,
    logger,
    bind,
    defer: setImmediate,
    onEarlierDeadline: (at) => alarm.set(at),
    createLane: (events) =>
      new InlineHost(
        {
          arena,
          aead: new NodeTransportAead(arena),
          clock: systemClock,
          tun: tun.packets,
          bind: bind.datagrams,
          defer: setImmediate,
        },
        events,
      ),
  });
  return run(tun, device, alarm, logger);
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
