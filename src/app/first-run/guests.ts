/** The machines of the guided first run, as the run sees them. */
import { setTimeout as pause } from 'node:timers/promises';
import { Arena } from '../../core/arena.ts';
import { AppError } from '../../core/errors.ts';
import { parseAddress } from '../../core/ip.ts';
import { parseJoinUrl } from '../../link/join-url.ts';
import { CalledProcess } from '../demo/calls.ts';
import type { TrafficCalls } from '../demo/traffic-process.ts';
import type { MachineTransport } from '../gateway/admin-views.ts';
import { MEMORY_DEVICE_BYTES } from '../memory/memory-device.ts';
import { MemoryMachine } from '../memory/memory-machine.ts';
import type { MachineCalls } from './machine-process.ts';

export interface Guest {
  /** Resolves when it has joined. */
  join(url: string): Promise<void>;
  /** Milliseconds of the round trip; undefined when no answer came in time. */
  ping(address: string, timeoutMs: number): Promise<number | undefined>;
  /** Idempotent. */
  close(): Promise<void>;
}

export type CreateGuest = (transport: MachineTransport, uuid: string) => Guest;

const MACHINE_PROCESS = new URL('./machine-process.js', import.meta.url);
const TRAFFIC_PROCESS = new URL('../demo/traffic-process.js', import.meta.url);

/** A process with an interface in a namespace of its own; it is pinged from the namespace of the gateway. */
export const createProcessGuest: CreateGuest = (transport, uuid) => {
  const machine = new CalledProcess<MachineCalls>(`the machine over ${transport}`, MACHINE_PROCESS);
  const pinger = new CalledProcess<TrafficCalls>('the pinging application', TRAFFIC_PROCESS);
  return {
    join: async (url) => {
      const joined = machine.call('join', { url, uuid, transport, interfaceName: `culvert-${transport}` });
      await Promise.race([joined, machine.end]);
    },
    ping: (address, timeoutMs) => {
      const to = parseAddress(address);
      if (!to) throw new AppError('internal', `${address} is not an address`);
      return pinger.call('ping', { to, timeoutMs });
    },
    close: async () => {
      await Promise.all([machine.close(), pinger.close()]);
    },
  };
};

const ANSWER_POLL_MS = 1;

/** A machine in this process whose interface is memory; it pings the gateway. */
export const createMemoryGuest: CreateGuest = (transport, uuid) => {
  const machine = new MemoryMachine(uuid);
  const ping = async (timeoutMs: number): Promise<number | undefined> => {
    const start = performance.now();
    machine.ping();
    while (performance.now() - start < timeoutMs) {
      await pause(ANSWER_POLL_MS);
      if (machine.isAnswered()) return performance.now() - start;
    }
    return undefined;
  };
  return {
    join: async (url) => {
      const { host, port, isPlaintext, joinToken = '' } = parseJoinUrl(url, 'join URL');
      const target = { host, port, isPlaintext, joinToken };
      await machine.provision(target, transport === 'grpc');
      await machine.connect(target, new Arena({ bytes: MEMORY_DEVICE_BYTES }));
      // The first answers say that the session stands.
      while ((await ping(1_000)) === undefined && machine.ended === undefined);
      if (machine.ended !== undefined) throw new AppError('io', `its stream has ended: ${machine.ended}`);
    },
    ping: (_address, timeoutMs) => ping(timeoutMs),
    close: () => machine.close(),
  };
};
