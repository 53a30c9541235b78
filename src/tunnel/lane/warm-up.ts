/**
 * V8 interprets code until it has run often, and a tunnel that carries a ping a second takes hours to get there. So a lane
 * of the same parts, with an arena, a session and descriptors of its own, first sends packets to itself over loopback:
 * long enough for the quick compiler and for what runs most, not for all.
 */
import { Arena } from '../../core/arena.ts';
import { systemClock } from '../../core/clock.ts';
import { systemRandom } from '../../core/random.ts';
import { type AeadReport, recreateTransportAead } from '../../noise/aead-choose.ts';
import { KEY_SIZE } from '../../noise/keys.ts';
import { libc } from '../../sys/libc.ts';
import { Block } from '../../sys/memory.ts';
import { PacketPair } from '../../sys/packet-pair.ts';
import { fdWatcher } from '../../sys/readiness.ts';
import { UdpSocket } from '../../sys/udp-socket.ts';
import { type TunFormat, openPacketPort } from '../../tun/linux.ts';
import { TCP, TCP_FLAG } from '../../tun/offload/transport.ts';
import {
  VIRTIO_NET_HDR,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
} from '../../tun/offload/virtio.ts';
import { IPV4, PROTOCOL } from '../../tun/packet.ts';
import { wasmChecksums } from '../../wasm/checksums.ts';
import { ENDPOINT, encodeEndpoint } from '../endpoint.ts';
import { LinuxDatagrams, type LinuxDatagramsOptions } from '../linux-datagrams.ts';
import { Lane } from './lane.ts';
import { eventSender } from './link.ts';

export interface WarmUpOptions {
  readonly tunFormat: TunFormat;
  readonly aead: AeadReport;
  readonly datagrams: LinuxDatagramsOptions;
}

/** Nobody waits for it longer than this. */
const WARM_UP_MS = 120;
const MAX_ROUNDS = 4_000;
const ARENA_BYTES = 6 << 20;

const PEER = 1;
const INDEX = 1;
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const EVERYWHERE: Uint8Array = new Uint8Array(4);
const SMALL_PACKET = 84;
const SEGMENT = 1_368;
const SEGMENTS = 8;
const HEADERS: number = IPV4.headerSize + TCP.headerSize;

export interface WarmedUp {
  /** Packets and super-packets that went into the lane, and that came out again: none where loopback is down. */
  readonly sent: number;
  readonly returned: number;
}

/** Throws SystemError where descriptors or sockets are not to be had, RangeError where memory is not. */
export function warmUp(options: WarmUpOptions): WarmedUp {
  const pair = new PacketPair();
  try {
    const socket = new UdpSocket(4, 0);
    try {
      if (options.datagrams.gro) socket.enableGro();
      return exercise(options, pair, socket);
    } finally {
      socket.close();
    }
  } finally {
    pair.close();
  }
}

function exercise(
  { tunFormat, aead, datagrams }: WarmUpOptions,
  pair: PacketPair,
  socket: UdpSocket,
): WarmedUp {
  const arena = new Arena({ bytes: ARENA_BYTES, shared: true });
  const bind = new LinuxDatagrams(arena, datagrams);
  const tun = openPacketPort(pair.near, tunFormat, arena, wasmChecksums(arena), fdWatcher, () => {});
  const lane = new Lane({
    arena,
    aead: recreateTransportAead(arena, aead),
    clock: systemClock,
    tun,
    bind,
    events: eventSender(() => {}),
  });
  introduce(lane, socket.port);
  bind.use(socket.fd, -1);
  const packets = tunFormat === 'plain' ? [small(0)] : [small(VIRTIO_NET_HDR.size), superPacket()];
  const received = new Block(1 << 16);
  const end = systemClock.now() + WARM_UP_MS;
  let sent = 0;
  let returned = 0;
  for (; sent < MAX_ROUNDS && systemClock.now() < end; sent++) {
    // Mostly alone, as on a tunnel with little to do.
    const packet = packets[sent % 4 === 3 ? packets.length - 1 : 0] as Block;
    libc().write(pair.far, packet.address, packet.size);
    lane.pumpOutbound(SEGMENTS + 1);
    while (lane.pumpInbound() > 0);
    while (libc().read(pair.far, received.address, received.size) > 0) returned++;
  }
  bind.use(-1, -1);
  lane.removePeer(PEER);
  tun.close();
  return { sent, returned };
}

/** The lane is its own peer: one keypair, whose two keys are the same. */
function introduce(lane: Lane, port: number): void {
  const endpoint = new Uint8Array(ENDPOINT.size);
  encodeEndpoint({ address: LOOPBACK, port, scope: 0, carrier: 0 }, endpoint, 0);
  const key = new Uint8Array(KEY_SIZE);
  systemRandom.fill(key);
  lane.addPeer(PEER);
  lane.setEndpoint(PEER, endpoint);
  lane.addAllowedIp(PEER, EVERYWHERE, 0);
  lane.addKeypair({
    peer: PEER,
    index: INDEX,
    remoteIndex: INDEX,
    sendKey: key,
    receiveKey: key,
    isInitiator: true,
    createdAtMs: systemClock.now(),
  });
  key.fill(0);
  lane.useKeypair(PEER, INDEX);
  lane.setUp(true);
}

/** An echo request, as `ping` sends it, behind `room` zero bytes. */
function small(room: number): Block {
  const block = new Block(room + SMALL_PACKET);
  writeIpv4(block, room, SMALL_PACKET, PROTOCOL.icmp);
  return block;
}

/** What the kernel hands over for several segments of one TCP flow. */
function superPacket(): Block {
  const at = VIRTIO_NET_HDR.size;
  const length = HEADERS + SEGMENTS * SEGMENT;
  const block = new Block(at + length);
  const { u8, view } = block;
  u8[VIRTIO_NET_HDR.flags] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  u8[VIRTIO_NET_HDR.gsoType] = VIRTIO_NET_HDR_GSO_TCPV4;
  view.setUint16(VIRTIO_NET_HDR.headerLength, HEADERS, true);
  view.setUint16(VIRTIO_NET_HDR.gsoSize, SEGMENT, true);
  view.setUint16(VIRTIO_NET_HDR.checksumStart, IPV4.headerSize, true);
  view.setUint16(VIRTIO_NET_HDR.checksumOffset, TCP.checksum, true);
  writeIpv4(block, at, length, PROTOCOL.tcp);
  u8[at + IPV4.headerSize + TCP.dataOffset] = (TCP.headerSize / 4) << 4;
  u8[at + IPV4.headerSize + TCP.flags] = TCP_FLAG.ack;
  return block;
}

/** From 0.0.0.0 to 0.0.0.0, which is as good as any here. */
function writeIpv4({ u8, view }: Block, at: number, length: number, protocol: number): void {
  u8[at] = 0x45;
  view.setUint16(at + IPV4.totalLength, length);
  u8[at + IPV4.ttl] = 64;
  u8[at + IPV4.protocol] = protocol;
}
