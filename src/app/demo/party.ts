/** What the demonstration does with a device, wherever the device runs. */
import type { Address } from '../../core/ip.ts';
import { AppError } from '../../core/errors.ts';
import type { Clock } from '../../core/clock.ts';
import type { LogLevel, Logger } from '../../core/log.ts';
import type { Random } from '../../core/random.ts';
import { PrivateKey, PublicKey } from '../../noise/keys.ts';
import type { Device } from '../../tunnel/device.ts';
import type { Endpoint } from '../../tunnel/endpoint.ts';
import { DROP_REASONS } from '../../tunnel/lane/drops.ts';
import type { DeviceCounters, Handshake } from './stage.ts';

/** Inner addresses. */
export const ALICE: Address = Uint8Array.of(10, 7, 0, 1);
export const BOB: Address = Uint8Array.of(10, 7, 0, 2);

/** Seconds. It starts the handshake at once and is not heard of again during the demonstration. */
const KEEPALIVE = 25;
/** An initiation that was lost is sent again after 5 s. */
const HANDSHAKE_TIMEOUT_MS = 12_000;

export class Party {
  readonly device: Device;
  readonly #log: HandshakeLog;
  readonly #clock: Clock;

  constructor(device: Device, log: HandshakeLog, clock: Clock) {
    this.device = device;
    this.#log = log;
    this.#clock = clock;
  }

  /** Gives the device a key of its own; returns the public one, base64. */
  async begin(random: Random): Promise<string> {
    const privateKey = PrivateKey.generate(random);
    await this.device.configure({ privateKey, peers: [] });
    privateKey.zero();
    return this.#publicKey().base64;
  }

  #publicKey(): PublicKey {
    const { publicKey } = this.device.state();
    if (!publicKey) throw new AppError('internal', 'the device has no key');
    return publicKey;
  }

  /** Waits for the other side to call. `inner`: the one address it may use. */
  async expect(publicKey: string, inner: Address): Promise<void> {
    await this.device.configure({ peers: [peer(publicKey, inner)] });
  }

  async call(publicKey: string, inner: Address, endpoint: Endpoint): Promise<Handshake> {
    const start = this.#clock.now();
    const completed = this.#log.completion(HANDSHAKE_TIMEOUT_MS);
    await this.device.configure({
      peers: [{ ...peer(publicKey, inner), endpoint, persistentKeepalive: KEEPALIVE }],
    });
    await completed;
    return { ms: this.#clock.now() - start };
  }

  counters(): DeviceCounters {
    const drops: Partial<Record<(typeof DROP_REASONS)[number], bigint>> = {};
    for (const reason of DROP_REASONS) {
      const count = this.device.dropped(reason);
      if (count > 0n) drops[reason] = count;
    }
    const { peers } = this.device.state();
    return { txBytes: peers[0]?.txBytes ?? 0n, rxBytes: peers[0]?.rxBytes ?? 0n, drops };
  }
}

function peer(publicKey: string, inner: Address) {
  const prefix = { address: inner, length: inner.length * 8 };
  return {
    publicKey: new PublicKey(Buffer.from(publicKey, 'base64')),
    allowedIps: [{ prefix, remove: false }],
  };
}

/** Hears of the completed handshake, and of nothing else. */
export class HandshakeLog implements Logger {
  #onCompleted: (() => void) | undefined;

  log(_level: LogLevel, event: string): void {
    if (event === 'handshake_completed') this.#onCompleted?.();
  }

  child(): Logger {
    return this;
  }

  /** The next one. Rejects when it takes too long. */
  completion(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new AppError('io', `the handshake did not complete within ${timeoutMs / 1_000} s`)),
        timeoutMs,
      );
      this.#onCompleted = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
