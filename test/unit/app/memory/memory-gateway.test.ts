// A whole gateway and machines on loopback without any rights: real gRPC, real UDP, interfaces in memory.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { createMemoryGuest } from '../../../../src/app/first-run/guests.ts';
import { MemoryMachine } from '../../../../src/app/memory/memory-machine.ts';
import { MEMORY_DEVICE_BYTES } from '../../../../src/app/memory/memory-device.ts';
import { openMemoryOverlay } from '../../../../src/app/memory/memory-overlay.ts';
import { Arena } from '../../../../src/core/arena.ts';
import { silentLogger } from '../../../../src/core/log.ts';
import { eventually } from '../../../kit/eventually.ts';
import { startTestGateway, uuid } from '../gateway/kit.ts';

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

async function start(t: TestContext) {
  const port = await freeUdpPort();
  const { running } = await startTestGateway(t, {
    config: { wireGuardPort: port, wireGuardEndpoints: [`127.0.0.1:${port}`] },
    parts: { openOverlay: (privateKey) => openMemoryOverlay({ port, privateKey, logger: silentLogger }) },
  });
  const target = { host: '127.0.0.1', port: running.apiPort, isPlaintext: true, joinToken: 'good' };
  return { running, target, url: `grpc://127.0.0.1:${running.apiPort}?jointoken=good` };
}

/** Some ping of the machine is answered before the next one is sent. */
async function answers(machine: MemoryMachine): Promise<void> {
  await eventually('a ping is answered', async () => {
    machine.ping();
    return eventually('this one is answered', () => machine.isAnswered(), 500);
  });
}

for (const transport of ['udp', 'grpc'] as const) {
  test(`a machine joins over ${transport}, is pinged, and is listed with its transport`, async (t) => {
    const { running, url } = await start(t);
    const guest = createMemoryGuest(transport, uuid(1));
    t.after(() => guest.close());
    await guest.join(url);
    assert.ok(((await guest.ping('', 20_000)) ?? assert.fail('no answer')) > 0);
    const view = running.admin.machine(uuid(1));
    assert.deepEqual([view.state, view.transport], ['connected', transport]);
    assert.ok((view.rxBytes ?? 0) > 0 && (view.txBytes ?? 0) > 0);
  });
}

test('a machine that moves from UDP into the stream keeps its address, and the gateway follows', async (t) => {
  const { running, target } = await start(t);
  const machine = new MemoryMachine(uuid(1));
  t.after(() => machine.close());
  await machine.provision(target, false);
  const { address } = machine;
  await machine.connect(target, new Arena({ bytes: MEMORY_DEVICE_BYTES }));
  await answers(machine);
  assert.equal(running.admin.machine(uuid(1)).transport, 'udp');
  await machine.close();
  await machine.provision(target, true);
  assert.equal(machine.address, address);
  await machine.connect(target, new Arena({ bytes: MEMORY_DEVICE_BYTES }));
  await answers(machine);
  assert.equal(running.admin.machine(uuid(1)).transport, 'grpc');
});

test('a machine that is removed loses its stream for good', async (t) => {
  const { running, target } = await start(t);
  const machine = new MemoryMachine(uuid(1));
  t.after(() => machine.close());
  await machine.provision(target, true);
  await machine.connect(target, new Arena({ bytes: MEMORY_DEVICE_BYTES }));
  await answers(machine);
  await running.admin.remove(uuid(1));
  await eventually('its stream ends', () => machine.ended === 'peer not allowed');
});
