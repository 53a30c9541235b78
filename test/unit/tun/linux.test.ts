import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Arena } from '../../../src/core/arena.ts';
import { AppError, SystemError } from '../../../src/core/errors.ts';
import { type LogFields, type Logger, silentLogger } from '../../../src/core/log.ts';
import { fdWatcher } from '../../../src/sys/readiness.ts';
import { type LinuxTun, type LinuxTunOptions, openTun } from '../../../src/tun/linux.ts';
import { PORT_GONE } from '../../../src/tun/tun.ts';
import { tunContract } from '../../contracts/tun.ts';
import { eventually } from '../../kit/eventually.ts';
import { Namespace, requireRoot } from '../../kit/netns.ts';
import { ipv4Packet } from '../../kit/packets.ts';
import { PacketSocket } from '../../kit/packet-socket.ts';

const skip = requireRoot({ tun: true, programs: ['ping', 'setpriv', 'unshare'] });

/** A periodic task that runs when the test says so. */
class Ticker {
  readonly tasks = new Set<() => void>();
  readonly every = (_ms: number, task: () => void): (() => void) => {
    this.tasks.add(task);
    return () => this.tasks.delete(task);
  };
  tick(): void {
    for (const task of this.tasks) task();
  }
}

class World {
  readonly namespace: Namespace = Namespace.create();
  readonly arena: Arena = new Arena({ bytes: 1 << 20 });
  readonly ticker = new Ticker();
  readonly events: string[] = [];

  open(options: Partial<LinuxTunOptions> = {}): LinuxTun {
    const { arena, ticker } = this;
    const defaults = { name: 'wgt0', arena, watcher: fdWatcher, every: ticker.every, logger: silentLogger };
    return this.namespace.within(() => openTun({ ...defaults, ...options }));
  }

  watch(tun: LinuxTun): void {
    // The monitor's socket belongs to the namespace that the process would be in.
    this.namespace.within(() =>
      tun.watch({
        onLink: (up) => this.events.push(up ? 'up' : 'down'),
        onMtu: (mtu) => this.events.push(`mtu ${mtu}`),
        onGone: () => this.events.push('gone'),
      }),
    );
  }

  async shows(...expected: string[]): Promise<void> {
    await eventually(`events ${expected.join(', ')}`, () => this.events.length >= expected.length);
    assert.deepEqual(this.events, expected);
  }
}

function index(namespace: Namespace, link: string): number {
  return Number(namespace.ip(`-o link show ${link}`).split(':')[0]);
}

/** Runs `body` in a process of its own, as `prefix` says, with `openTun` and friends in scope. */
function runChild(prefix: readonly string[], body: string) {
  const at = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
  const code = `
    import { openTun } from ${at('../../../src/tun/linux.js')};
    import { Arena } from ${at('../../../src/core/arena.js')};
    const options = { name: 'wgt0', arena: new Arena({ bytes: 65536 }), watcher: {}, every: () => () => {}, logger: {} };
    try { ${body} } catch (error) {
      console.log([error.code, error.message, error.hint].join('|'));
    }`;
  const [command, ...args] = [...prefix, process.execPath, '--input-type=module', '-e', code] as const;
  return spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 }).stdout;
}

tunContract(
  'linux',
  () => {
    const world = new World();
    const { namespace, arena } = world;
    const tun = world.open();
    const real = { watch: tun.watch.bind(tun) };
    tun.watch = (events) => namespace.within(() => real.watch(events));
    // Addresses of its own would make the kernel talk (router solicitations, MLD) into the device.
    namespace.exec('sysctl', ['-qw', 'net.ipv6.conf.wgt0.disable_ipv6=1']);
    const socket = namespace.within(() => new PacketSocket(index(namespace, 'wgt0')));
    return {
      tun,
      arena,
      inject: (packet) => socket.send(packet),
      delivered: () => socket.received(),
      setLink: (up) => void namespace.ip(`link set wgt0 ${up ? 'up' : 'down'}`),
      setMtu: (mtu) => void namespace.ip(`link set wgt0 mtu ${mtu}`),
      vanish: () => void namespace.ip('link del wgt0'),
      dispose: async () => {
        socket.close();
        await namespace.close();
      },
    };
  },
  skip,
);

describe('linux TUN', { skip }, () => {
  const scenario = (title: string, body: (world: World) => Promise<void> | void) => {
    test(title, async () => {
      const world = new World();
      try {
        await body(world);
      } finally {
        await world.namespace.close();
      }
    });
  };

  scenario('a new device has the name asked for and MTU 1420, or the MTU asked for', (world) => {
    const first = world.open();
    const second = world.open({ name: 'fifteen-letters', mtu: 1_280 });
    assert.deepEqual([first.name, first.mtu], ['wgt0', 1_420]);
    assert.deepEqual([second.name, second.mtu], ['fifteen-letters', 1_280]);
    assert.match(world.namespace.ip('link show fifteen-letters'), /mtu 1280/);
    first.close();
    second.close();
    assert.equal(world.namespace.try('ip', ['link', 'show', 'wgt0']).status, 1);
  });

  scenario('packets that found the queue in front of the device full are told', async (world) => {
    const { namespace } = world;
    const tun = world.open();
    world.watch(tun);
    assert.deepEqual(tun.fill(), { depth: undefined, capacity: 500, dropped: 0 });
    namespace.ip('link set wgt0 txqueuelen 20');
    namespace.exec('sysctl', ['-qw', 'net.ipv6.conf.wgt0.disable_ipv6=1']);
    namespace.ip('address add 10.7.0.1/24 dev wgt0');
    namespace.ip('link set wgt0 up');
    // Nobody reads. A socket's own memory may bound what one program has in the queue.
    const socket = namespace.within(() => new PacketSocket(index(namespace, 'wgt0')));
    for (let i = 0; i < 100; i++) socket.send(ipv4Packet('10.7.0.1', '10.7.0.2', 60, i));
    await eventually('drops are told', () => (tun.fill()?.dropped ?? 0) > 0);
    assert.equal(tun.fill()?.capacity, 20);
    socket.close();
    tun.close();
    assert.equal(tun.fill(), undefined);
  });

  scenario('a ping into the device is read as packets, and an answer reaches ping', async (world) => {
    const tun = world.open();
    world.namespace.ip('address add 10.7.0.1/24 dev wgt0');
    world.namespace.ip('link set wgt0 up');
    const at = world.arena.alloc(2_048);
    const { u8 } = world.arena;
    tun.packets.onReadable(() => {
      for (let length = tun.packets.read(at, 2_048); length > 0; length = tun.packets.read(at, 2_048)) {
        if (u8[at] !== 0x45 || u8[at + 20] !== 8) continue;
        // Turns the request into the reply: addresses swapped, type 8 to 0, checksum adapted.
        const source = u8.slice(at + 12, at + 16);
        u8.copyWithin(at + 12, at + 16, at + 20);
        u8.set(source, at + 16);
        u8[at + 20] = 0;
        const sum = world.arena.view.getUint16(at + 22) + 0x800;
        world.arena.view.setUint16(at + 22, (sum & 0xffff) + (sum >>> 16));
        assert.equal(tun.packets.write(at, length), length);
      }
    });
    const ping = world.namespace.spawn('ping', ['-c3', '-i0.01', '-W5', '10.7.0.9'], { stdio: 'pipe' });
    let output = '';
    ping.stdout?.on('data', (text) => (output += String(text)));
    const status = await new Promise((resolve) => ping.once('exit', resolve));
    assert.equal(status, 0, output);
    assert.match(output, /3 packets transmitted, 3 received, 0% packet loss/);
    tun.close();
  });

  scenario('a device moved to another namespace goes on: link, MTU, packets and end', async (world) => {
    const tun = world.open();
    world.watch(tun);
    const other = Namespace.create();
    world.namespace.ip(`link set wgt0 netns ${other.name}`);
    other.exec('sysctl', ['-qw', 'net.ipv6.conf.wgt0.disable_ipv6=1']);
    other.ip('link set wgt0 up');
    await world.shows('down', 'up');
    other.ip('link set wgt0 mtu 9000');
    await world.shows('down', 'up', 'mtu 9000');
    const socket = other.within(() => new PacketSocket(index(other, 'wgt0')));
    const packet = ipv4Packet('10.7.0.1', '10.7.0.2', 1_000);
    socket.send(packet);
    const at = world.arena.alloc(2_048);
    assert.equal(tun.packets.read(at, 2_048), 1_000);
    assert.equal(tun.packets.write(at, 1_000), 1_000);
    assert.deepEqual(socket.received(), [packet]);
    socket.close();
    other.ip('link set wgt0 down');
    await world.shows('down', 'up', 'mtu 9000', 'down');
    other.ip('link del wgt0');
    await world.shows('down', 'up', 'mtu 9000', 'down', 'gone');
    await other.close();
  });

  scenario('what no notification told is found by asking once a second', async (world) => {
    // A watcher that never calls stands for a namespace of which nothing may be heard.
    const tun = world.open({ watcher: { watch: () => ({ close: () => {} }) } });
    world.watch(tun);
    const other = Namespace.create();
    world.namespace.ip(`link set wgt0 netns ${other.name}`);
    other.ip('link set wgt0 up mtu 1300');
    assert.deepEqual(world.events, ['down']);
    world.ticker.tick();
    assert.deepEqual(world.events, ['down', 'mtu 1300', 'up']);
    world.ticker.tick();
    assert.equal(world.events.length, 3);
    await other.close();
    await eventually('the namespace takes its links along', () => {
      world.ticker.tick();
      return world.events.at(-1) === 'gone';
    });
    assert.equal(world.ticker.tasks.size, 0);
    tun.close();
  });

  scenario('a renamed device keeps its link state, MTU and the name it was opened by', async (world) => {
    const tun = world.open();
    world.watch(tun);
    world.namespace.ip('link set wgt0 name other0');
    world.namespace.ip('link set other0 up mtu 1400');
    await eventually('up', () => world.events.includes('up') && world.events.includes('mtu 1400'));
    assert.deepEqual([tun.name, tun.mtu], ['wgt0', 1_400]);
    world.namespace.ip('link del other0');
    await eventually('gone', () => world.events.at(-1) === 'gone');
  });

  scenario('an MTU beyond what a datagram holds is capped, with one warning', async (world) => {
    const warnings: [string, LogFields | undefined][] = [];
    const logger: Logger = {
      log: (_level, event, fields) => warnings.push([event, fields]),
      child: () => logger,
    };
    const tun = world.open({ mtu: 65_535, logger });
    assert.equal(tun.mtu, 65_503);
    assert.deepEqual(warnings, [['mtu_capped', { asked: 65_535, used: 65_503 }]]);
    world.watch(tun);
    world.namespace.ip('link set wgt0 mtu 65504');
    world.namespace.ip('link set wgt0 up');
    await world.shows('down', 'up');
    assert.equal(warnings.length, 1);
    tun.close();
  });

  scenario('an inherited descriptor is taken over as it is', (world) => {
    const first = world.open({ mtu: 1_300 });
    const second = world.open({ fd: first.fd, name: 'ignored' });
    assert.deepEqual([second.name, second.mtu], ['wgt0', 1_300]);
    second.close();
    assert.equal(first.packets.read(world.arena.alloc(64), 64), PORT_GONE);
  });

  scenario('a descriptor that is no TUN device is refused', (world) => {
    assert.throws(
      () => world.open({ fd: 0 }),
      (error: unknown) =>
        error instanceof AppError &&
        error.message === 'descriptor 0 is no TUN device' &&
        /WG_TUN_FD/.test(error.hint ?? ''),
    );
  });

  scenario('an interface in use is refused, as is one of another kind', (world) => {
    const first = world.open();
    assert.throws(
      () => world.open(),
      (error: unknown) =>
        error instanceof SystemError &&
        error.code === 'in_use' &&
        error.message === 'create interface wgt0: EBUSY' &&
        /another process/.test(error.hint ?? ''),
    );
    assert.throws(
      () => world.open({ name: 'lo' }),
      (error: unknown) => error instanceof SystemError && /another kind/.test(error.hint ?? ''),
    );
    first.close();
  });

  scenario('names that no interface can have are refused before the kernel is asked', (world) => {
    for (const name of [
      '',
      'sixteen-letters!',
      'a/b',
      'a b',
      'a\tb',
      '.',
      '..',
      'wg%d',
      'eth0:1',
      'ünterfäces-xyz',
    ]) {
      assert.throws(
        () => world.open({ name }),
        (error: unknown) =>
          error instanceof AppError && error.code === 'usage' && error.message.includes(`"${name}"`),
        name,
      );
    }
  });

  scenario('reads and writes outside the arena reach no memory', (world) => {
    const tun = world.open();
    world.namespace.ip('link set wgt0 up');
    const end = world.arena.u8.length;
    assert.equal(tun.packets.read(end, 2_048), 0);
    assert.equal(tun.packets.read(2 ** 32 - 16, 2_048), 0);
    assert.ok(tun.packets.write(end - 10, 40) < 0);
    assert.ok(tun.packets.write(2 ** 32 - 16, 40) < 0);
    tun.close();
  });

  test('without rights the error says which are missing', () => {
    const withoutCapability = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'];
    const output = runChild(withoutCapability, `openTun(options);`);
    assert.match(output, /^permission\|create interface wgt0: EPERM\|run as root or with CAP_NET_ADMIN/);
  });

  test('without the device node the error says how to get it', () => {
    const hide = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'];
    const output = runChild(hide, `openTun(options);`);
    assert.match(output, /^unavailable\|\/dev\/net\/tun is missing\|load the module \(modprobe tun\)/);
  });
});
