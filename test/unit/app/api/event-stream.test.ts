import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { EventStream } from '../../../../src/app/api/event-stream.ts';

class FakeResponse extends EventEmitter {
  readonly written: string[] = [];
  writableNeedDrain = false;
  destroyed = false;
  writeHead(): void {}
  flushHeaders(): void {}
  write(text: string): void {
    this.written.push(text);
  }
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

function started(): { response: FakeResponse; ends: number[] } {
  const response = new FakeResponse();
  const ends: number[] = [];
  new EventStream(response as unknown as ServerResponse).start(() => ends.push(1));
  return { response, ends };
}

test('a silent stream says every 15 s that it lives, and nothing after its end', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { response, ends } = started();
  t.mock.timers.tick(14_999);
  assert.deepEqual(response.written, []);
  t.mock.timers.tick(1);
  assert.deepEqual(response.written, [':\n\n']);
  response.destroy();
  t.mock.timers.tick(60_000);
  assert.deepEqual([response.written.length, ends.length], [1, 1]);
});

test('a client that takes nothing for a minute is cut off, one that drains in between is not', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { response, ends } = started();
  response.writableNeedDrain = true;
  t.mock.timers.tick(45_000);
  response.emit('drain');
  t.mock.timers.tick(59_999);
  assert.equal(response.destroyed, false);
  t.mock.timers.tick(1);
  assert.deepEqual([response.destroyed, ends.length], [true, 1]);
  assert.deepEqual(response.written, []);
});
