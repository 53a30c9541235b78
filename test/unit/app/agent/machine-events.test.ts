import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  addressEvent,
  eventId,
  EventSender,
  MAX_WAITING_EVENTS,
  statusEvent,
} from '../../../../src/app/agent/machine-events.ts';
import { silentLogger } from '../../../../src/core/log.ts';
import type { EventRequest } from '../../../../src/gen/events/events.ts';
import { FakeClock } from '../../../kit/clock.ts';
import { loadProtos } from '../../../kit/protos.ts';
import { seededRandom } from '../../../kit/random.ts';
import { until } from '../../../kit/until.ts';

const protos = loadProtos();

test('events are the messages of proto/machine under Go’s type URLs', () => {
  const status = statusEvent('RUNNING', true);
  assert.equal(status?.typeUrl, 'type.googleapis.com/machine.MachineStatusEvent');
  const read = (type: string, value: Uint8Array) => protos.lookupType(type).decode(value).toJSON();
  assert.deepEqual(read('machine.MachineStatusEvent', status.value), {
    stage: 'RUNNING',
    status: { ready: true },
  });
  const address = addressEvent('host', ['fd00::1']);
  assert.equal(address?.typeUrl, 'type.googleapis.com/machine.AddressEvent');
  assert.deepEqual(read('machine.AddressEvent', address.value), { hostname: 'host', addresses: ['fd00::1'] });
});

test('event ids have the form of Talos’s, sort by time and differ', () => {
  const random = seededRandom(1);
  const ids = [1_000, 1_000, 2_000, 1_767_225_600_000].map((wallMs) => eventId(wallMs, random));
  for (const id of ids) assert.match(id, /^[0-9a-v]{20}$/);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(ids[0]?.slice(0, 6), ids[1]?.slice(0, 6));
  assert.deepEqual(ids.slice(1), ids.slice(1).toSorted());
});

interface Kit {
  readonly sender: EventSender;
  readonly delivered: EventRequest[];
  readonly attempts: { event: EventRequest; signal: AbortSignal; settle: (ok: boolean) => void }[];
}

/** A sink that answers each attempt when told to, or at once. */
function kitFor(t: TestContext, answersAtOnce = true): Kit {
  const delivered: EventRequest[] = [];
  const attempts: Kit['attempts'] = [];
  const sender = new EventSender({
    clock: new FakeClock(),
    random: seededRandom(1),
    logger: silentLogger,
    deliver: (event, signal) =>
      new Promise((resolve, reject) => {
        const settle = (ok: boolean) => {
          if (ok) {
            delivered.push(event);
            resolve();
          } else reject(new Error('refused'));
        };
        signal.addEventListener('abort', () => reject(new Error('aborted')));
        attempts.push({ event, signal, settle });
        if (answersAtOnce) settle(true);
      }),
  });
  t.after(() => sender.close());
  return { sender, delivered, attempts };
}

const event = (name: string) => addressEvent(name, []);

test('events wait for the link, and then go out one by one in order', async (t) => {
  const { sender, delivered, attempts } = kitFor(t);
  for (const name of ['a', 'b', 'c']) sender.publish(event(name));
  assert.equal(attempts.length, 0);
  sender.setOnline(true);
  assert.equal(attempts.length, 1);
  await until(() => delivered.length === 3);
  assert.deepEqual(
    delivered.map(({ data }) => data),
    ['a', 'b', 'c'].map(event),
  );
});

test('an event that is refused is sent again under its id until it is acknowledged', async (t) => {
  const { sender, attempts } = kitFor(t, false);
  sender.publish(event('a'));
  sender.publish(event('b'));
  sender.setOnline(true);
  attempts[0]?.settle(false);
  await until(() => attempts.length === 2);
  assert.equal(attempts[1]?.event.id, attempts[0]?.event.id);
  attempts[1]?.settle(true);
  await until(() => attempts.length === 3);
  assert.deepEqual(attempts[2]?.event.data, event('b'));
});

test('when the link goes the delivery is given up, and made again when it is back', async (t) => {
  const { sender, attempts } = kitFor(t, false);
  sender.publish(event('a'));
  sender.setOnline(true);
  sender.setOnline(false);
  assert.ok(attempts[0]?.signal.aborted);
  await new Promise((resolve) => setImmediate(resolve));
  sender.setOnline(true);
  assert.equal(attempts.length, 2);
  assert.equal(sender.waiting, 1);
});

test('what waits is bounded: the oldest that nobody has seen is dropped', (t) => {
  const { sender, attempts } = kitFor(t, false);
  sender.setOnline(true);
  for (let i = 0; i < MAX_WAITING_EVENTS + 2; i++) sender.publish(event(String(i)));
  assert.deepEqual([sender.waiting, sender.dropped], [MAX_WAITING_EVENTS, 2]);
  assert.deepEqual(attempts[0]?.event.data, event('0'));
});

test('draining ends when everything is acknowledged, and at once without a link', async (t) => {
  const { sender, attempts } = kitFor(t, false);
  sender.publish(event('a'));
  await sender.drain(60_000);
  sender.setOnline(true);
  const drained = sender.drain(60_000);
  attempts[0]?.settle(true);
  await drained;
  assert.equal(sender.waiting, 0);
});
