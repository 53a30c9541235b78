/** Ways to a gateway where UDP is blocked and TCP is not free either: proxies, a TLS front, a certificate of one's own. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CERTIFICATE } from '../kit/certificates.ts';
import { eventually } from '../kit/eventually.ts';
import { CULVERT, GatewaySite, type MachineSite, SERVER_ADDRESS } from '../kit/gateway-site.ts';
import { type Namespace, requireRoot } from '../kit/netns.ts';
import { iperf, ping } from '../kit/traffic.ts';

const SOCKS_PROGRAM = fileURLToPath(new URL('../kit/socks-program.js', import.meta.url));
const programs = [CULVERT, 'ss', 'ping', 'iperf3', 'nft'];
const optionsFor = (...more: readonly string[]) => ({
  skip: requireRoot({ programs: [...programs, ...more], tun: true }),
  timeout: 180_000,
});

/** From the machine's wire only these TCP ports are open, and no UDP at all. */
function close(site: GatewaySite, ...ports: readonly number[]): void {
  site.gateway.exec('nft', ['-f', '-'], {
    input: `table inet site {
      chain in {
        type filter hook input priority 0
        iifname "veth1" meta l4proto udp drop
        iifname "veth1" tcp dport { ${ports.join(', ')} } accept
        iifname "veth1" meta l4proto tcp reject
      }
    }`,
  });
}

async function listening(namespace: Namespace, port: number): Promise<void> {
  await eventually(`something listens on port ${port}`, () =>
    namespace.exec('ss', ['-tlnH']).includes(`:${port} `),
  );
}

async function works({
  site,
  namespace,
  status,
}: { site: GatewaySite } & Pick<MachineSite, 'namespace' | 'status'>): Promise<void> {
  await ping(namespace, SERVER_ADDRESS, { count: 3 });
  const traffic = { protocol: 'tcp', bytes: 4 << 20 } as const;
  await iperf({ ...traffic, server: site.gateway, client: namespace, address: SERVER_ADDRESS });
  const address = status()?.address;
  assert.ok(address);
  await iperf({ ...traffic, server: namespace, client: site.gateway, address });
}

/** A file of /etc for the programs in a namespace. */
function putEtc(namespace: Namespace, name: string, text: string): void {
  const directory = join('/etc/netns', namespace.name);
  mkdirSync(directory, { recursive: true });
  namespace.defer(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, name), text);
}

test('through tinyproxy by HTTP CONNECT, with UDP tried first', optionsFor('tinyproxy'), async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  const file = join(site.directory, 'tinyproxy.conf');
  const log = join(site.directory, 'tinyproxy.log');
  writeFileSync(
    file,
    `Port 3128\nListen 10.9.1.1\nTimeout 600\nAllow 10.9.1.0/24\nConnectPort 4000\nLogLevel Connect\nLogFile "${log}"\n`,
  );
  // It is root's log before tinyproxy becomes somebody else.
  writeFileSync(log, '', { mode: 0o666 });
  site.spawn('tinyproxy', ['-d', '-c', file]);
  await listening(site.gateway, 3128);
  close(site, 3128);
  machine.join(machine.url(), [], { HTTPS_PROXY: 'http://10.9.1.1:3128' });
  await machine.connected('grpc', 90_000);
  await works({ site, namespace: machine.namespace, status: () => machine.status() });
});

test('through a SOCKS5 proxy', optionsFor(), async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  const proxy = site.gateway.spawn(process.execPath, [SOCKS_PROGRAM, '4000'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  assert.ok(proxy.stdout);
  const [line] = (await once(proxy.stdout, 'data')) as [Buffer];
  const port = Number(line.toString());
  // The proxy of the kit listens on loopback, as one of a container beside us would.
  site.gateway.exec('nft', ['-f', '-'], {
    input: `table ip front {
      chain pre {
        type nat hook prerouting priority dstnat
        iifname "veth1" tcp dport 1080 dnat to 127.0.0.1:${port}
      }
    }`,
  });
  site.gateway.exec('sysctl', ['-qw', 'net.ipv4.conf.veth1.route_localnet=1']);
  close(site, port);
  machine.join(machine.url(), ['--transport', 'grpc'], { HTTPS_PROXY: 'socks5://10.9.1.1:1080' });
  await machine.connected('grpc');
  await works({ site, namespace: machine.namespace, status: () => machine.status() });
});

test('NO_PROXY leaves the proxy out', optionsFor(), async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  machine.join(machine.url(), ['--transport', 'grpc'], {
    HTTPS_PROXY: 'http://10.9.1.1:9',
    NO_PROXY: '10.9.0.0/16',
  });
  await machine.connected('grpc');
});

test('behind nginx, which ends TLS and passes gRPC on', optionsFor('nginx'), async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  const [cert, key, conf] = ['cert.pem', 'key.pem', 'nginx.conf'].map((name) =>
    join(site.directory, name),
  ) as [string, string, string];
  writeFileSync(cert, CERTIFICATE.cert);
  writeFileSync(key, CERTIFICATE.key);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${join(site.directory, kind)};`)
    .join('\n');
  writeFileSync(
    conf,
    `daemon off;
user root;
pid ${join(site.directory, 'nginx.pid')};
error_log ${join(site.directory, 'nginx.log')};
events {}
http {
  access_log off;
  ${temporary}
  server {
    listen 10.9.1.1:443 ssl http2;
    ssl_certificate ${cert};
    ssl_certificate_key ${key};
    location / {
      grpc_pass grpc://127.0.0.1:4000;
      client_max_body_size 0;
      client_body_timeout 1h;
      grpc_read_timeout 1h;
      grpc_send_timeout 1h;
      grpc_socket_keepalive on;
    }
  }
}
`,
  );
  site.spawn('nginx', ['-c', conf]);
  await listening(site.gateway, 443);
  close(site, 443);
  putEtc(machine.namespace, 'hosts', '127.0.0.1 localhost\n10.9.1.1 gateway.test\n');
  machine.join(machine.url('&grpc_tunnel=true', 'gateway.test', 'https'), ['--ca', cert]);
  await machine.connected('grpc');
  await works({ site, namespace: machine.namespace, status: () => machine.status() });
});

test('a certificate of a private authority is trusted with --ca only', optionsFor(), async () => {
  const site = new GatewaySite();
  await using _ = site;
  const machine = site.addMachine();
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => join(site.directory, name)) as [string, string];
  writeFileSync(cert, CERTIFICATE.cert);
  writeFileSync(key, CERTIFICATE.key);
  await site.serve(
    '--tls-cert',
    cert,
    '--tls-key',
    key,
    '--advertise',
    'https://gateway.test:4000',
    '--wg-endpoint',
    '10.9.1.1:50180',
  );
  putEtc(machine.namespace, 'hosts', '127.0.0.1 localhost\n10.9.1.1 gateway.test\n');
  const url = machine.url('', 'gateway.test:4000', 'https');
  const untrusting = machine.join(url);
  const { problem } = await machine.until('it says why', (status) => status.problem !== null);
  assert.match(problem ?? '', /TLS to gateway\.test: self-signed certificate/);
  untrusting.kill('SIGTERM');
  await once(untrusting, 'exit');
  machine.join(url, ['--ca', cert, '--transport', 'grpc']);
  await machine.connected('grpc');
});
