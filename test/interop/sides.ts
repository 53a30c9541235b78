/** The two ends of a tunnel, as the black-box suites of wireguard-go and the kernel lay them out. */
import { joinByVeth, Namespace } from '../kit/netns.ts';
import { type Implementation, WireGuardProcess } from '../kit/programs.ts';
import { iperf, ping } from '../kit/traffic.ts';
import { type KeyPair, newKeyPair } from '../kit/wg.ts';

/** Upper bound of one test, so that a hang is a failure. */
export const TEST_TIMEOUT_MS = 120_000;

export interface Side {
  readonly process: WireGuardProcess;
  readonly keys: KeyPair;
  readonly port: number;
  readonly inner4: string;
  readonly inner6: string;
}

export interface Placement {
  readonly implementation: Implementation;
  /** Where the process runs and keeps its UDP sockets. */
  readonly namespace: Namespace;
  /** Where the link is moved to right after the start; the same by default. */
  readonly linkNamespace?: Namespace;
  /** Besides the environment of the test itself. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Pair {
  readonly one: Side;
  readonly two: Side;
}

/**
 * Starts both, with 192.168.241.1 and fd00::1 in the tunnel at port 10000 on one side, .2 and ::2 at port 20000 on
 * the other, links up and UDP sockets bound. Neither knows where the other is: that is `aim`'s job.
 */
export async function startPair(first: Placement, second: Placement, presharedKey?: string): Promise<Pair> {
  const one = startSide(1, first);
  const two = startSide(2, second);
  introduce(one, two, presharedKey);
  introduce(two, one, presharedKey);
  for (const side of [one, two]) await bringUp(side);
  return { one, two };
}

/** Where the two sides of `startLinkedPair` are, outside the tunnel. */
export const OUTER = {
  one: { 4: '10.0.0.1', 6: '[fd00:aa::1]' },
  two: { 4: '10.0.0.2', 6: '[fd00:aa::2]' },
} as const;

export interface LinkedPair extends Pair {
  [Symbol.asyncDispose](): Promise<void>;
}

/** A pair in two namespaces of their own, joined by a veth link named `veth` on both ends. */
export async function startLinkedPair(
  first: Implementation,
  second: Implementation,
  presharedKey?: string,
): Promise<LinkedPair> {
  const left = Namespace.create();
  const right = Namespace.create();
  const close = async (): Promise<void> => {
    await Promise.all([left.close(), right.close()]);
  };
  try {
    joinByVeth(
      { namespace: left, link: 'veth', addresses: ['10.0.0.1/24', 'fd00:aa::1/96'] },
      { namespace: right, link: 'veth', addresses: ['10.0.0.2/24', 'fd00:aa::2/96'] },
    );
    const pair = await startPair(
      { implementation: first, namespace: left },
      { implementation: second, namespace: right },
      presharedKey,
    );
    return { ...pair, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Starts the program of `side` anew, as it was configured, under the same link name. */
export async function startAgain(side: Side, config: string): Promise<Side> {
  const { implementation, namespace, link } = side.process;
  const again = { ...side, process: WireGuardProcess.start(implementation, namespace, { link }) };
  again.process.wg.setconf(config);
  await bringUp(again);
  return again;
}

/** Side `number` of a tunnel whose inner networks are 192.168.NETWORK.0/24 and fd00:0:0:(NETWORK - 241)::/64. */
export function startSide(
  number: 1 | 2,
  { implementation, namespace, linkNamespace, env }: Placement,
  network = 241,
): Side {
  const process = WireGuardProcess.start(implementation, namespace, env === undefined ? {} : { env });
  if (linkNamespace !== undefined) process.moveLinkTo(linkNamespace);
  return {
    process,
    keys: newKeyPair(),
    port: 10_000 * number + network - 241,
    inner4: `192.168.${network}.${number}`,
    inner6: network === 241 ? `fd00::${number}` : `fd00:0:0:${network - 241}::${number}`,
  };
}

/** Gives `side` its own key and port, and the peer's key and addresses. */
export function introduce(side: Side, peer: Side, presharedKey?: string): void {
  const { wg } = side.process;
  wg.set(`private-key ${side.keys.privateKey} listen-port ${side.port}`);
  wg.set(`peer ${peer.keys.publicKey} allowed-ips ${peer.inner4}/32,${peer.inner6}/128`);
  if (presharedKey !== undefined) wg.set(`peer ${peer.keys.publicKey} preshared-key ${presharedKey}`);
}

/** Gives the link its addresses, raises it and waits until the daemon has noticed. */
export async function bringUp(side: Side): Promise<void> {
  const { link, linkNamespace } = side.process;
  linkNamespace.ip(`address add ${side.inner4}/24 dev ${link}`);
  linkNamespace.ip(`address add ${side.inner6}/64 dev ${link} nodad`);
  linkNamespace.ip(`link set ${link} up`);
  await side.process.listening(side.port);
}

/** Tells `side` where its peer is: `127.0.0.1`, `[::1]`. Who has no endpoint cannot begin a handshake. */
export function aim(side: Side, peer: Side, address: string): void {
  side.process.wg.set(`peer ${peer.keys.publicKey} endpoint ${address}:${peer.port}`);
}

/** One echo from `side` to `peer` inside the tunnel. */
export async function pingPeer(side: Side, peer: Side, family: 4 | 6 = 4): Promise<void> {
  await ping(side.process.linkNamespace, family === 4 ? peer.inner4 : peer.inner6);
}

/** Flood pings both ways, then TCP and UDP, each over both inner families. */
export async function exchangeTraffic({ one, two }: Pair, bytes?: number): Promise<void> {
  const first = one.process.linkNamespace;
  const second = two.process.linkNamespace;
  const flood = { count: 10, flood: true };
  for (const [mine, theirs] of [
    [one.inner4, two.inner4],
    [one.inner6, two.inner6],
  ] as const) {
    await ping(second, mine, flood);
    await ping(first, theirs, flood);
  }
  const size = bytes === undefined ? {} : { bytes };
  await iperf({ server: second, client: first, address: two.inner4, protocol: 'tcp', ...size });
  await iperf({ server: first, client: second, address: one.inner6, protocol: 'tcp', ...size });
  await iperf({ server: first, client: second, address: one.inner4, protocol: 'udp', ...size });
  await iperf({ server: second, client: first, address: two.inner6, protocol: 'udp', ...size });
}
