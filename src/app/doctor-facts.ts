/** Looks around on this machine for `culvert doctor`. Whatever it opens or makes it closes again. */
import { accessSync, closeSync, constants, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { dirname } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Arena } from '../core/arena.ts';
import { systemClock } from '../core/clock.ts';
import { AppError, SystemError } from '../core/errors.ts';
import { parseAddress } from '../core/ip.ts';
import { silentLogger } from '../core/log.ts';
import { createTransportAead } from '../noise/aead-choose.ts';
import { chooseCrypto } from '../noise/choose.ts';
import { libc } from '../sys/libc.ts';
import { NetworkNamespace } from '../sys/namespace.ts';
import { fdWatcher } from '../sys/readiness.ts';
import { RouteClient } from '../sys/route-client.ts';
import { SOCKET_BUFFER_BYTES, UdpSocket } from '../sys/udp-socket.ts';
import { openTun } from '../tun/linux.ts';
import { UAPI_DIRECTORY, uapiPath } from '../tunnel/uapi-socket.ts';
import type { Facts, Outcome } from './doctor.ts';
import { hasProgram } from './programs.ts';
import { isAlive } from './uapi-client.ts';

const TUN_DEVICE = '/dev/net/tun';
/** linux/capability.h. */
const CAP_NET_ADMIN = 12n;

/** What is looked at one after the other: said before each, since the last one takes a moment. */
const STEPS = ['system calls', 'programs and rights', 'network', 'interfaces', 'crypto backends'] as const;

/** `onStep` is told what begins, and how many of all steps are over. */
export async function collectFacts(
  onStep: (label: string, done: number, all: number) => void = () => {},
): Promise<Facts> {
  const step = async (number: number) => {
    onStep(STEPS[number] as string, number, STEPS.length);
    // What is drawn reaches the terminal before the thread is busy.
    await turn();
  };
  await step(0);
  const systemCalls = attempt(() => void libc());
  await step(1);
  const tools = { wg: hasProgram('wg'), wgQuick: hasProgram('wg-quick') };
  const linux = process.platform === 'linux' ? { rights: rights(), kernelModule: kernelModule() } : {};
  await step(2);
  const system = systemCalls.state === 'works' ? systemFacts() : {};
  await step(3);
  const sockets = await uapi();
  await step(4);
  return {
    node: process.version,
    platform: { os: process.platform, architecture: process.arch, kernel: release() },
    systemCalls,
    tools,
    ...linux,
    ...system,
    uapi: sockets,
    clock: systemClock.wall(),
    crypto: await crypto(),
  };
}

function attempt(task: () => void): Outcome {
  try {
    task();
    return { state: 'works' };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const { message, hint } = error;
    return { state: 'fails', problem: message, ...(hint === undefined ? {} : { hint }) };
  }
}

/** Each absent where it fails in a way that says nothing about the machine. */
function systemFacts(): Partial<Facts> {
  const sockets = socketFacts();
  const route = defaultRoute();
  return { tun: tun(), ...sockets, ...(route === undefined ? {} : { route }) };
}

function tun(): NonNullable<Facts['tun']> {
  let namespace: NetworkNamespace;
  try {
    namespace = NetworkNamespace.create();
  } catch {
    return canOpenTun();
  }
  try {
    return attempt(() => namespace.run(makeTun));
  } finally {
    namespace.close();
  }
}

/** In a namespace where nobody sees it come and go. */
function makeTun(): void {
  openTun({
    name: 'culvert-doctor',
    arena: new Arena({ bytes: 0 }),
    watcher: fdWatcher,
    every: () => () => {},
    logger: silentLogger,
  }).close();
}

function canOpenTun(): NonNullable<Facts['tun']> {
  try {
    closeSync(openSync(TUN_DEVICE, 'r+'));
    return { state: 'opens' };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const isMissing = code !== 'EACCES' && code !== 'EPERM';
    return {
      state: 'fails',
      problem: isMissing ? `${TUN_DEVICE} is missing (${code})` : `${TUN_DEVICE} may not be opened (${code})`,
      hint: isMissing ? 'modprobe tun; in a container: --device /dev/net/tun' : 'run as root',
    };
  }
}

function rights(): NonNullable<Facts['rights']> {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
  const hasNetAdmin = ((BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) === 1n;
  return { isRoot: process.geteuid?.() === 0, hasNetAdmin };
}

/** Without asking the kernel for such an interface, which would load the module. */
function kernelModule(): NonNullable<Facts['kernelModule']> {
  if (existsSync('/sys/module/wireguard')) return 'loaded';
  const isListed = ['modules.dep', 'modules.builtin'].some((list) => {
    try {
      return /\/wireguard\.ko/.test(readFileSync(`/lib/modules/${release()}/${list}`, 'utf8'));
    } catch {
      return false;
    }
  });
  return isListed ? 'loadable' : 'absent';
}

function socketFacts(): Pick<Facts, 'buffers' | 'offloads' | 'ipv6'> {
  const ipv6 = open(6);
  ipv6?.close();
  const socket = open(4);
  if (!socket) return { ipv6: ipv6 !== undefined };
  try {
    const { sendBytes: send, receiveBytes: receive } = socket.buffers();
    return {
      ipv6: ipv6 !== undefined,
      buffers: { wanted: SOCKET_BUFFER_BYTES, send, receive },
      offloads: { gso: socket.supportsGso(), gro: socket.enableGro() },
    };
  } finally {
    socket.close();
  }
}

/** Undefined when the machine lacks the family. */
function open(family: 4 | 6): UdpSocket | undefined {
  if (family === 6 && isIpv6Disabled()) return undefined;
  try {
    return new UdpSocket(family, 0);
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}

/** A socket opens all the same where only the addresses are forbidden. */
function isIpv6Disabled(): boolean {
  try {
    return readFileSync('/proc/sys/net/ipv6/conf/all/disable_ipv6', 'utf8').trim() === '1';
  } catch {
    return false;
  }
}

/** Nothing is sent to them: public addresses that no local route is likely to name. */
const FAR_AWAY = ['1.1.1.1', '2606:4700:4700::1111'].map((text) => parseAddress(text));

function defaultRoute(): Facts['route'] {
  const routes = new RouteClient();
  try {
    const found = FAR_AWAY.flatMap((address) => {
      const route = address && routes.routeTo(address);
      const link = route && routes.link(route.interfaceIndex);
      return link ? [{ interfaceName: link.name, mtu: route.mtu ?? link.mtu }] : [];
    });
    return found.sort((a, b) => a.mtu - b.mtu)[0] ?? null;
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  } finally {
    routes.close();
  }
}

async function uapi(): Promise<Facts['uapi']> {
  const names = socketNames();
  const alive = await Promise.all(names.map((name) => isAlive(uapiPath(name))));
  return {
    directory: UAPI_DIRECTORY,
    isWritable: isWritable(UAPI_DIRECTORY),
    live: names.filter((_, i) => alive[i]),
    stale: names.filter((_, i) => !alive[i]),
  };
}

function socketNames(): string[] {
  try {
    return readdirSync(UAPI_DIRECTORY, { withFileTypes: true })
      .filter((entry) => entry.isSocket() && entry.name.endsWith('.sock'))
      .map(({ name }) => name.slice(0, -'.sock'.length))
      .sort();
  } catch {
    return [];
  }
}

/** Or can be made. */
function isWritable(directory: string): boolean {
  if (!existsSync(directory) && directory !== dirname(directory)) return isWritable(dirname(directory));
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function crypto(): Promise<Facts['crypto']> {
  const { measurements } = await chooseCrypto(systemClock);
  // Shared memory, as lanes in a worker have it: WebAssembly is compiled apart for it.
  const arena = new Arena({ bytes: 1 << 20, shared: true });
  const { report } = createTransportAead(arena, { wanted: 'auto', clock: systemClock });
  return { handshake: measurements, transport: report };
}
