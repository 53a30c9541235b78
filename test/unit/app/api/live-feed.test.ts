import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FeedSource, LiveFeed, type RowsChange } from '../../../../src/app/api/live-feed.ts';
import type { EventStream } from '../../../../src/app/api/event-stream.ts';
import type { MachineView } from '../../../../src/app/gateway/admin-views.ts';
import { eventually } from '../../../kit/eventually.ts';

class FakeStream {
  readonly sent: [string, unknown][] = [];
  isBusy = false;
  isEnded = false;
  #drain: () => void = () => {};
  #end: () => void = () => {};

  start(onEnd: () => void): void {
    this.#end = onEnd;
  }
  onDrain(listener: () => void): void {
    this.#drain = listener;
  }
  send(event: string, json: string): void {
    this.sent.push([event, JSON.parse(json)]);
  }
  end(): void {
    this.isEnded = true;
    this.#end();
  }
  drain(): void {
    this.isBusy = false;
    this.#drain();
  }

  /** What a page would show: all changes applied in order. */
  table(): Map<string, MachineView> {
    const table = new Map<string, MachineView>();
    for (const [name, data] of this.sent) {
      if (name !== 'machines') continue;
      const { changed, removed } = data as RowsChange<MachineView>;
      for (const key of removed) table.delete(key);
      for (const change of changed) {
        table.set(change.publicKey, { ...table.get(change.publicKey), ...change } as MachineView);
      }
    }
    return table;
  }

  get ticks(): number {
    return this.sent.filter(([name]) => name === 'tick').length;
  }
}

function machine(number: number, more: Partial<MachineView> = {}): MachineView {
  return {
    id: `m${number}`,
    uuid: `m${number}`,
    state: 'down',
    pendingReason: null,
    transport: null,
    address: `fd00::${number}`,
    publicKey: `key ${number}`,
    endpoint: null,
    lastHandshake: null,
    rxBytes: 0,
    txBytes: 0,
    talosVersion: '',
    tunnel: 'auto',
    labels: {},
    since: '2026-01-01T00:00:00.000Z',
    ...more,
  };
}

function setup(initial: MachineView[]) {
  const state = { machines: initial, topic: 1, looks: 0 };
  let task: (() => void) | undefined;
  const source: FeedSource<MachineView> = {
    rows: () => {
      state.looks++;
      return state.machines;
    },
    topics: () => ({ topic: state.topic }),
  };
  const feed = new LiveFeed({
    rowsEvent: 'machines',
    source,
    every: (each) => {
      task = each;
      return () => (task = undefined);
    },
    wall: () => 0,
    pause: () => Promise.resolve(),
    onError: (error) => {
      throw error;
    },
  });
  const open = () => {
    const stream = new FakeStream();
    feed.open(stream as unknown as EventStream);
    return stream;
  };
  return { state, open, turn: () => task?.(), isRunning: () => task !== undefined };
}

test('a client gets everything, then only the members that changed', async () => {
  const { state, open, turn } = setup([machine(1), machine(2)]);
  const stream = open();
  await eventually('the first turn', () => stream.ticks === 1);
  assert.deepEqual([...stream.table().values()], state.machines);
  stream.sent.length = 0;
  state.machines = [machine(1, { rxBytes: 5, labels: { a: 'b' } }), machine(2, { labels: {} })];
  turn();
  await eventually('the second turn', () => stream.ticks === 1);
  assert.deepEqual(stream.sent.slice(0, -1), [
    ['machines', { changed: [{ rxBytes: 5, labels: { a: 'b' }, publicKey: 'key 1' }], removed: [] }],
  ]);
});

test('a machine that is gone, a new one and another topic are told', async () => {
  const { state, open, turn } = setup([machine(1), machine(2)]);
  const stream = open();
  await eventually('the first turn', () => stream.ticks === 1);
  state.machines = [machine(2), machine(3)];
  state.topic = 2;
  turn();
  await eventually('the second turn', () => stream.ticks === 2);
  assert.deepEqual([...stream.table().keys()], ['key 2', 'key 3']);
  assert.deepEqual(
    stream.sent.filter(([name]) => name === 'topic'),
    [
      ['topic', 1],
      ['topic', 2],
    ],
  );
});

test('a client that does not read gets one difference later, not all of them', async () => {
  const { state, open, turn } = setup([machine(1)]);
  const [slow, quick] = [open(), open()];
  await eventually('the first turn', () => slow.ticks === 1 && quick.ticks === 1);
  slow.isBusy = true;
  for (let i = 1; i <= 10; i++) {
    state.machines = [machine(1, { rxBytes: i }), ...(i === 5 ? [machine(2)] : [])];
    turn();
    await eventually('the quick one has it', () => quick.ticks === i + 1);
  }
  assert.equal(slow.ticks, 1);
  slow.drain();
  await eventually('the slow one has it', () => slow.ticks === 2);
  assert.deepEqual(slow.table(), quick.table());
});

test('thousands of machines come in events of 500', async () => {
  const { open } = setup(Array.from({ length: 1_201 }, (_, i) => machine(i)));
  const stream = open();
  await eventually('the first turn', () => stream.ticks === 1);
  const sizes = stream.sent
    .filter(([name]) => name === 'machines')
    .map(([, data]) => (data as RowsChange<MachineView>).changed.length);
  assert.deepEqual(sizes, [500, 500, 201]);
});

test('the time of a handshake trembles by less than a second without being told', async () => {
  const at = (ms: number) => machine(1, { lastHandshake: new Date(1_000_000 + ms).toISOString() });
  const { state, open, turn } = setup([at(0)]);
  const stream = open();
  await eventually('the first turn', () => stream.ticks === 1);
  state.machines = [at(999)];
  turn();
  await eventually('the second turn', () => stream.ticks === 2);
  assert.equal(stream.sent.filter(([name]) => name === 'machines').length, 1);
  state.machines = [at(1_000)];
  turn();
  await eventually('the third turn', () => stream.ticks === 3);
  assert.equal(stream.table().get('key 1')?.lastHandshake, at(1_000).lastHandshake);
});

test('nobody looks while nobody watches', async () => {
  const { state, open, isRunning } = setup([machine(1)]);
  assert.equal(isRunning(), false);
  const stream = open();
  await eventually('the first turn', () => stream.ticks === 1);
  assert.equal(isRunning(), true);
  stream.end();
  assert.equal(isRunning(), false);
  const { looks } = state;
  open();
  assert.equal(state.looks, looks + 1);
});
