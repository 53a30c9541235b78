/** `culvert relay`: a stock WireGuard client, behind a site that lets no UDP pass, reaches a stock WireGuard server. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { CULVERT, GatewaySite } from '../kit/gateway-site.ts';
import { requireInterop, WireGuardProcess, WIREGUARD_GO } from '../kit/programs.ts';
import { answers, iperf, ping } from '../kit/traffic.ts';
import { newKeyPair } from '../kit/wg.ts';

const skip = requireInterop([WIREGUARD_GO], { programs: [CULVERT, 'ping', 'iperf3', 'nft'] });

test('wireguard-go and wg on both sides, a gateway in between', { skip, timeout: 180_000 }, async () => {
  const { site, machine } = await GatewaySite.open('--relay-to', 'udp://127.0.0.1:51999');
  await using _ = site;
  site.gateway.exec('nft', ['-f', '-'], {
    input: `table inet block {
      chain in {
        type filter hook input priority 0
        iifname "veth1" meta l4proto udp drop
      }
    }`,
  });
  const server = WireGuardProcess.start(WIREGUARD_GO, site.gateway);
  const client = WireGuardProcess.start(WIREGUARD_GO, machine.namespace);
  const [serverKeys, clientKeys] = [newKeyPair(), newKeyPair()];
  server.wg.set(`private-key ${serverKeys.privateKey} listen-port 51999`);
  server.wg.set(`peer ${clientKeys.publicKey} allowed-ips 192.168.77.2/32`);
  client.wg.set(`private-key ${clientKeys.privateKey}`);
  client.wg.set(
    `peer ${serverKeys.publicKey} allowed-ips 192.168.77.1/32 endpoint 127.0.0.1:51820 persistent-keepalive 1`,
  );
  for (const [process, address] of [
    [server, '192.168.77.1/24'],
    [client, '192.168.77.2/24'],
  ] as const) {
    process.namespace.ip(`address add ${address} dev ${process.link}`);
    process.namespace.ip(`link set ${process.link} mtu 1420 up`);
  }
  assert.ok(!(await answers(machine.namespace, '192.168.77.1')));

  const token = readFileSync(join(site.directory, 'gateway', 'relay-token'), 'utf8').trim();
  machine.namespace.spawn(CULVERT, ['relay', '--to', `grpc://10.9.1.1:4000/?token=${token}`], {
    stdio: 'ignore',
  });
  await eventually(
    'an echo comes back through the relay',
    () => answers(machine.namespace, '192.168.77.1'),
    60_000,
  );
  await ping(machine.namespace, '192.168.77.1', { count: 5 });
  const bytes = 8 << 20;
  const traffic = {
    server: site.gateway,
    client: machine.namespace,
    address: '192.168.77.1',
    bytes,
  } as const;
  await iperf({ ...traffic, protocol: 'tcp' });
  await iperf({ ...traffic, protocol: 'tcp', args: ['-R'] });

  await site.restart();
  await eventually('the gateway is found again', () => answers(machine.namespace, '192.168.77.1'), 60_000);
});
