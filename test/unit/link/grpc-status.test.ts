import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import * as fc from 'fast-check';
import {
  percentDecode,
  percentEncode,
  readStatus,
  STATUS,
  statusName,
  statusOfHttp,
  statusTrailers,
} from '../../../src/link/grpc-status.ts';

test('codes are those of grpc-js', () => {
  for (const [name, code] of Object.entries(STATUS)) {
    assert.equal(grpcStatus[code], name);
    assert.equal(statusName(code), name);
  }
});

test('texts that peers compare pass unchanged', () => {
  assert.deepEqual(statusTrailers({ code: STATUS.ABORTED, message: 'peer replaced' }), {
    'grpc-status': '10',
    'grpc-message': 'peer replaced',
  });
});

test('any text survives the trailer, which holds printable ASCII only', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const encoded = percentEncode(text);
      assert.match(encoded, /^[ -~]*$/);
      assert.equal(percentDecode(encoded), text);
    }),
  );
  assert.equal(percentEncode('50% ü\n'), '50%25 %C3%BC%0A');
});

test('malformed escapes stay as they are', () => {
  assert.equal(percentDecode('100%, %zz, %4'), '100%, %zz, %4');
});

test('a status is read from trailers, unknown codes as UNKNOWN, none as undefined', () => {
  assert.deepEqual(readStatus({ 'grpc-status': '7', 'grpc-message': 'peer%20not allowed' }), {
    code: STATUS.PERMISSION_DENIED,
    message: 'peer not allowed',
  });
  assert.deepEqual(readStatus({ 'grpc-status': '99' }), { code: STATUS.UNKNOWN, message: '' });
  assert.equal(readStatus({ 'grpc-status': 'x' }), undefined);
  assert.equal(readStatus({}), undefined);
});

test('a proxy answering in place of the server reads as temporarily unavailable', () => {
  for (const code of [429, 502, 503, 504]) assert.equal(statusOfHttp(code).code, STATUS.UNAVAILABLE);
  assert.equal(statusOfHttp(403).code, STATUS.PERMISSION_DENIED);
  assert.equal(statusOfHttp(418).code, STATUS.UNKNOWN);
});
