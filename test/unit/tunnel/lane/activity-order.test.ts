import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ActivityOrder } from '../../../../src/tunnel/lane/activity-order.ts';
import { ACTIVITY } from '../../../../src/tunnel/lane/control.ts';

const { sent, dataSent, received, dataReceived, needsSession, rekeyOnSend } = ACTIVITY;
const PEER = 7;

/** What the control plane hears of these reports. */
function heard(...reports: readonly (readonly [bits: number, at: number])[]): number[] {
  const bits: number[] = [];
  const order = new ActivityOrder({ activity: (_, each) => bits.push(each) });
  order.addPeer(PEER);
  for (const [each, at] of reports) order.activity(PEER, each, at);
  return bits;
}

test('activity order: reports in the order of what they tell are passed on as they are', () => {
  assert.deepEqual(heard([sent | dataSent, 1], [received | dataReceived, 2], [sent, 3]), [
    sent | dataSent,
    received | dataReceived,
    sent,
  ]);
});

test('activity order: a packet reported after its answer does not look unanswered', () => {
  assert.deepEqual(heard([received | dataReceived, 2], [sent | dataSent, 1]), [
    received | dataReceived,
    sent | dataSent,
    received | dataReceived,
  ]);
});

test('activity order: an answer reported after it was answered does not ask for a keepalive', () => {
  assert.deepEqual(heard([sent, 2], [received | dataReceived, 1]), [sent, received | dataReceived, sent]);
});

test('activity order: only what is later is said again', () => {
  // Data at 1, a keepalive at 3; what came between calls off the wait for an answer, and the keepalive waits for none.
  assert.deepEqual(heard([sent | dataSent, 1], [sent, 3], [received, 2]), [
    sent | dataSent,
    sent,
    received,
    sent,
  ]);
  assert.deepEqual(heard([sent | dataSent, 1], [sent, 3], [received, 0]).at(-1), sent | dataSent);
});

test('activity order: wishes for a session are no fact that could be late, and are not repeated', () => {
  assert.deepEqual(heard([sent | rekeyOnSend, 2], [needsSession, 0], [received, 1]), [
    sent | rekeyOnSend,
    needsSession,
    received,
    sent,
  ]);
});

test('activity order: of a peer that was removed nothing is kept', () => {
  const bits: number[] = [];
  const order = new ActivityOrder({ activity: (_, each) => bits.push(each) });
  order.addPeer(PEER);
  order.activity(PEER, sent, 2);
  order.removePeer(PEER);
  order.activity(PEER, sent, 2);
  order.addPeer(PEER);
  order.activity(PEER, received, 1);
  assert.deepEqual(bits, [sent, sent, received]);
});
