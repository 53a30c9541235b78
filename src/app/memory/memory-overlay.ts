/** The overlay of a gateway without rights: machines join, and their pings are answered; other packets have no taker. */
import { Arena } from '../../core/arena.ts';
import type { Logger } from '../../core/log.ts';
import { SERVER_ADDRESS } from '../../link/addresses.ts';
import type { PrivateKey } from '../../noise/keys.ts';
import { overlayOf } from '../gateway/device-overlay.ts';
import type { Overlay } from '../gateway/overlay.ts';
import { echoReply } from './echo.ts';
import { createMemoryDevice } from './memory-device.ts';

const ARENA_BYTES: number = 16 << 20;

export interface MemoryOverlayOptions {
  /** UDP. */
  readonly port: number;
  readonly privateKey: PrivateKey;
  readonly logger: Logger;
}

export async function openMemoryOverlay({
  port,
  privateKey,
  logger,
}: MemoryOverlayOptions): Promise<Overlay> {
  const memory = createMemoryDevice({
    name: 'memory',
    arena: new Arena({ bytes: ARENA_BYTES }),
    policy: { onlyDestination: SERVER_ADDRESS },
    logger,
  });
  const { device, tun } = memory;
  tun.take = (packet) => {
    const reply = echoReply(packet);
    if (reply) setImmediate(() => tun.inject(reply));
  };
  try {
    await device.configure({ privateKey, listenPort: port, peers: [] });
    await device.up();
  } catch (error) {
    await memory.close();
    throw error;
  }
  let end: (reason: string) => void = () => {};
  const closed = new Promise<string>((resolve) => (end = resolve));
  return overlayOf({
    ...memory,
    name: 'memory',
    closed,
    close: async (reason) => {
      await memory.close();
      end(reason);
    },
  });
}
