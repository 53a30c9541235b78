/** Lanes as in another thread: every command and event crosses a ring and arrives in a later turn. */
import { Inbox, LaneChannel, Outbox } from '../../src/tunnel/lane/channel.ts';
import type { LaneCommands, LaneEvents, LaneHost } from '../../src/tunnel/lane/control.ts';
import { InlineHost, type InlineHostOptions } from '../../src/tunnel/lane/inline-host.ts';
import {
  applyCommand,
  COMMANDS,
  commandSender,
  EVENTS,
  eventSender,
  raiseEvent,
} from '../../src/tunnel/lane/link.ts';

export function linkedHost(options: InlineHostOptions, events: LaneEvents): LaneHost {
  const { defer } = options;
  const control = new LaneChannel();
  const thread = new LaneChannel(control.memory);
  const { messages } = control;
  const lane: InlineHost = new InlineHost(
    options,
    eventSender((event) => {
      eventOutbox.post(event);
      eventOutbox.flush();
    }),
  );
  const eventInbox = new Inbox<LaneEvents>({
    ring: control.events,
    messages,
    forms: EVENTS,
    take: (event) => {
      raiseEvent(events, event);
      return true;
    },
    wake: () => eventOutbox.flush(),
  });
  const eventOutbox = new Outbox<LaneEvents>({
    ring: thread.events,
    messages,
    forms: EVENTS,
    wake: () => defer(() => eventInbox.takeAll()),
  });
  const commandInbox = new Inbox<LaneCommands>({
    ring: thread.commands,
    messages,
    forms: COMMANDS,
    take: (command) => {
      applyCommand(lane, command);
      return true;
    },
    wake: () => commandOutbox.flush(),
  });
  const commandOutbox = new Outbox<LaneCommands>({
    ring: control.commands,
    messages,
    forms: COMMANDS,
    keep: structuredClone,
    wake: () => defer(() => commandInbox.takeAll()),
  });
  return {
    ...commandSender((command) => {
      commandOutbox.post(command);
      commandOutbox.flush();
    }),
    start: () => lane.start(),
    close: () => lane.close(),
    counters: (peer) => lane.counters(peer),
    dropped: (reason) => lane.dropped(reason),
    figures: () => lane.figures(),
  };
}
