/**
 * V8 interprets code until it has run often, and a tunnel that carries a ping a second takes hours to get there. So
 * before its first packet a lane rehearses: loops of the same parts, with arenas, sessions and descriptors of their own,
 * send packets to themselves over loopback, and V8 is told to be eager meanwhile. What the rehearsal leaves out makes
 * V8 throw compiled code away when it happens for the first time, so it has of everything a little.
 */
import { Arena } from '../../core/arena.ts';
import { systemClock } from '../../core/clock.ts';
import { SystemError } from '../../core/errors.ts';
import { systemRandom } from '../../core/random.ts';
import { type AeadReport, recreateTransportAead } from '../../noise/aead-choose.ts';
import { KEY_SIZE } from '../../noise/keys.ts';
import { INITIATION, MESSAGE_INITIATION, MESSAGE_TRANSPORT, TRANSPORT } from '../../noise/messages.ts';
import { libc } from '../../sys/libc.ts';
import { Block } from '../../sys/memory.ts';
import { PacketPair } from '../../sys/packet-pair.ts';
import { EventFd } from '../../sys/poll.ts';
import { fdWatcher } from '../../sys/readiness.ts';
import { type Family, UdpSocket } from '../../sys/udp-socket.ts';
import { type TunFormat, openPacketPort } from '../../tun/linux.ts';
import { wasmChecksums } from '../../wasm/checksums.ts';
import { ENDPOINT, encodeEndpoint } from '../endpoint.ts';
import { LinuxDatagrams, type LinuxDatagramsOptions } from '../linux-datagrams.ts';
import { withEagerCompiler } from './eager-compiler.ts';
import type { Lane } from './lane.ts';
import { LaneLoop } from './loop.ts';
import { ALLOWED_IPS, rehearsalPackets } from './warm-up-packets.ts';

export interface WarmUpOptions {
  readonly tunFormat: TunFormat;
  readonly aead: AeadReport;
  readonly datagrams: LinuxDatagramsOptions;
}

/** Code that has seen one loop only may count on its very functions, so there are several. Nobody waits for them longer. */
const REHEARSALS = 4;
const REHEARSAL_MS = 75;
const MAX_ROUNDS = 3_000;
const ARENA_BYTES = 6 << 20;
/** What does not happen all the time happens every so many rounds. */
const RARELY = 16;

const PEER = 1;
const NO_KEYPAIR = 0;
/** Receiver indices. */
const INITIATOR = 1;
const RESPONDER = 2;
const LOOPBACK = {
  4: Uint8Array.of(127, 0, 0, 1),
  6: Uint8Array.of(...new Array<number>(15).fill(0), 1),
} as const;
/** Turns until an answer has been written. */
const TURNS = 2;
/** Both by their looks only. The second is of a session that does not exist. */
const HANDSHAKE: Uint8Array = message(MESSAGE_INITIATION, INITIATION.size);
const STRAY: Uint8Array = message(MESSAGE_TRANSPORT, TRANSPORT.size);

interface Sockets {
  readonly ipv4: UdpSocket | undefined;
  readonly ipv6: UdpSocket | undefined;
}

export interface WarmedUp {
  /** Packets and super-packets that went into the lane, and that came out again: none where loopback is down. */
  readonly sent: number;
  readonly returned: number;
}

/** Throws SystemError where descriptors are not to be had, RangeError where memory is not. */
export function warmUp(options: WarmUpOptions): WarmedUp {
  const total = { sent: 0, returned: 0 };
  withEagerCompiler(() => {
    for (let i = 0; i < REHEARSALS; i++) {
      const { sent, returned } = rehearse(options, i % 2 === 0 ? 4 : 6);
      total.sent += sent;
      total.returned += returned;
    }
  });
  return total;
}

/** `family`: that of the datagrams, if the machine has it. */
function rehearse(options: WarmUpOptions, family: Family): WarmedUp {
  const closers: (() => void)[] = [];
  try {
    const pair = new PacketPair();
    closers.push(() => pair.close());
    const wake = new EventFd();
    closers.push(() => wake.close());
    const sockets = [4, 6].map((each) => {
      const socket = openSocket(each as Family, options.datagrams.gro);
      if (socket) closers.push(() => socket.close());
      return socket;
    });
    const [ipv4, ipv6] = sockets;
    return exercise(options, pair, { ipv4, ipv6 }, wake, family);
  } finally {
    for (const close of closers.reverse()) close();
  }
}

function exercise(
  { tunFormat, aead, datagrams }: WarmUpOptions,
  pair: PacketPair,
  sockets: Sockets,
  wake: EventFd,
  family: Family,
): WarmedUp {
  const arena = new Arena({ bytes: ARENA_BYTES, shared: true });
  const tun = openPacketPort(pair.near, tunFormat, arena, wasmChecksums(arena), fdWatcher, () => {});
  const loop = new LaneLoop({
    arena,
    aead: recreateTransportAead(arena, aead),
    clock: systemClock,
    tun,
    tunFd: pair.near,
    datagrams: new LinuxDatagrams(arena, datagrams),
    streams: undefined,
    policy: {},
    wakeFd: wake.fd,
    takeMessages: family === 4 ? () => wake.clear() : () => wake.clear() || true,
    post: family === 4 ? () => {} : ignore,
  });
  const { lane } = loop;
  loop.useSockets(sockets.ipv4?.fd ?? -1, sockets.ipv6?.fd ?? -1);
  const endpoint = introduce(loop, family === 6 ? (sockets.ipv6 ?? sockets.ipv4) : sockets.ipv4);
  const { allowed, refused } = rehearsalPackets(tunFormat);
  const received = new Block(1 << 17);
  const end = systemClock.now() + REHEARSAL_MS;
  let sent = 0;
  let returned = 0;
  const send = (packet: Block) => libc().write(pair.far, packet.address, packet.size);
  for (let round = 0; round < MAX_ROUNDS && systemClock.now() < end; round++) {
    // Mostly a small packet alone, as on a tunnel with little to do.
    const isRare = round % RARELY === 0;
    const packet = allowed[isRare ? (round / RARELY) % allowed.length : round % 4 === 3 ? 1 : 0] as Block;
    if (isRare) {
      send(refused);
      lane.sendTo(endpoint, HANDSHAKE);
      lane.sendTo(endpoint, STRAY);
      lane.sendKeepalive(PEER);
      lane.useKeypair(PEER, NO_KEYPAIR);
    }
    send(packet);
    sent++;
    if (isRare) wake.raise();
    loop.turn(isRare);
    if (isRare) {
      beginSession(lane, round % (2 * RARELY) === 0);
      lane.sendStaged(PEER);
    }
    for (let turn = 0; turn < TURNS; turn++) loop.turn(false);
    for (;;) {
      const length = libc().read(pair.far, received.address, received.size);
      if (length <= 0) break;
      if (length === packet.size) returned++;
    }
  }
  loop.useSockets(-1, -1);
  lane.removePeer(PEER);
  tun.close();
  return { sent, returned };
}

function ignore(): void {}

function message(type: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes[0] = type;
  return bytes;
}

/** The lane is its own peer. Returns its endpoint. */
function introduce(loop: LaneLoop, socket: UdpSocket | undefined): Uint8Array {
  const { lane } = loop;
  const endpoint = new Uint8Array(ENDPOINT.size);
  if (socket) {
    const address = LOOPBACK[socket.family];
    encodeEndpoint({ address, port: socket.port, scope: 0, carrier: 0 }, endpoint, 0);
  }
  lane.addPeer(PEER);
  lane.setEndpoint(PEER, endpoint);
  for (const { address, length } of ALLOWED_IPS) lane.addAllowedIp(PEER, address, length);
  beginSession(lane, false);
  lane.setUp(true);
  loop.setUp(true);
  return endpoint;
}

/** One key for all. With `asResponder` the first packet confirms the responder's keypair, and from then on that is in use. */
function beginSession(lane: Lane, asResponder: boolean): void {
  const key = new Uint8Array(KEY_SIZE);
  systemRandom.fill(key);
  const common = { peer: PEER, sendKey: key, receiveKey: key, createdAtMs: systemClock.now() };
  const remoteIndex = asResponder ? RESPONDER : INITIATOR;
  lane.addKeypair({ ...common, index: INITIATOR, remoteIndex, isInitiator: true });
  lane.useKeypair(PEER, INITIATOR);
  lane.addKeypair({ ...common, index: RESPONDER, remoteIndex: INITIATOR, isInitiator: false });
  key.fill(0);
}

function openSocket(family: Family, gro: boolean): UdpSocket | undefined {
  try {
    const socket = new UdpSocket(family, 0);
    if (gro) socket.enableGro();
    return socket;
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}
