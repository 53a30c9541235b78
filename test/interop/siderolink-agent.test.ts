/** `culvert siderolink-agent` in place of the original, with machines that join it. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import {
  createSite,
  CULVERT,
  GATEWAY_ADDRESS,
  JoinProgram,
  type Site,
  uuid,
} from '../kit/gateway-program.ts';
import { type Namespace, requireRoot } from '../kit/netns.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const SERVER = 'fdae:41e4:649b:9303::1';
const skip = requireRoot({ tun: true, programs: ['ping'] });

function start(site: Site, args: readonly string[]): { child: ChildProcess; output: () => string } {
  const child = site.gateway.spawn(CULVERT, ['siderolink-agent', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  }
  return { child, output: () => text };
}

describe('culvert siderolink-agent', { skip, timeout: TEST_TIMEOUT_MS }, () => {
  let site: Site;
  before(() => (site = createSite(2)));
  after(() => site?.close());

  test('machines join with the static token, at their predefined addresses, over UDP and gRPC', async () => {
    const { child, output } = start(site, [
      ...['-sidero-link-wireguard-endpoint', `${GATEWAY_ADDRESS}:51821`, '--sidero-link-join-token=foo'],
      ...['-event-sink-endpoint', `[${SERVER}]:8090`, '-log-receiver-endpoint', `[${SERVER}]:8092`],
      `-predefined-pairs=${uuid(1)}=fdae:41e4:649b:9303::101`,
      `--predefined-pair=${uuid(2)}=fdae:41e4:649b:9303::102`,
      '-sidero-link-force-userspace',
    ]);
    await eventually(`it serves\n${output()}`, () => output().includes('siderolink_agent_started'), 30_000);
    const [a, b] = site.machines as [Namespace, Namespace];
    const url = `grpc://${GATEWAY_ADDRESS}:4000?jointoken=foo`;
    const overUdp = new JoinProgram(a, { url, uuid: uuid(1), transport: 'udp', args: ['--events'] });
    const overGrpc = new JoinProgram(b, { url, uuid: uuid(2), transport: 'grpc' });
    for (const [machine, address] of [
      [overUdp, 'fdae:41e4:649b:9303::101'],
      [overGrpc, 'fdae:41e4:649b:9303::102'],
    ] as const) {
      await eventually(
        `the gateway reaches ${address}\n${output()}\n${machine.output}`,
        () => site.gateway.try('ping', ['-c', '1', '-w', '1', address]).status === 0,
        60_000,
      );
      assert.equal(machine.namespace.try('ping', ['-c', '1', '-w', '5', SERVER]).status, 0);
    }
    const send = `require('net').connect(8092, '${SERVER}').end('{"msg":"hello from the kernel","talos-level":"warn"}\\n')`;
    b.exec(process.execPath, ['-e', send]);
    await eventually('the line is printed under its address', () =>
      output().includes('fdae:41e4:649b:9303::102 warn hello from the kernel\n'),
    );
    const stranger = new JoinProgram(a, {
      url: url.replace('foo', 'bar'),
      uuid: uuid(3),
      transport: 'udp',
    });
    await eventually(`a wrong token is refused\n${stranger.output}`, () =>
      stranger.output.includes('invalid join token'),
    );
    await Promise.all([overUdp.end(), overGrpc.end(), stranger.end()]);
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'close'), [0, null], output());
    assert.ok(!site.gateway.ip('link show').includes('siderolink'));
  });
});
