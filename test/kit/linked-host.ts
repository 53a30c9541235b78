/** Lanes as in another thread: every command and event is a message, a copy that arrives in a later turn. */
import type { LaneEvents, LaneHost } from '../../src/tunnel/lane/control.ts';
import { InlineHost, type InlineHostOptions } from '../../src/tunnel/lane/inline-host.ts';
import { applyCommand, commandSender, eventSender, raiseEvent } from '../../src/tunnel/lane/link.ts';

export function linkedHost(options: InlineHostOptions, events: LaneEvents): LaneHost {
  const { defer } = options;
  const lane = new InlineHost(
    options,
    eventSender((event) => {
      const copy = structuredClone(event);
      defer(() => raiseEvent(events, copy));
    }),
  );
  return {
    ...commandSender((command) => {
      const copy = structuredClone(command);
      defer(() => applyCommand(lane, copy));
    }),
    start: () => lane.start(),
    close: () => lane.close(),
    counters: (peer) => lane.counters(peer),
    dropped: (reason) => lane.dropped(reason),
    figures: () => lane.figures(),
  };
}
