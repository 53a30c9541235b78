import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Screen } from '../../../src/app/demo/screen.ts';

function screen(options: { isLive?: boolean; isColoured?: boolean; columns?: number } = {}) {
  const { isLive = false, isColoured = false, columns = 80 } = options;
  const written: string[] = [];
  return {
    screen: new Screen({ write: (text) => written.push(text), isLive, isColoured, columns: () => columns }),
    text: () => written.join(''),
  };
}

test('piped output has whole lines only, each once', () => {
  const { screen: piped, text } = screen();
  piped.live('ping', '1 of 10');
  piped.live('ping', '2 of 10');
  piped.item('ping', '10 of 10 answered');
  piped.clear();
  assert.equal(text(), '  ping        10 of 10 answered\n');
});

test('on a terminal a live line is replaced by the next output', () => {
  const { screen: live, text } = screen({ isLive: true });
  live.live('ping', '1 of 10');
  live.item('ping', 'done');
  assert.equal(text(), '\r\x1b[K  ping        1 of 10\r\x1b[K  ping        done\n');
});

test('a live line never wraps', () => {
  const { screen: live, text } = screen({ isLive: true, columns: 20 });
  live.live('transfer', '0123456789');
  assert.equal(text(), '\r\x1b[K  transfer    01234');
});

test('a live line is taken away once', () => {
  const { screen: live, text } = screen({ isLive: true });
  live.live('transfer', 'x');
  live.clear();
  live.clear();
  assert.equal(text(), '\r\x1b[K  transfer    x\r\x1b[K');
});

test('further lines of an item are aligned below the first', () => {
  const { screen: piped, text } = screen();
  piped.item('devices', 'alice', 'bob');
  assert.equal(text(), '  devices     alice\n              bob\n');
});

test('colours are added only when wanted', () => {
  const { screen: coloured, text } = screen({ isColoured: true });
  coloured.heading('Summary');
  coloured.item('ping', 'done');
  assert.equal(text(), '\n\x1b[1mSummary\x1b[0m\n  \x1b[32mping       \x1b[0m done\n');
});
