import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { LineFramer } from '../../../src/link/line-framer.ts';

function collect(maxLength = 100): { framer: LineFramer; lines: string[]; tooLong: number[] } {
  const lines: string[] = [];
  const tooLong: number[] = [];
  const framer = new LineFramer(maxLength, {
    line: (bytes) => lines.push(Buffer.from(bytes).toString()),
    tooLong: (size) => tooLong.push(size),
  });
  return { framer, lines, tooLong };
}

test('lines come out whole however the stream is cut; empty ones are left out', () => {
  const text = fc.stringMatching(/^[a-z ]{0,90}$/);
  fc.assert(
    fc.property(fc.array(text), fc.array(fc.nat(1000)), fc.constantFrom('\n', '\r\n'), (sent, cuts, end) => {
      const { framer, lines, tooLong } = collect();
      const stream = Buffer.from(sent.map((line) => line + end).join(''));
      const places = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b);
      for (const [i, start] of [0, ...places].entries()) framer.push(stream.subarray(start, places[i]));
      assert.deepEqual(
        lines,
        sent.filter((line) => line !== ''),
      );
      assert.deepEqual(tooLong, []);
    }),
  );
});

test('a line of exactly the bound passes; a longer one is dropped whole and the next one read', () => {
  for (const size of [1, 7, 1000]) {
    const { framer, lines, tooLong } = collect(10);
    const stream = Buffer.from(`0123456789\n${'x'.repeat(11)}\n${'y'.repeat(500)}\nnext\n`);
    for (let at = 0; at < stream.length; at += size) framer.push(stream.subarray(at, at + size));
    assert.deepEqual(lines, ['0123456789', 'next']);
    assert.deepEqual(tooLong, [11, 500]);
  }
});

test('the last line needs no end', () => {
  const { framer, lines } = collect();
  framer.push(Buffer.from('a\nb'));
  framer.end();
  framer.end();
  assert.deepEqual(lines, ['a', 'b']);
});
