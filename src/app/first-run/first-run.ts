/**
 * The guided first run of a gateway: two machines join it, one over UDP and one through a gRPC stream, and pings go
 * between them and the gateway. They stay until the gateway ends.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../../core/errors.ts';
import { formatTime } from '../demo/figures.ts';
import type { Screen } from '../demo/screen.ts';
import type { Admin } from '../gateway/admin.ts';
import type { MachineTransport, MachineView } from '../gateway/admin-views.ts';
import type { CreateGuest, Guest } from './guests.ts';

export interface FirstRunOptions {
  readonly admin: Admin;
  /** Where the machines find the API, on this very machine. */
  readonly url: string;
  readonly createGuest: CreateGuest;
  readonly screen: Screen;
}

/** Machines that stay joined until this is closed. */
export interface FirstRun {
  /** Takes the machines away, from the gateway's list too. Idempotent. */
  close(): Promise<void>;
}

const TRANSPORTS = ['udp', 'grpc'] as const;
const WORDS: Readonly<Record<MachineTransport, string>> = { udp: 'UDP', grpc: 'a gRPC stream' };
const UUIDS: Readonly<Record<MachineTransport, string>> = {
  udp: 'c0c0c0c0-0000-4000-8000-000000000001',
  grpc: 'c0c0c0c0-0000-4000-8000-000000000002',
};
const PINGS = 10;
const PING_INTERVAL_MS = 20;
const PING_TIMEOUT_MS = 1_000;
const JOIN_TIMEOUT_MS = 20_000;
const ACCEPT_INTERVAL_MS = 100;

/** Shows what it does. Rejects with AppError when a step fails; then the machines are gone again. */
export async function showFirstRun(options: FirstRunOptions): Promise<FirstRun> {
  const run = new Run(options);
  try {
    await run.play();
  } catch (error) {
    await run.close();
    throw error;
  }
  return run;
}

class Run implements FirstRun {
  readonly #options: FirstRunOptions;
  readonly #guests: Guest[] = [];
  #closing: Promise<void> | undefined;

  constructor(options: FirstRunOptions) {
    this.#options = options;
  }

  async play(): Promise<void> {
    const { screen, createGuest } = this.#options;
    screen.heading('Two machines of its own');
    for (const transport of TRANSPORTS) {
      screen.live(transport, 'joining');
      const guest = createGuest(transport, UUIDS[transport]);
      this.#guests.push(guest);
      const { view, ms } = await this.#join(guest, transport);
      const times = await this.#ping(guest, view, transport);
      screen.item(
        transport,
        `joined over ${WORDS[transport]} in ${formatTime(ms)} as ${view.address}`,
        describe(times),
      );
    }
  }

  async #join(guest: Guest, transport: MachineTransport): Promise<{ view: MachineView; ms: number }> {
    const { admin, url } = this.#options;
    const uuid = UUIDS[transport];
    const start = performance.now();
    let isDone = false;
    const accepting = this.#acceptUntil(uuid, () => isDone);
    const timeout = new AbortController();
    try {
      await Promise.race([guest.join(url), expire(timeout.signal, transport)]);
    } finally {
      timeout.abort();
      isDone = true;
      await accepting;
    }
    return { view: admin.machine(uuid), ms: performance.now() - start };
  }

  /** With `--accept manual` somebody has to say yes; these two are ours. */
  async #acceptUntil(uuid: string, isDone: () => boolean): Promise<void> {
    const { admin } = this.#options;
    while (!isDone()) {
      const waiting = admin
        .machines()
        .find((machine) => machine.uuid === uuid && machine.state === 'pending');
      if (waiting) await admin.accept(waiting.publicKey).catch(() => {});
      await pause(ACCEPT_INTERVAL_MS);
    }
  }

  async #ping(
    guest: Guest,
    { address }: MachineView,
    transport: MachineTransport,
  ): Promise<readonly number[]> {
    const times: number[] = [];
    for (let i = 1; i <= PINGS; i++) {
      this.#options.screen.live(transport, `ping ${i} of ${PINGS}`);
      const ms = await guest.ping(address, PING_TIMEOUT_MS);
      if (ms !== undefined) times.push(ms);
      await pause(PING_INTERVAL_MS);
    }
    if (times.length === 0)
      throw new AppError('io', `none of ${PINGS} pings between ${address} and the gateway was answered`);
    return times;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#guests.map((guest) => guest.close()));
    const { admin } = this.#options;
    for (const uuid of Object.values(UUIDS)) {
      // A gateway that has ended meanwhile takes no changes; the next run finds the same two machines.
      if (admin.machines().some((machine) => machine.uuid === uuid)) await admin.remove(uuid).catch(() => {});
    }
  }
}

function describe(times: readonly number[]): string {
  const average = times.reduce((sum, ms) => sum + ms, 0) / times.length;
  const figures = [Math.min(...times), average, Math.max(...times)].map((ms) => ms.toFixed(2));
  return `${times.length} of ${PINGS} pings answered, ${figures.join(' / ')} ms (min / avg / max)`;
}

async function expire(signal: AbortSignal, transport: MachineTransport): Promise<never> {
  await pause(JOIN_TIMEOUT_MS, undefined, { signal });
  throw new AppError('io', `the machine over ${WORDS[transport]} could not join within 20 s`, {
    hint:
      transport === 'udp'
        ? 'can this machine reach itself at the address of --wg-endpoint?'
        : 'is the API reachable?',
  });
}
