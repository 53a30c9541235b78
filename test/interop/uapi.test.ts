/** The configuration socket, as `wg` and raw clients see it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Namespace } from '../kit/netns.ts';
import { implementationUnderTest, knownFlaw, requireInterop, WireGuardProcess } from '../kit/programs.ts';
import { askUapi, UapiClient } from '../kit/uapi-client.ts';
import { listInterfaces, newKeyPair, newPresharedKey, type Settings } from '../kit/wg.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const implementation = implementationUnderTest();
const OK = 'errno=0\n\n';
const EINVAL = 'errno=-22\n\n';
const EPROTO = 'errno=-71\n\n';
const EADDRINUSE = 'errno=-98\n\n';

const flaw = (text: string): { readonly todo: string | false } => ({
  todo: knownFlaw(implementation, { 'wireguard-go': `0.0.20220316 ${text}` }),
});

describe(
  `UAPI: ${implementation.name}`,
  { skip: requireInterop([implementation]), timeout: TEST_TIMEOUT_MS },
  () => {
    let namespace: Namespace;
    let daemon: WireGuardProcess;

    before(() => {
      namespace = Namespace.create();
      daemon = WireGuardProcess.start(implementation, namespace);
      namespace.ip(`link set ${daemon.link} up`);
    });
    after(() => namespace.close());

    const ask = (request: string): Promise<string> => askUapi(daemon.socketPath, request);
    const get = (): Promise<string> => ask('get=1');

    /** Every test begins with this and nothing else. */
    const reset = (settings: Settings = {}): void => daemon.wg.setconf(settings);

    describe('with wg(8)', () => {
      test('everything that is set is shown', () => {
        const { privateKey, publicKey } = newKeyPair();
        const peer = {
          publicKey: newKeyPair().publicKey,
          presharedKey: newPresharedKey(),
          endpoint: '[2001:db8::1]:51820',
          allowedIps: ['10.1.0.0/16', 'fd01::/64'],
          persistentKeepalive: 25,
        };
        reset({ privateKey, listenPort: 51_821, fwmark: 0xca6c, peers: [peer] });
        assert.deepEqual(daemon.wg.state(), {
          privateKey,
          publicKey,
          listenPort: 51_821,
          fwmark: 0xca6c,
          // The keepalive starts a handshake, whose bytes are counted.
          peers: [{ ...peer, latestHandshake: 0, rxBytes: 0, txBytes: daemon.wg.peer().txBytes }],
        });
      });
      test('setconf of showconf changes nothing', async () => {
        reset({
          privateKey: newKeyPair().privateKey,
          listenPort: 51_822,
          fwmark: 7,
          peers: [1, 2, 3].map((n) => ({
            publicKey: newKeyPair().publicKey,
            presharedKey: newPresharedKey(),
            endpoint: `192.0.2.${n}:5${n}`,
            allowedIps: [`10.${n}.0.0/16`, `fd0${n}::/64`],
          })),
        });
        const before = sortedPeers(await get());
        daemon.wg.setconf(daemon.wg.showconf());
        assert.equal(sortedPeers(await get()), before);
      });
      test('addconf keeps the peers that are there', () => {
        const [first, second] = [newKeyPair().publicKey, newKeyPair().publicKey];
        reset({ peers: [{ publicKey: first, allowedIps: ['10.1.0.0/16'] }] });
        daemon.wg.addconf({ peers: [{ publicKey: second, allowedIps: ['10.2.0.0/16'] }] });
        assert.deepEqual(daemon.wg.peer(first).allowedIps, ['10.1.0.0/16']);
        assert.deepEqual(daemon.wg.peer(second).allowedIps, ['10.2.0.0/16']);
      });
      test('syncconf removes the peers that are not named and updates the others', () => {
        const [first, second, third] = [1, 2, 3].map(() => newKeyPair().publicKey) as [
          string,
          string,
          string,
        ];
        reset({
          privateKey: newKeyPair().privateKey,
          peers: [
            { publicKey: first, allowedIps: ['10.1.0.0/16'] },
            { publicKey: second, allowedIps: ['10.2.0.0/16'] },
          ],
        });
        daemon.wg.syncconf({
          privateKey: daemon.wg.state().privateKey,
          peers: [
            { publicKey: second, allowedIps: ['10.22.0.0/16'] },
            { publicKey: third, allowedIps: ['10.3.0.0/16'] },
          ],
        });
        const allowedIps = daemon.wg.state().peers.map((peer) => [peer.publicKey, ...peer.allowedIps]);
        assert.deepEqual(
          new Map(allowedIps.map(([key, ...ips]) => [key, ips])),
          new Map([
            [second, ['10.22.0.0/16']],
            [third, ['10.3.0.0/16']],
          ]),
        );
      });
      test('set adds, moves and removes allowed IPs and peers', () => {
        const [first, second] = [newKeyPair().publicKey, newKeyPair().publicKey];
        reset();
        daemon.wg.set(
          `peer ${first} allowed-ips 10.0.0.0/8,fd00::/16 peer ${second} allowed-ips 10.9.0.0/16`,
        );
        daemon.wg.set(`peer ${second} allowed-ips 10.0.0.0/8,10.9.0.0/16`);
        assert.deepEqual(daemon.wg.peer(first).allowedIps, ['fd00::/16']);
        assert.deepEqual(new Set(daemon.wg.peer(second).allowedIps), new Set(['10.0.0.0/8', '10.9.0.0/16']));
        daemon.wg.set(`peer ${first} remove`);
        assert.deepEqual(
          daemon.wg.state().peers.map((peer) => peer.publicKey),
          [second],
        );
      });
      test('keys are unset by an empty file', () => {
        const { publicKey } = newKeyPair();
        reset({
          privateKey: newKeyPair().privateKey,
          peers: [{ publicKey, presharedKey: newPresharedKey() }],
        });
        daemon.wg.set(`private-key /dev/null`);
        daemon.wg.set(`peer ${publicKey} preshared-key /dev/null`);
        const state = daemon.wg.state();
        assert.equal(state.privateKey, undefined);
        assert.equal(state.publicKey, undefined);
        assert.equal(state.peers[0]?.presharedKey, undefined);
      });
      test('the interface is listed', () => {
        assert.ok(listInterfaces().includes(daemon.link));
      });
    });

    describe('raw', () => {
      test('a get prints every field in the order of wireguard-go', async () => {
        reset();
        const [own, psk, one, two] = ['8', '7', 'a', 'b'].map((digit) => digit.repeat(62)) as [
          string,
          string,
          string,
          string,
        ];
        const privateKey = `${own}8041`.slice(-64);
        assert.equal(
          await ask(
            [
              'set=1',
              `private_key=${privateKey}`,
              'listen_port=51823',
              'fwmark=51820',
              `public_key=${one}00`,
              `preshared_key=${psk}11`,
              'endpoint=[fe80::1]:9',
              'allowed_ip=10.1.2.3/8',
              'allowed_ip=fd00::1/64',
              `public_key=${two}00`,
              'persistent_keepalive_interval=65535',
            ].join('\n'),
          ),
          OK,
        );
        const [head, ...peers] = (await get()).split(/(?=^public_key=)/m);
        assert.equal(head, `private_key=${privateKey}\nlisten_port=51823\nfwmark=51820\n`);
        const sections = new Map(
          peers.map((text) => [text.slice(0, text.indexOf('\n')), text.replace(OK, '')]),
        );
        assert.equal(
          sections.get(`public_key=${one}00`),
          [
            `public_key=${one}00`,
            `preshared_key=${psk}11`,
            'protocol_version=1',
            'endpoint=[fe80::1]:9',
            'last_handshake_time_sec=0',
            'last_handshake_time_nsec=0',
            'tx_bytes=0',
            'rx_bytes=0',
            'persistent_keepalive_interval=0',
            'allowed_ip=10.0.0.0/8',
            'allowed_ip=fd00::/64',
            '',
          ].join('\n'),
        );
        assert.match(
          sections.get(`public_key=${two}00`) ?? '',
          new RegExp(
            `^public_key=${two}00\npreshared_key=0{64}\nprotocol_version=1\nlast_handshake_time_sec=0\n`,
          ),
        );
      });
      test('an update of an absent peer with update_only creates nothing', async () => {
        reset();
        const before = await get();
        const request = `set=1\npublic_key=${'c'.repeat(64)}\nupdate_only=true\nallowed_ip=10.0.0.0/8`;
        assert.equal(await ask(request), OK);
        assert.equal(await get(), before);
      });
      test('replace_allowed_ips, remove and replace_peers remove', async () => {
        const key = 'c'.repeat(64);
        reset();
        await ask(`set=1\npublic_key=${key}\nallowed_ip=10.0.0.0/8\nallowed_ip=fd00::/8`);
        await ask(`set=1\npublic_key=${key}\nreplace_allowed_ips=true\nallowed_ip=11.0.0.0/8`);
        assert.deepEqual((await get()).match(/^allowed_ip=.*/gm), ['allowed_ip=11.0.0.0/8']);
        await ask(`set=1\npublic_key=${key}\nremove=true`);
        assert.doesNotMatch(await get(), /public_key/);
        await ask(`set=1\npublic_key=${key}\npublic_key=${'d'.repeat(64)}`);
        await ask('set=1\nreplace_peers=true');
        assert.doesNotMatch(await get(), /public_key/);
      });
      test('an allowed IP is removed by a minus sign', flaw('does not know it'), async () => {
        const key = 'c'.repeat(64);
        reset();
        await ask(`set=1\npublic_key=${key}\nallowed_ip=10.0.0.0/8\nallowed_ip=fd00::/8`);
        assert.equal(await ask(`set=1\npublic_key=${key}\nallowed_ip=-10.0.0.0/8`), OK);
        assert.deepEqual((await get()).match(/^allowed_ip=.*/gm), ['allowed_ip=fd00::/8']);
      });

      const peer = `public_key=${'e'.repeat(64)}`;
      const refused: readonly (readonly [string, string])[] = [
        ['nonsense=1', EINVAL],
        ['__proto__=1', EINVAL],
        ['private_key=00', EINVAL],
        [`private_key=${'g'.repeat(64)}`, EINVAL],
        ['listen_port=65536', EINVAL],
        ['listen_port=-1', EINVAL],
        ['listen_port=http', EINVAL],
        ['fwmark=0x10', EINVAL],
        ['fwmark=', EINVAL],
        ['fwmark=4294967296', EINVAL],
        ['replace_peers=false', EINVAL],
        ['public_key=00', EINVAL],
        [`${peer}\nlisten_port=1`, EINVAL],
        [`${peer}\nupdate_only=1`, EINVAL],
        [`${peer}\nremove=yes`, EINVAL],
        [`${peer}\npreshared_key=${'0'.repeat(63)}`, EINVAL],
        [`${peer}\nendpoint=example.org:51820`, EINVAL],
        [`${peer}\nendpoint=192.0.2.1`, EINVAL],
        [`${peer}\nendpoint=192.0.2.1:65536`, EINVAL],
        [`${peer}\npersistent_keepalive_interval=65536`, EINVAL],
        [`${peer}\nreplace_allowed_ips=`, EINVAL],
        [`${peer}\nallowed_ip=10.0.0.1`, EINVAL],
        [`${peer}\nallowed_ip=10.0.0.0/33`, EINVAL],
        [`${peer}\nprotocol_version=2`, EINVAL],
        ['no equals sign', EPROTO],
      ];
      for (const [lines, errno] of refused) {
        const title = lines.replace(peer, 'peer').replaceAll('\n', ', ').slice(0, 60);
        test(`"${title}" is answered by ${errno.trim()}`, async () => {
          assert.equal(await ask(`set=1\n${lines}`), errno);
        });
      }
      test('a get with a body is answered by EINVAL', async () => {
        assert.equal(await ask('get=1\nlisten_port=1'), EINVAL);
      });
      test('a port that is taken is answered by EADDRINUSE', async () => {
        reset();
        const taken = daemon.wg.state().listenPort;
        const other = WireGuardProcess.start(implementation, namespace);
        namespace.ip(`link set ${other.link} up`);
        await daemon.listening(taken);
        assert.equal(await askUapi(other.socketPath, `set=1\nlisten_port=${taken}`), EADDRINUSE);
        assert.equal(await askUapi(other.socketPath, 'set=1\nlisten_port=0'), OK);
        await other.stop();
      });
      for (const first of ['get=2', 'set=2', 'hello', 'GET / HTTP/1.1']) {
        test(`"${first}" as the first line ends the connection without an answer`, async () => {
          using client = await UapiClient.connect(daemon.socketPath);
          client.write(`${first}\n\n`);
          assert.equal(await client.ended(), '');
        });
      }

      test('a set that fails changes nothing', flaw('applies what comes before the error'), async () => {
        const key = newKeyPair();
        reset({
          privateKey: key.privateKey,
          peers: [{ publicKey: newKeyPair().publicKey, allowedIps: ['10.0.0.0/8'] }],
        });
        const before = await get();
        const changes = [
          `private_key=${'9'.repeat(64)}`,
          'fwmark=99',
          'replace_peers=true',
          peer,
          'allowed_ip=10.0.0.0/8',
        ];
        assert.equal(await ask(['set=1', ...changes, 'allowed_ip=10.0.0.0'].join('\n')), EINVAL);
        assert.equal(await get(), before);
      });
      test(
        'after an error the connection goes on with the next request',
        flaw('reads on in the middle'),
        async () => {
          using client = await UapiClient.connect(daemon.socketPath);
          client.write('set=1\nnonsense=1\nfwmark=1\n\nget=1\n\n');
          assert.equal(await client.reply(), EINVAL);
          assert.match(await client.reply(), /errno=0\n\n$/);
        },
      );
      test('requests in one write are all answered, in order', flaw('answers the first only'), async () => {
        reset();
        using client = await UapiClient.connect(daemon.socketPath);
        client.write('set=1\nfwmark=1\n\nget=1\n\nset=1\nfwmark=2\n\nget=1\n\n');
        assert.equal(await client.reply(), OK);
        assert.match(await client.reply(), /^fwmark=1$/m);
        assert.equal(await client.reply(), OK);
        assert.match(await client.reply(), /^fwmark=2$/m);
      });
      test('several requests follow each other on one connection', async () => {
        reset();
        using client = await UapiClient.connect(daemon.socketPath);
        for (const mark of [1, 2, 3]) {
          client.write(`set=1\nfwmark=${mark}\n\n`);
          assert.equal(await client.reply(), OK);
          client.write('get=1\n\n');
          assert.match(await client.reply(), new RegExp(`^fwmark=${mark}$`, 'm'));
        }
      });
      test('a request may come byte by byte', async () => {
        reset();
        using client = await UapiClient.connect(daemon.socketPath);
        for (const byte of 'set=1\nfwmark=12345\nreplace_peers=true\n\n') {
          client.write(byte);
          await new Promise(setImmediate);
        }
        assert.equal(await client.reply(), OK);
        assert.match(await get(), /^fwmark=12345$/m);
      });
      test('ten clients at once are all served', async () => {
        reset();
        const clients = await Promise.all(
          Array.from({ length: 10 }, () => UapiClient.connect(daemon.socketPath)),
        );
        for (const [i, client] of clients.entries())
          client.write(`set=1\npublic_key=${`${i}`.repeat(64)}\nallowed_ip=10.${i}.0.0/16\n\n`);
        const replies = await Promise.all(clients.map((client) => client.reply()));
        assert.deepEqual(
          replies,
          Array.from({ length: 10 }, () => OK),
        );
        for (const client of clients) client.close();
        assert.equal((await get()).match(/^allowed_ip=/gm)?.length, 10);
      });
      test('clients that break off harm nobody else', async () => {
        reset();
        for (const text of ['s', 'set=1\nfwmark=', 'set=1\n', 'get=1\n', 'x'.repeat(4 << 20)]) {
          const client = await UapiClient.connect(daemon.socketPath);
          client.write(text);
          await new Promise(setImmediate);
          client.close();
        }
        assert.match(await get(), /errno=0\n\n$/);
      });
      test('a request that never comes to an end blocks nobody else', flaw('holds its lock'), async () => {
        reset();
        using idle = await UapiClient.connect(daemon.socketPath);
        idle.write('set=1\nfwmark=4\n');
        assert.match(await get(), /errno=0\n\n$/);
      });
    });
  },
);

/** Peers come in any order. */
function sortedPeers(reply: string): string {
  return reply
    .replace(OK, '')
    .split(/(?=^public_key=)/m)
    .sort()
    .join('');
}
