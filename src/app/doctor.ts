/** What `culvert doctor` makes of what it found. Pure: facts in, judgements out. */
import type { AeadReport } from '../noise/aead-choose.ts';
import type { Measurement } from '../noise/choose.ts';

/** Undefined stands for what could not be found out here; `systemCalls` says why. All sizes in bytes. */
export interface Facts {
  /** `v20.20.2`. */
  readonly node: string;
  readonly platform: { readonly os: string; readonly architecture: string; readonly kernel: string };
  readonly systemCalls: Outcome;
  /** `works`: one was made, in a namespace of its own, and removed. `opens`: the rights to try it are missing. */
  readonly tun?: Outcome | { readonly state: 'opens' };
  readonly rights?: { readonly isRoot: boolean; readonly hasNetAdmin: boolean };
  readonly kernelModule?: 'loaded' | 'loadable' | 'absent';
  /** Whether PATH has them. */
  readonly tools: { readonly wg: boolean; readonly wgQuick: boolean };
  /** Of a UDP socket: what a device asks for and what it gets. */
  readonly buffers?: { readonly wanted: number; readonly send: number; readonly receive: number };
  readonly offloads?: { readonly gso: boolean; readonly gro: boolean };
  readonly ipv6?: boolean;
  readonly uapi: {
    readonly directory: string;
    readonly isWritable: boolean;
    /** Interface names. */
    readonly live: readonly string[];
    readonly stale: readonly string[];
  };
  /** Milliseconds since the Unix epoch. */
  readonly clock: number;
  /** The default route, of the family with the smaller MTU; null when there is none. */
  readonly route?: { readonly interfaceName: string; readonly mtu: number } | null;
  readonly crypto: { readonly handshake: readonly Measurement[]; readonly transport: AeadReport };
}

export type Outcome =
  { readonly state: 'works' } | { readonly state: 'fails'; readonly problem: string; readonly hint?: string };

/** A problem: no device can run. A warning: it runs, but slower or otherwise than one may expect. */
export type Status = 'ok' | 'warning' | 'problem';

export interface Check {
  /** Stable, for scripts. */
  readonly id: CheckId;
  readonly status: Status;
  readonly label: string;
  readonly detail: string;
  /** What to do about it. */
  readonly hint?: string;
}

export type CheckId = keyof typeof JUDGEMENTS;

type Judgement = Omit<Check, 'id' | 'label'>;

const ok = (detail: string): Judgement => ({ status: 'ok', detail });
const warning = (detail: string, hint: string): Judgement => ({ status: 'warning', detail, hint });
const problem = (detail: string, hint?: string): Judgement => ({
  status: 'problem',
  detail,
  ...(hint === undefined ? {} : { hint }),
});

/** IPv6 header, UDP header, transport message header and tag: what wg-quick subtracts. */
const OVERHEAD = 80;
/** RFC 8200 section 5. */
const MIN_IPV6_MTU = 1280;

/** A clock outside these years was never set. */
const EARLIEST = Date.UTC(2025, 0);
const LATEST = Date.UTC(2045, 0);

const MIN_NODE = [20, 19] as const;

/** In the order of the output. Undefined: there is nothing to judge. */
const JUDGEMENTS = {
  node: {
    label: 'Node.js',
    judge: ({ node }) =>
      isOldNode(node)
        ? problem(`${node} is too old`, `install Node.js ${MIN_NODE.join('.')} or later`)
        : ok(node),
  },
  platform: {
    label: 'platform',
    judge: ({ platform: { os, architecture, kernel } }) =>
      os === 'linux'
        ? ok(`Linux ${kernel}, ${architecture}`)
        : problem(`${os} ${architecture}`, 'devices run on 64-bit Linux; elsewhere only "culvert demo" does'),
  },
  'system-calls': {
    label: 'system calls',
    judge: ({ systemCalls }) =>
      systemCalls.state === 'works' ? ok('koffi loads') : problem(systemCalls.problem, systemCalls.hint),
  },
  tun: {
    label: 'TUN device',
    judge: ({ tun }) => {
      if (!tun) return undefined;
      if (tun.state === 'fails') return problem(tun.problem, tun.hint);
      return ok(tun.state === 'works' ? 'an interface can be made' : '/dev/net/tun can be opened');
    },
  },
  rights: {
    label: 'rights',
    judge: ({ rights }) => {
      if (!rights) return undefined;
      if (rights.hasNetAdmin) return ok(rights.isRoot ? 'root, with CAP_NET_ADMIN' : 'CAP_NET_ADMIN');
      return problem(
        rights.isRoot ? 'root without CAP_NET_ADMIN' : 'neither root nor CAP_NET_ADMIN',
        rights.isRoot ? 'in a container: --cap-add NET_ADMIN' : 'use sudo',
      );
    },
  },
  'kernel-module': {
    label: 'kernel module',
    judge: ({ kernelModule }) => {
      if (!kernelModule) return undefined;
      if (kernelModule === 'absent') return ok('none, so wg-quick falls back to a userspace device');
      return warning(
        `WireGuard is ${kernelModule === 'loaded' ? 'loaded' : 'there to be loaded'}: faster, and preferred by wg-quick`,
        'for a culvert device all the same: culvert up FILE, or culvert-go NAME before wg setconf',
      );
    },
  },
  tools: {
    label: 'wg, wg-quick',
    judge: ({ tools: { wg, wgQuick } }) => {
      if (wg && wgQuick) return ok('both found');
      const missing = [wg ? '' : 'wg', wgQuick ? '' : 'wg-quick'];
      return warning(
        `not found: ${missing.filter(Boolean).join(', ')}`,
        'install wireguard-tools, or do with "culvert show" and "culvert up"',
      );
    },
  },
  'socket-buffers': {
    label: 'socket buffers',
    judge: ({ buffers }) => {
      if (!buffers) return undefined;
      const { wanted, send, receive } = buffers;
      if (send >= wanted && receive >= wanted) return ok(`${mebibytes(wanted)} each`);
      return warning(
        `receive ${mebibytes(receive)}, send ${mebibytes(send)} of ${mebibytes(wanted)}: bursts get lost`,
        `run as root, or: sysctl -w net.core.rmem_max=${wanted} net.core.wmem_max=${wanted}`,
      );
    },
  },
  'udp-offloads': {
    label: 'UDP offloads',
    judge: ({ offloads }) => {
      if (!offloads) return undefined;
      const { gso, gro } = offloads;
      if (gso && gro) return ok('GSO and GRO');
      const missing = [gso ? '' : 'GSO (Linux 4.18)', gro ? '' : 'GRO (Linux 5.0)'].filter(Boolean);
      return warning(`without ${missing.join(' and ')}: slower`, 'a newer kernel has them');
    },
  },
  ipv6: {
    label: 'IPv6',
    judge: ({ ipv6 }) => {
      if (ipv6 === undefined) return undefined;
      return ipv6
        ? ok('available')
        : warning(
            'switched off: endpoints and tunnels are IPv4 only',
            'sysctl net.ipv6.conf.all.disable_ipv6=0',
          );
    },
  },
  uapi: {
    label: 'UAPI sockets',
    judge: ({ uapi: { directory, isWritable, live, stale } }) => {
      if (!isWritable) return problem(`${directory} cannot be written to`, 'run as root');
      if (stale.length > 0) {
        const files = stale.map((name) => `${directory}/${name}.sock`).join(' ');
        return warning(
          `nobody listens on ${stale.join(', ')}`,
          `rm ${files} (a new device does it by itself)`,
        );
      }
      return ok(live.length === 0 ? `${directory} is usable` : `${directory}, in use by ${live.join(', ')}`);
    },
  },
  clock: {
    label: 'clock',
    judge: ({ clock }) => {
      const date = `${new Date(clock).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
      if (clock >= EARLIEST && clock < LATEST) return ok(date);
      return warning(
        `${date} is far in the ${clock < EARLIEST ? 'past' : 'future'}`,
        clock < EARLIEST
          ? 'set it: peers refuse handshakes that are older than the last one they saw'
          : 'set it before the first handshake: peers will refuse all that come after it is corrected',
      );
    },
  },
  mtu: {
    label: 'MTU',
    judge: ({ route }) => {
      if (route === undefined) return undefined;
      if (route === null) {
        return warning(
          'no default route; without one a tunnel gets MTU 1420',
          'peers in other networks need a route',
        );
      }
      const { interfaceName, mtu } = route;
      const inner = mtu - OVERHEAD;
      const detail = `${mtu} by default on ${interfaceName}, so ${inner} in a tunnel`;
      return inner >= MIN_IPV6_MTU
        ? ok(detail)
        : warning(detail, `IPv6 in the tunnel needs ${MIN_IPV6_MTU}; IPv4 works`);
    },
  },
  crypto: {
    label: 'crypto',
    judge: ({ crypto: { handshake, transport } }) => {
      const x25519 = handshake.find(({ operation }) => operation === 'X25519')?.chosen;
      const detail = `${transport.chosen} for packets, ${x25519} for handshakes`;
      return transport.chosen === 'noble' || x25519 === 'noble'
        ? warning(detail, 'noble is slow and not constant time: use a Node.js with OpenSSL and SIMD')
        : ok(detail);
    },
  },
} as const satisfies Record<
  string,
  { readonly label: string; readonly judge: (facts: Facts) => Judgement | undefined }
>;

export function judge(facts: Facts): Check[] {
  return Object.entries(JUDGEMENTS).flatMap(([id, { label, judge: look }]) => {
    const judgement = look(facts);
    return judgement ? [{ id: id as CheckId, label, ...judgement }] : [];
  });
}

/** Whether a device can run. */
export function isUsable(checks: readonly Check[]): boolean {
  return checks.every(({ status }) => status !== 'problem');
}

function isOldNode(node: string): boolean {
  const [major = 0, minor = 0] = node.replace(/^v/, '').split('.').map(Number);
  return major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1]);
}

function mebibytes(bytes: number): string {
  return bytes < 1 << 20 ? `${Math.round(bytes / 1024)} KiB` : `${+(bytes / (1 << 20)).toFixed(1)} MiB`;
}
