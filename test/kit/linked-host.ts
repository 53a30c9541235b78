/** Lanes as in another thread: every command and event crosses a ring and arrives in a later turn. */
import type { RecordRing } from '../../src/core/ring.ts';
import { Inbox, LaneChannel, Outbox } from '../../src/tunnel/lane/channel.ts';
import type { LaneCommands, LaneEvents, LaneHost } from '../../src/tunnel/lane/control.ts';
import { InlineHost, type InlineHostOptions } from '../../src/tunnel/lane/inline-host.ts';
import {
  applyCommand,
  COMMANDS,
  commandSender,
  EVENTS,
  eventSender,
  type Forms,
  type MessageOf,
  raiseEvent,
} from '../../src/tunnel/lane/link.ts';
import type { MessageMemory } from '../../src/tunnel/lane/message-codec.ts';

export function linkedHost(options: InlineHostOptions, events: LaneEvents): LaneHost {
  const { defer } = options;
  const control = new LaneChannel();
  const thread = new LaneChannel(control.memory);
  const raise = crossing<LaneEvents>({
    into: thread.events,
    outOf: control.events,
    messages: control.messages,
    forms: EVENTS,
    take: (event) => raiseEvent(events, event),
    defer,
  });
  const lane = new InlineHost(options, eventSender(raise));
  const command = crossing<LaneCommands>({
    into: control.commands,
    outOf: thread.commands,
    messages: thread.messages,
    forms: COMMANDS,
    take: (message) => applyCommand(lane, message),
    defer,
  });
  return {
    ...commandSender(command),
    start: () => lane.start(),
    close: () => lane.close(),
    counters: (peer) => lane.counters(peer),
    dropped: (reason) => lane.dropped(reason),
    figures: () => lane.figures(),
  };
}

interface Crossing<Methods> {
  /** Each side's view of one ring. */
  readonly into: RecordRing;
  readonly outOf: RecordRing;
  readonly messages: MessageMemory;
  readonly forms: Forms<Methods>;
  readonly take: (message: MessageOf<Methods>) => void;
  readonly defer: (task: () => void) => void;
}

/** What is posted is taken in a later turn. */
function crossing<Methods>(options: Crossing<Methods>): (message: MessageOf<Methods>) => void {
  const { into, outOf, messages, forms, take, defer } = options;
  const inbox = new Inbox<Methods>({
    ring: outOf,
    messages,
    forms,
    take: (message) => {
      take(message);
      return true;
    },
    wake: () => outbox.flush(),
  });
  const outbox = new Outbox<Methods>({
    ring: into,
    messages,
    forms,
    keep: structuredClone,
    wake: () => defer(() => inbox.takeAll()),
  });
  return (message) => {
    outbox.post(message);
    outbox.flush();
  };
}
