import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Inbox, LaneChannel, Outbox, type OutboxOptions } from '../../../../src/tunnel/lane/channel.ts';
import type { LaneCommands, LaneEvents } from '../../../../src/tunnel/lane/control.ts';
import {
  type CommandMessage,
  COMMANDS,
  EVENTS,
  type EventMessage,
  type Forms,
  wipeKeys,
} from '../../../../src/tunnel/lane/link.ts';

const bytes = fc.uint8Array({ maxLength: 200 });
const number = fc.oneof(fc.nat(0xffff_ffff), fc.double({ noNaN: true }));

/** Of every form what may stand there. */
const FORMS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  number,
  flag: fc.boolean(),
  bytes,
  keypair: fc.record(
    {
      peer: number,
      index: number,
      remoteIndex: number,
      createdAtMs: number,
      isInitiator: fc.boolean(),
      sendKey: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      receiveKey: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    },
    { noNullPrototype: true },
  ),
  json: fc.constantFrom({}, { total: { bytesPerSecond: 1e9, burstBytes: 65_535 } }),
};

function anyOf<Message>(forms: Forms<never>): fc.Arbitrary<Message> {
  const messages = Object.entries(forms as Readonly<Record<string, readonly string[]>>).map(([name, args]) =>
    fc.tuple(fc.constant(name), ...args.map((form) => FORMS[form] as fc.Arbitrary<unknown>)),
  );
  return fc.oneof(...messages) as unknown as fc.Arbitrary<Message>;
}

/** Commands on their way from one end to the other, and how often each end was woken. */
function commandChannel(options: Partial<OutboxOptions<LaneCommands>> = {}) {
  const channel = new LaneChannel();
  const other = new LaneChannel(channel.memory);
  const taken: CommandMessage[] = [];
  const woken = { reader: 0, writer: 0 };
  const outbox = new Outbox<LaneCommands>({
    ring: channel.commands,
    messages: channel.messages,
    forms: COMMANDS,
    wake: () => woken.reader++,
    ...options,
  });
  const inbox = new Inbox<LaneCommands>({
    ring: other.commands,
    messages: other.messages,
    forms: COMMANDS,
    take: (message) => taken.push(message) > 0,
    wake: () => woken.writer++,
  });
  return { channel, other, outbox, inbox, taken, woken };
}

const addPeer = (peer: number): CommandMessage => ['addPeer', peer];

const key = (fill: number) => new Uint8Array(32).fill(fill);
const addKeypair = (fill: number): CommandMessage => [
  'addKeypair',
  {
    peer: 1,
    index: 0xfedc_ba98,
    remoteIndex: 2,
    createdAtMs: 3.5,
    isInitiator: true,
    sendKey: key(fill),
    receiveKey: key(fill),
  },
];

test('channel: every command and every event comes out as it went in', () => {
  fc.assert(
    fc.property(
      fc.array(anyOf<CommandMessage>(COMMANDS as Forms<never>)),
      fc.array(anyOf<EventMessage>(EVENTS as Forms<never>)),
      (commands, raised) => {
        const { outbox, inbox, taken, channel, other } = commandChannel();
        for (const command of commands) outbox.post(command);
        outbox.flush();
        inbox.takeAll();
        assert.deepEqual(taken, commands);

        const { messages } = channel;
        const events = new Outbox<LaneEvents>({
          ring: other.events,
          messages,
          forms: EVENTS,
          wake: () => {},
        });
        const heard: EventMessage[] = [];
        for (const event of raised) events.post(event);
        events.flush();
        new Inbox<LaneEvents>({
          ring: channel.events,
          messages,
          forms: EVENTS,
          take: (event) => heard.push(event) > 0,
          wake: () => {},
        }).takeAll();
        assert.deepEqual(heard, raised);
      },
    ),
    { numRuns: 200 },
  );
});

test('channel: the other end sees and hears nothing before the flush, and is woken once for all', () => {
  const { outbox, inbox, taken, woken } = commandChannel();
  outbox.post(addPeer(1));
  outbox.post(addPeer(2));
  assert.equal(inbox.isWaiting, false);
  inbox.takeAll();
  assert.deepEqual([taken.length, woken.reader], [0, 0]);
  assert.equal(outbox.flush(), true);
  assert.equal(inbox.isWaiting, true);
  assert.equal(outbox.flush(), true);
  assert.equal(woken.reader, 1);
  inbox.takeAll();
  assert.equal(taken.length, 2);
});

test('channel: what finds no room waits, goes in when there is some, and keeps its order', () => {
  const { outbox, inbox, taken, woken } = commandChannel();
  const all = Array.from({ length: 30_000 }, (_, i) => addPeer(i));
  for (const message of all) outbox.post(message);
  let rounds = 0;
  while (!outbox.flush()) {
    const told = woken.writer;
    inbox.takeAll();
    assert.equal(woken.writer, told + 1, 'there is room again');
    rounds++;
  }
  inbox.takeAll();
  assert.ok(rounds >= 3, `${rounds}`);
  assert.deepEqual(taken, all);
  outbox.post(addPeer(1));
  outbox.flush();
  const before = woken.writer;
  inbox.takeAll();
  assert.equal(woken.writer, before, 'nobody waits for room any more');
});

test('channel: of what comes while the other end is taking it is told, and takes it the next time', () => {
  const { other, outbox } = commandChannel();
  let count = 0;
  const inbox = new Inbox<LaneCommands>({
    ring: other.commands,
    messages: other.messages,
    forms: COMMANDS,
    take: () => {
      count++;
      outbox.post(addPeer(count));
      return outbox.flush();
    },
    wake: () => {},
  });
  outbox.post(addPeer(0));
  outbox.flush();
  inbox.takeAll();
  assert.equal(count, 1);
  assert.equal(inbox.isWaiting, true);
  inbox.takeAll();
  assert.equal(count, 2);
});

test('channel: whoever takes may leave what follows for later', () => {
  const { other, outbox } = commandChannel();
  const taken: CommandMessage[] = [];
  const inbox = new Inbox<LaneCommands>({
    ring: other.commands,
    messages: other.messages,
    forms: COMMANDS,
    take: (message) => taken.push(message) !== 2,
    wake: () => {},
  });
  for (const peer of [1, 2, 3]) outbox.post(addPeer(peer));
  outbox.flush();
  assert.equal(inbox.takeAll(), false);
  assert.deepEqual(taken, [addPeer(1), addPeer(2)]);
  assert.equal(inbox.takeAll(), true);
  assert.deepEqual(taken[2], addPeer(3));
});

test('channel: what may not be shown yet is shown by a later flush', () => {
  let may = false;
  const { outbox, inbox, taken, woken } = commandChannel({ mayPublish: () => may });
  outbox.post(addPeer(1));
  assert.equal(outbox.flush(), false);
  assert.deepEqual([inbox.isWaiting, woken.reader], [false, 0]);
  may = true;
  assert.equal(outbox.flush(), true);
  inbox.takeAll();
  assert.deepEqual(taken, [addPeer(1)]);
});

test('channel: session keys are in the memory until they are taken, and not after', () => {
  const { channel, outbox, inbox, taken } = commandChannel();
  const holdsKey = () => Buffer.from(channel.memory).includes(Buffer.from(key(0xa7)));
  outbox.post(addKeypair(0xa7));
  outbox.flush();
  assert.equal(holdsKey(), true);
  inbox.takeAll();
  assert.equal(holdsKey(), false);
  assert.deepEqual(taken, [addKeypair(0xa7)]);

  outbox.post(addKeypair(0xa7));
  assert.equal(holdsKey(), true);
  channel.wipe();
  assert.equal(holdsKey(), false, 'of those that nobody has taken');
});

test('channel: of keys that wait there is a copy, which is wiped when they are in the ring or given up', () => {
  const kept: CommandMessage[] = [];
  const keep = (message: CommandMessage): CommandMessage => {
    const copy = structuredClone(message);
    kept.push(copy);
    return copy;
  };
  const forget = (message: CommandMessage) => {
    if (message[0] === 'addKeypair') wipeKeys(message[1]);
  };
  const { outbox, inbox, taken } = commandChannel({ keep, forget });
  const given = addKeypair(0xa7);
  while (kept.length < 2) outbox.post(given);
  assert.ok(given[0] === 'addKeypair');
  given[1].sendKey.fill(0);
  outbox.flush();
  inbox.takeAll();
  assert.equal(outbox.flush(), true);
  assert.deepEqual(kept, [addKeypair(0), addKeypair(0)]);
  inbox.takeAll();
  assert.deepEqual(taken.at(-1), addKeypair(0xa7));

  while (kept.length < 3) outbox.post(addKeypair(0xa7));
  outbox.clear();
  assert.deepEqual(kept[2], addKeypair(0));
  assert.equal(outbox.flush(), true);
});

test('channel: what is too long for any message is an error, not something that waits for ever', () => {
  const { outbox } = commandChannel();
  assert.throws(() => outbox.post(['sendHandshake', 1, new Uint8Array(70_000)]), RangeError);
});

test('channel: it is stopped for both ends', () => {
  const { channel, other } = commandChannel();
  assert.equal(other.isStopped, false);
  channel.stop();
  assert.equal(other.isStopped, true);
});
