/** A WireGuard device whose interface is memory and whose sockets are Node's own: all of it works without rights. */
import type { Arena } from '../../core/arena.ts';
import { systemClock } from '../../core/clock.ts';
import type { Logger } from '../../core/log.ts';
import { systemRandom } from '../../core/random.ts';
import { OVERLAY_MTU } from '../../link/constants.ts';
import { WasmTransportAead } from '../../noise/aead-wasm.ts';
import { wasmBlake2s } from '../../noise/blake2s-wasm.ts';
import { nodeCrypto } from '../../noise/crypto-node.ts';
import { MemoryTun } from '../../tun/memory.ts';
import { DgramBind } from '../../tunnel/bind-dgram.ts';
import { Device } from '../../tunnel/device.ts';
import { inlineStreams } from '../../tunnel/inline-streams.ts';
import { InlineHost } from '../../tunnel/lane/inline-host.ts';
import type { LanePolicy } from '../../tunnel/lane/policy.ts';
import type { StreamBridge } from '../../tunnel/stream-bridge.ts';
import { Alarm } from '../alarm.ts';
import { outerQueues } from '../queues.ts';
import type { Engine } from '../runtime.ts';

/** Of the arena, for one device. */
export const MEMORY_DEVICE_BYTES: number = 8 << 20;

export interface MemoryDevice {
  readonly device: Device;
  readonly tun: MemoryTun;
  readonly streams: StreamBridge;
  engine(): Engine;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface MemoryDeviceOptions {
  readonly name: string;
  /** May be shared with others on this thread. */
  readonly arena: Arena;
  readonly policy?: LanePolicy;
  readonly logger: Logger;
}

/** Neither up nor configured. */
export function createMemoryDevice({ name, arena, policy = {}, logger }: MemoryDeviceOptions): MemoryDevice {
  const udp = new DgramBind(arena);
  const { port, bridge } = inlineStreams(arena, udp, { soon: queueMicrotask, defer: setImmediate });
  const tun = new MemoryTun(arena, name, OVERLAY_MTU);
  const aead = new WasmTransportAead(arena);
  const lane = { arena, aead, clock: systemClock, tun, bind: port, defer: setImmediate, policy };
  const alarm = new Alarm((now) => device.advance(now));
  const crypto = nodeCrypto(wasmBlake2s());
  const device = new Device({
    crypto,
    clock: systemClock,
    random: systemRandom,
    logger,
    bind: udp,
    defer: setImmediate,
    onEarlierDeadline: (at) => alarm.set(at),
    createLane: (events) => new InlineHost(lane, events),
  });
  device.setMtu(OVERLAY_MTU);
  tun.setLink(true);
  return {
    device,
    tun,
    streams: bridge,
    engine: () => ({
      lanes: 'inline',
      tunFormat: 'plain',
      transport: aead.name,
      x25519: crypto.x25519.name,
      blake2s: crypto.blake2s.name,
      laneThreads: [],
      gso: 'off',
      gro: 'off',
      queues: outerQueues({ tun: undefined, sockets: [], streams: bridge.fill() }),
    }),
    close: async () => {
      await device.close();
      alarm.cancel();
      tun.close();
    },
  };
}
