import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { FrameParser, frameMessage, writeFramePrefix } from '../../../src/link/grpc-frame.ts';

function collect(maxMessageBytes = 1000): { parser: FrameParser; messages: Uint8Array[] } {
  const messages: Uint8Array[] = [];
  const parser = new FrameParser(maxMessageBytes, (bytes, at, length) =>
    messages.push(Uint8Array.from(bytes.subarray(at, at + length))),
  );
  return { parser, messages };
}

/** `stream` cut at the given places. */
function cut(stream: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [...new Set(places.map((place) => place % (stream.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((start, i) => stream.subarray(start, at[i] ?? stream.length));
}

test('messages come out whole and in order however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 }),
      fc.array(fc.nat(5000), { maxLength: 30 }),
      (sent, places) => {
        const { parser, messages } = collect();
        for (const chunk of cut(Buffer.concat(sent.map(frameMessage)), places)) {
          assert.equal(parser.push(chunk), undefined);
        }
        assert.deepEqual(messages, sent);
        assert.ok(parser.isAtBoundary);
      },
    ),
  );
});

test('one byte at a time is enough, and the boundary shows only between messages', () => {
  const { parser, messages } = collect();
  const stream = frameMessage(Uint8Array.of(1, 2, 3));
  for (const [i, byte] of stream.entries()) {
    parser.push(Uint8Array.of(byte));
    assert.equal(parser.isAtBoundary, i === stream.length - 1);
  }
  assert.deepEqual(messages, [Uint8Array.of(1, 2, 3)]);
});

test('a message of exactly the bound passes, one byte more ends parsing before anything is stored', () => {
  const { parser, messages } = collect(100);
  assert.equal(parser.push(frameMessage(new Uint8Array(100))), undefined);
  const prefix = new Uint8Array(5);
  writeFramePrefix(prefix, 0, 101);
  assert.equal(parser.push(prefix), 'too_large');
  assert.equal(parser.push(frameMessage(Uint8Array.of(1))), 'too_large');
  assert.equal(messages.length, 1);
});

test('the largest length that a prefix can carry is refused and not taken for a negative number', () => {
  assert.equal(collect().parser.push(Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff)), 'too_large');
  const split = collect().parser;
  split.push(Uint8Array.of(0, 0xff));
  assert.equal(split.push(Uint8Array.of(0xff, 0xff, 0xff)), 'too_large');
});

test('the compressed flag is refused', () => {
  const { parser, messages } = collect();
  assert.equal(parser.push(Uint8Array.of(1, 0, 0, 0, 1, 7)), 'compressed');
  assert.deepEqual(messages, []);
});

test('messages before an error in the same chunk are delivered', () => {
  const { parser, messages } = collect();
  const chunk = Buffer.concat([frameMessage(Uint8Array.of(9)), Uint8Array.of(2, 0, 0, 0, 0)]);
  assert.equal(parser.push(chunk), 'compressed');
  assert.deepEqual(messages, [Uint8Array.of(9)]);
});

test('arbitrary bytes never throw', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }), (chunks) => {
      const { parser } = collect();
      for (const chunk of chunks) parser.push(chunk);
    }),
  );
});
