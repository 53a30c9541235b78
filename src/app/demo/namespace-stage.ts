/**
 * The stage with real interfaces and sockets: three network namespaces, made here and gone with the processes in them.
 *
 *     alice                          wire                           bob
 *     application                                           application
 *         │ TCP, ICMP                                            │
 *     TUN 10.7.0.1 ══ device ══ UDP on 127.0.0.1 ══ device ══ TUN 10.7.0.2
 *
 * Four processes, so that applications and devices take no time from each other's threads. This thread starts each from
 * within the namespace that it belongs to; nothing is opened in the namespace of the machine.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import { type Address, formatAddress, formatSocketAddress } from '../../core/ip.ts';
import { NetworkNamespace } from '../../sys/namespace.ts';
import { setLoopbackUp } from '../routes.ts';
import { CalledProcess } from './calls.ts';
import type { DeviceCalls, OpenedDevice } from './device-process.ts';
import { ALICE, BOB } from './party.ts';
import type { Amount, Both, DeviceReport, DeviceFacts, Handshake, Stage, Transfer } from './stage.ts';
import type { TrafficCalls, TrafficCounters } from './traffic-process.ts';

const OUTER: Address = Uint8Array.of(127, 0, 0, 1);
const PROGRESS_MS = 200;
/** What TCP may take to end beyond the time it was given. */
const TRANSFER_GRACE_MS = 5_000;

/** How long the news of the end of a process may take. */
const NOTICE_MS = 100;
/** The last acknowledgements are on their way when the transfer ends; what was lost never arrives. */
const SETTLE_MS = 20;
const SETTLE_ATTEMPTS = 10;

const DEVICE_PROCESS = new URL('./device-process.js', import.meta.url);
const TRAFFIC_PROCESS = new URL('./traffic-process.js', import.meta.url);

export class NamespaceStage implements Stage {
  readonly kind = 'namespaces';
  readonly #alice: Side;
  readonly #bob: Side;
  #opened: Both<OpenedDevice> | undefined;

  /** Makes the namespaces and starts the processes. Throws AppError where rights or namespaces are missing. */
  constructor() {
    const wire = NetworkNamespace.create();
    try {
      wire.run(setLoopbackUp);
      this.#alice = new Side('alice', ALICE, wire);
      this.#bob = new Side('bob', BOB, wire);
    } finally {
      wire.close();
    }
  }

  async open(): Promise<Both<DeviceFacts>> {
    const [alice, bob] = await Promise.all([this.#alice.open(), this.#bob.open()]);
    this.#opened = { alice, bob };
    return { alice: facts(ALICE, alice), bob: facts(BOB, bob) };
  }

  async connect(): Promise<Handshake> {
    if (!this.#opened) throw new AppError('internal', 'the stage is not open');
    const { alice, bob } = this.#opened;
    await this.#bob.device.call('expect', { publicKey: alice.publicKey, address: ALICE });
    const endpoint = { address: OUTER, port: bob.port, scope: 0, carrier: 0 };
    return this.#guard(this.#alice.device.call('call', { publicKey: bob.publicKey, address: BOB, endpoint }));
  }

  ping(timeoutMs: number): Promise<number | undefined> {
    return this.#guard(this.#alice.application.call('ping', { to: BOB, timeoutMs }));
  }

  async transfer(durationMs: number, onProgress: (soFar: Amount) => void): Promise<Transfer> {
    const before = await this.#traffic();
    const amount = await this.#guard(this.#transfer(durationMs, onProgress));
    const after = await this.#traffic();
    return {
      ...amount,
      packets: {
        there: after.alice.sent - before.alice.sent,
        resent: after.alice.resent - before.alice.resent,
        back: after.bob.sent - before.bob.sent,
        overflowed: after.alice.overflowed - before.alice.overflowed,
      },
    };
  }

  async #transfer(durationMs: number, onProgress: (soFar: Amount) => void): Promise<Amount> {
    const reader = this.#bob.application;
    const deadline = systemClock.now() + durationMs + TRANSFER_GRACE_MS;
    const port = await this.#alice.application.call('offer', { address: ALICE, durationMs });
    const fetching = reader.call('fetch', { address: ALICE, port });
    for (;;) {
      const amount = await Promise.race([fetching, pause(PROGRESS_MS)]);
      if (amount) return amount;
      if (systemClock.now() > deadline)
        throw new AppError('io', 'the transfer through the tunnel stands still');
      onProgress(await reader.call('fetched', undefined));
    }
  }

  /** The end of a process comes first: it explains whatever else goes wrong, even when that was noticed earlier. */
  async #guard<Result>(operation: Promise<Result>): Promise<Result> {
    const end = Promise.race([this.#alice.end, this.#bob.end]);
    try {
      return await Promise.race([operation, end]);
    } catch (error) {
      await Promise.race([end, pause(NOTICE_MS)]);
      throw error;
    }
  }

  async #traffic(): Promise<Both<TrafficCounters>> {
    const [alice, bob] = await Promise.all([
      this.#alice.application.call('counters', undefined),
      this.#bob.application.call('counters', undefined),
    ]);
    return { alice, bob };
  }

  async report(): Promise<Both<DeviceReport>> {
    for (let attempt = 1; ; attempt++) {
      const { alice, bob } = await this.#report();
      const isSettled = alice.txBytes === bob.rxBytes && bob.txBytes === alice.rxBytes;
      if (isSettled || attempt === SETTLE_ATTEMPTS) return { alice, bob };
      await pause(SETTLE_MS);
    }
  }

  async #report(): Promise<Both<DeviceReport>> {
    const [alice, bob] = await Promise.all([
      this.#alice.device.call('report', undefined),
      this.#bob.device.call('report', undefined),
    ]);
    return { alice, bob };
  }

  async close(): Promise<void> {
    await Promise.all([this.#alice.close(), this.#bob.close()]);
  }
}

/** A namespace with the two processes in it. */
class Side {
  readonly #name: string;
  readonly #address: Address;
  readonly device: CalledProcess<DeviceCalls>;
  readonly application: CalledProcess<TrafficCalls>;

  constructor(name: string, address: Address, wire: NetworkNamespace) {
    this.#name = name;
    this.#address = address;
    const inner = NetworkNamespace.create();
    try {
      const start = (): [CalledProcess<DeviceCalls>, CalledProcess<TrafficCalls>] => [
        new CalledProcess(`${name}'s device`, DEVICE_PROCESS, [wire.fd]),
        new CalledProcess(`${name}'s application`, TRAFFIC_PROCESS),
      ];
      [this.device, this.application] = inner.run(start);
    } finally {
      inner.close();
    }
  }

  open(): Promise<OpenedDevice> {
    return this.device.call('open', { name: `culvert-${this.#name}`, address: this.#address });
  }

  /** Rejects when one of the processes ends. */
  get end(): Promise<never> {
    return Promise.race([this.device.end, this.application.end]);
  }

  async close(): Promise<void> {
    await Promise.all([this.device.close(), this.application.close()]);
  }
}

function facts(address: Address, opened: OpenedDevice): DeviceFacts {
  const { interfaceName, mtu, port } = opened;
  return {
    address: formatAddress(address),
    endpoint: formatSocketAddress({ address: OUTER, port }),
    interfaceName,
    mtu,
  };
}
