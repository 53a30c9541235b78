/** Streams beside UDP for lanes that run on the streams' own thread. */
import type { Arena } from '../core/arena.ts';
import type { DatagramPort } from './bind.ts';
import { RingBridge, type RingBridgeOptions, type StreamBridge } from './stream-bridge.ts';
import { CarrierPort, StreamPort } from './stream-port.ts';

export interface InlineStreams {
  readonly port: DatagramPort;
  readonly bridge: StreamBridge;
}

/** `soon` and `defer` as in RingBridgeOptions. */
export function inlineStreams(
  arena: Arena,
  udp: DatagramPort,
  { soon, defer }: Pick<RingBridgeOptions, 'soon' | 'defer'>,
): InlineStreams {
  const streams = new StreamPort({
    arena,
    sendErrors: udp.sendErrors,
    wakeStreams: () => defer(bridge.turn),
  });
  const bridge = new RingBridge({ arena, soon, defer, wakeLane: () => streams.readable() });
  bridge.use(streams.ringsAt);
  return { port: new CarrierPort(arena, udp, streams), bridge };
}
