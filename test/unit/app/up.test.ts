import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { SignInFiles } from '../../../src/app/api/sign-in-file.ts';
import { takeDown } from '../../../src/app/down.ts';
import { findConf } from '../../../src/app/find-conf.ts';
import type { NetworkSystem } from '../../../src/app/network-apply.ts';
import { savedConf } from '../../../src/app/save-config.ts';
import { serveDevice } from '../../../src/app/serve-device.ts';
import { UndoStore } from '../../../src/app/undo-store.ts';
import { type UpDependencies, type UpRequest, bringUp } from '../../../src/app/up.ts';
import { parseWgConf } from '../../../src/app/wg-conf.ts';
import { formatInterfaceAddress, printWgConf } from '../../../src/app/wg-conf-print.ts';
import { AppError } from '../../../src/core/errors.ts';
import { formatPrefix } from '../../../src/core/ip.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { PrivateKey } from '../../../src/noise/keys.ts';
import { uapiPath } from '../../../src/tunnel/uapi-socket.ts';
import { FakeOpenedDevice } from '../../kit/fake-opened-device.ts';
import { fakeZones } from '../../kit/zones.ts';

const PUBLIC = `${'A'.repeat(43)}=`;
const PEER = `[Peer]\nPublicKey = ${PUBLIC}\n`;
const FULL_TUNNEL = `[Interface]\nAddress = 10.0.0.1/24\nDNS = 10.0.0.53\n${PEER}AllowedIPs = 0.0.0.0/0\nEndpoint = vpn.example:51820\n`;

interface Setting {
  /** Everything that happened, in order. */
  readonly log: string[];
  readonly opened: FakeOpenedDevice;
  readonly directory: string;
  readonly dependencies: UpDependencies;
  /** Makes the step with this text throw. */
  failAt: string | undefined;
  readonly request: (text: string, runsHooks?: boolean) => UpRequest;
}

function setting(t: TestContext): Setting {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-up-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const log: string[] = [];
  const opened = new FakeOpenedDevice({ name: 'wg0' });
  let isOpen = false;
  void opened.closed.then(() => {
    isOpen = false;
    log.push('closed');
  });
  const self: Setting = {
    log,
    opened,
    directory,
    failAt: undefined,
    request: (text, runsHooks = false) => ({
      interfaceName: 'wg0',
      conf: parseWgConf(text, 'wg0.conf').conf,
      path: join(directory, 'wg0.conf'),
      runsHooks,
    }),
    dependencies: {
      serve: (options) => {
        log.push('opened');
        isOpen = true;
        return serveDevice({
          ...options,
          openDevice: () => opened,
          zones: fakeZones,
          uapiDirectory: directory,
        });
      },
      system: fakeSystem(
        (text) => {
          if (text === self.failAt) throw new AppError('io', `${text} failed`);
          log.push(text);
        },
        () => isOpen,
      ),
      undoStore: new UndoStore(join(directory, 'state')),
      resolver: {
        lookup: (host) =>
          host === 'vpn.example' ? Promise.resolve('192.0.2.9') : Promise.reject(new Error(host)),
        zones: fakeZones,
        sleep: () => Promise.resolve(),
        retries: 0,
        onRetry: () => {},
      },
      runHook: (command, name) => {
        log.push(`hook ${command} (${name})`);
        return command === 'false' ? Promise.reject(new AppError('io', 'a hook failed')) : Promise.resolve();
      },
      warn: (text) => log.push(`warning: ${text}`),
      logger: silentLogger,
    },
  };
  t.after(() => opened.close('the test is over'));
  return self;
}

function fakeSystem(act: (text: string) => void, hasInterface: () => boolean): NetworkSystem {
  const later = (text: string) => Promise.resolve().then(() => act(text));
  return {
    facts: () => ({
      pathMtu: 1500,
      hasNft: true,
      hasResolvconf: true,
      isTableUsed: () => false,
      tableNumber: () => undefined,
    }),
    hasInterface,
    deleteInterface: (name) => act(`delete ${name}`),
    addAddress: (_name, address) => act(`address ${formatInterfaceAddress(address)}`),
    setUp: (_name, mtu) => act(`up ${mtu}`),
    addRoute: (_name, { prefix, table }) => act(`route ${formatPrefix(prefix)} ${table ?? 'main'}`),
    addRule: ({ table }) => act(`add rule ${table}`),
    deleteRule: ({ table }) => act(`delete rule ${table}`),
    setSourceValidMark: () => act('src_valid_mark'),
    loadFirewall: () => later('add firewall'),
    deleteFirewall: (table) => later(`delete firewall ${table}`),
    setDns: (_name, servers) => later(`set dns ${servers.join(' ')}`),
    unsetDns: () => later('unset dns'),
  };
}

const UP = [
  'opened',
  'address 10.0.0.1/24',
  'up 1420',
  'set dns 10.0.0.53',
  'route 0.0.0.0/0 51820',
  'add rule 51820',
  'add rule 254',
  'src_valid_mark',
  'add firewall',
];
const DOWN = [
  'closed',
  'unset dns',
  'delete firewall ip wg-quick-wg0',
  'delete rule 254',
  'delete rule 51820',
];

test('up configures the device and the network, and its end takes back what outlives the interface', async (t) => {
  const { dependencies, log, opened, request } = setting(t);
  const up = await bringUp(request(FULL_TUNNEL), dependencies);
  assert.deepEqual(log, UP);
  const state = opened.device.state();
  assert.equal(state.fwmark, 51820);
  assert.equal(state.peers[0]?.endpoint?.port, 51820);
  assert.deepEqual([...(state.peers[0]?.endpoint?.address ?? [])], [192, 0, 2, 9]);
  await up.stop('enough');
  assert.equal(await up.ended, 'enough');
  assert.deepEqual(log, [...UP, ...DOWN]);
});

test('hooks run in their places, and only when asked for', async (t) => {
  const hooks = '[Interface]\nPreUp = a\nPostUp = b\nPostUp = c\nPreDown = d\nPostDown = e\n';
  const { dependencies, log, request } = setting(t);
  const up = await bringUp(request(hooks, true), dependencies);
  await up.stop('enough');
  await up.ended;
  assert.deepEqual(log, [
    'hook a (wg0)',
    'opened',
    'up 1420',
    'hook b (wg0)',
    'hook c (wg0)',
    'hook d (wg0)',
    'closed',
    'hook e (wg0)',
  ]);
  const other = setting(t);
  await bringUp(other.request(hooks), other.dependencies);
  assert.deepEqual(other.log, [
    'warning: the hooks of the file are not run (PreUp, PostUp, PreDown, PostDown); --run-hooks runs them',
    'opened',
    'up 1420',
  ]);
});

for (const [failAt, done, undone] of [
  ['address 10.0.0.1/24', 1, ['closed']],
  ['set dns 10.0.0.53', 3, ['closed', 'unset dns']],
  ['add rule 51820', 5, ['closed', 'unset dns', 'delete rule 51820']],
  ['add rule 254', 6, ['closed', 'unset dns', 'delete rule 254', 'delete rule 51820']],
  ['add firewall', 8, DOWN],
] as const) {
  test(`when "${failAt}" fails, what was done up to there is taken back`, async (t) => {
    const self = setting(t);
    self.failAt = failAt;
    await assert.rejects(bringUp(self.request(FULL_TUNNEL), self.dependencies), {
      message: `${failAt} failed`,
    });
    assert.deepEqual(self.log, [...UP.slice(0, done), ...undone]);
    assert.ok(!existsSync(uapiPath('wg0', self.directory)));
  });
}

test('a hook that fails on the way up takes everything back, without the hooks of the way down', async (t) => {
  const { dependencies, log, request } = setting(t);
  await assert.rejects(
    bringUp(request('[Interface]\nPostUp = false\nPreDown = d\nPostDown = e\n', true), dependencies),
    { message: 'a hook failed' },
  );
  assert.deepEqual(log, ['opened', 'up 1420', 'hook false (wg0)', 'closed']);
});

test('a hook that fails on the way down does not keep the rest', async (t) => {
  const { dependencies, log, request } = setting(t);
  const up = await bringUp(request('[Interface]\nPreDown = false\nPostDown = e\n', true), dependencies);
  await up.stop('enough');
  await up.ended;
  assert.deepEqual(log.slice(2), ['hook false (wg0)', 'closed', 'hook e (wg0)']);
});

test('a name that does not resolve fails before the interface is made', async (t) => {
  const { dependencies, log, request } = setting(t);
  await assert.rejects(bringUp(request(`${PEER}Endpoint = nowhere.example:1\n`), dependencies), {
    code: 'not_found',
  });
  assert.deepEqual(log, []);
});

test('an interface that exists is refused', async (t) => {
  const { dependencies, request } = setting(t);
  await bringUp(request(''), dependencies);
  await assert.rejects(bringUp(request(''), dependencies), { code: 'in_use' });
});

test('what a killed process left is taken back by the next up', async (t) => {
  const { dependencies, log, request } = setting(t);
  dependencies.undoStore.save({
    interfaceName: 'wg0',
    rules: [{ family: 6, table: 7 }],
    firewallFamilies: [6],
    hasDns: false,
  });
  await bringUp(request(''), dependencies);
  assert.deepEqual(log, ['delete firewall ip6 wg-quick-wg0', 'delete rule 7', 'opened', 'up 1420']);
});

test('the interface deleted from outside is cleaned up after, too', async (t) => {
  const { dependencies, log, opened, request } = setting(t);
  const up = await bringUp(request(FULL_TUNNEL), dependencies);
  await opened.close('the interface was deleted');
  await up.ended;
  assert.deepEqual(log, [...UP, ...DOWN]);
});

test('stopping while it is being brought up takes back what was done', async (t) => {
  const { dependencies, log, opened, request } = setting(t);
  const hook = FULL_TUNNEL.replace('[Interface]', '[Interface]\nPostUp = sleep');
  let stop = () => {};
  const slow: UpDependencies = {
    ...dependencies,
    runHook: () =>
      new Promise<void>((_resolve, reject) => {
        stop = () => {
          void opened.close('SIGINT');
          reject(new AppError('io', 'interrupted'));
        };
        setImmediate(stop);
      }),
  };
  await assert.rejects(bringUp(request(hook, true), slow), { message: 'interrupted' });
  assert.deepEqual(log, [...UP, ...DOWN]);
});

// SaveConfig.

test('SaveConfig writes the running state over the file, for its owner only', async (t) => {
  const { dependencies, opened, request } = setting(t);
  const key = new PrivateKey(new Uint8Array(32).fill(5));
  const text = `[Interface]\nAddress = 10.0.0.1/24\nSaveConfig = true\nPostUp = x\nPrivateKey = ${key.exposeBase64()}\n[Peer]\n# friendly_name = laptop\nPublicKey = ${PUBLIC}\n`;
  const one = request(text);
  writeFileSync(one.path, text);
  const up = await bringUp(one, dependencies);
  await opened.device.configure({ listenPort: 4711, peers: [] });
  await up.stop('enough');
  await up.ended;
  assert.equal(
    readFileSync(one.path, 'utf8'),
    `[Interface]\nAddress = 10.0.0.1/24\nSaveConfig = true\nPostUp = x\nListenPort = 4711\nPrivateKey = ${key.exposeBase64()}\n\n[Peer]\n# friendly_name = laptop\nPublicKey = ${PUBLIC}\n`,
  );
  assert.equal(statSync(one.path).mode & 0o777, 0o600);
});

test('without SaveConfig, and when it did not come up, the file stays as it is', async (t) => {
  for (const [text, failAt] of [
    ['[Interface]\nListenPort = 1\n', undefined],
    ['[Interface]\nListenPort = 1\nSaveConfig = true\n', 'up 1420'],
  ] as const) {
    const self = setting(t);
    self.failAt = failAt;
    const one = self.request(text);
    writeFileSync(one.path, text);
    const up = await bringUp(one, self.dependencies).catch(() => undefined);
    assert.equal(up === undefined, failAt !== undefined);
    await up?.stop('enough');
    await up?.ended;
    assert.equal(readFileSync(one.path, 'utf8'), text);
  }
});

test('saved peers keep endpoint, keys and names, and take the prefixes they have', async (t) => {
  const { opened, request } = setting(t);
  const text = `[Interface]\nTable = off\n\n[Peer]\n# friendly_name = a b\nPublicKey = ${PUBLIC}\nAllowedIPs = 10.0.0.0/8, fd00::/64\nEndpoint = [fe80::1%eth0]:7\nPersistentKeepalive = 25\n`;
  const { conf } = request(text);
  const [peer] = conf.peers;
  assert.ok(peer);
  await opened.device.configure({
    peers: [
      {
        publicKey: peer.publicKey,
        allowedIps: peer.allowedIps,
        persistentKeepalive: 25,
        endpoint: {
          address: Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
          port: 7,
          scope: 2,
          carrier: 0,
        },
      },
    ],
  });
  assert.equal(printWgConf(savedConf(conf, opened.device.state(), fakeZones, undefined)), text);
});

// Down.

function downDependencies({ dependencies, directory }: Setting) {
  const { system, undoStore, logger } = dependencies;
  return {
    system,
    undoStore,
    signIns: new SignInFiles(directory),
    logger,
    uapiDirectory: directory,
    sleep: () => new Promise<void>((resolve) => setImmediate(resolve)),
  };
}

test('down ends a running interface and waits for the end', async (t) => {
  const self = setting(t);
  const up = await bringUp(self.request(FULL_TUNNEL), self.dependencies);
  await takeDown('wg0', downDependencies(self));
  assert.deepEqual(self.log, [...UP, ...DOWN, 'delete wg0']);
  assert.equal(await up.ended, 'the UAPI socket was removed');
});

test('down cleans up after a killed process', async (t) => {
  const self = setting(t);
  const rules = [{ family: 4, table: 51820, fwmark: 51820, invert: true }] as const;
  const { undoStore } = self.dependencies;
  undoStore.save({ interfaceName: 'wg0', rules, firewallFamilies: [], hasDns: true });
  undoStore.markRunning('wg0');
  await takeDown('wg0', downDependencies(self));
  assert.ok(!undoStore.isRunning('wg0'));
  assert.deepEqual(self.log, ['unset dns', 'delete rule 51820']);
});

test('down of what does not run is a failure', async (t) => {
  const self = setting(t);
  await assert.rejects(takeDown('wg0', downDependencies(self)), { code: 'not_found' });
});

test('down of an interface that is none of ours does not touch it', async (t) => {
  const self = setting(t);
  await bringUp(self.request(''), self.dependencies);
  const foreign = { ...downDependencies(self), uapiDirectory: join(self.directory, 'empty') };
  await assert.rejects(takeDown('wg0', foreign), /not a userspace WireGuard interface/);
  assert.equal(self.opened.reason, undefined);
});

// The undo file and finding the configuration.

test('what is to be undone is handed out once', (t) => {
  const store = new UndoStore(join(setting(t).directory, 'x'));
  const undo = { interfaceName: 'wg0', rules: [], firewallFamilies: [4], hasDns: true } as const;
  assert.equal(store.take('wg0'), undefined);
  store.save(undo);
  assert.deepEqual(store.take('wg0'), undo);
  assert.equal(store.take('wg0'), undefined);
});

test('a name stands for a file in the configuration directory, a path for itself', (t) => {
  const { directory } = setting(t);
  writeFileSync(join(directory, 'wg0.conf'), '[Interface]\nMTU = 1300\n', { mode: 0o600 });
  for (const asked of ['wg0', join(directory, 'wg0.conf')]) {
    const found = findConf(asked, directory);
    assert.equal(found.interfaceName, 'wg0');
    assert.equal(found.conf.device.mtu, 1300);
    assert.deepEqual(found.warnings, []);
  }
  assert.throws(() => findConf('wg1', directory), { code: 'not_found' });
  writeFileSync(join(directory, 'bad name.conf'), '');
  assert.throws(() => findConf(join(directory, 'bad name.conf')), { code: 'usage' });
  unlinkSync(join(directory, 'wg0.conf'));
  writeFileSync(join(directory, 'wg0.conf'), '[Interface]\nMTUU = 1300\n');
  assert.throws(() => findConf('wg0', directory), {
    code: 'config',
    message: 'wg0.conf:2: unknown key "MTUU"',
  });
});
