import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { SystemError } from '../../../src/core/errors.ts';
import * as errno from '../../../src/sys/errno.ts';

test(
  'every error number this project compares with is the one of this machine',
  {
    skip: process.platform === 'linux' ? false : 'SKIPPED: needs Linux',
  },
  () => {
    for (const [name, number] of Object.entries(errno)) {
      if (typeof number !== 'number') continue;
      // Node does not list EBADFD.
      const listed = (constants.errno as Record<string, number>)[name] ?? 77;
      assert.equal(number, listed, name);
    }
  },
);

test('error numbers print by name, unknown ones by number', () => {
  assert.equal(errno.errnoName(errno.EADDRINUSE), 'EADDRINUSE');
  assert.equal(errno.errnoName(errno.EAGAIN), 'EAGAIN');
  assert.equal(errno.errnoName(errno.EBADFD), 'EBADFD');
  assert.equal(errno.errnoName(4711), 'errno 4711');
});

test('a system error has a stable code, the number and a message with place and reason', () => {
  const error = errno.systemError('bind UDP port 51820', errno.EADDRINUSE, 'choose another port');
  assert.ok(error instanceof SystemError);
  assert.deepEqual(
    [error.code, error.errno, error.errnoName, error.message, error.hint],
    ['in_use', 98, 'EADDRINUSE', 'bind UDP port 51820: EADDRINUSE', 'choose another port'],
  );
  assert.equal(errno.systemError('x', errno.EPERM).code, 'permission');
  assert.equal(errno.systemError('x', errno.ENODEV).code, 'not_found');
  assert.equal(errno.systemError('x', errno.EIO).code, 'io');
});
