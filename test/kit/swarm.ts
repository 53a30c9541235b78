/**
 * Many machines in one process: each provisions as a machine does and has a real WireGuard device, but its interface is
 * memory. Half of what a gateway needs to be tried with hundreds of machines; the other half is swarm-process.ts.
 */
import { Arena } from '../../src/core/arena.ts';
import { systemClock } from '../../src/core/clock.ts';
import { type Address, parseAddress, parseSocketAddress } from '../../src/core/ip.ts';
import { silentLogger } from '../../src/core/log.ts';
import { systemRandom } from '../../src/core/random.ts';
import { Alarm } from '../../src/app/alarm.ts';
import { type Link, readLink } from '../../src/link/agent-link.ts';
import { OVERLAY_KEEPALIVE_S, OVERLAY_MTU } from '../../src/link/constants.ts';
import type { DialTarget } from '../../src/link/dial.ts';
import { createStreamCall } from '../../src/link/grpc-front.ts';
import { Http2Dialer } from '../../src/link/http2-dialer.ts';
import { callProvision } from '../../src/link/provision-client.ts';
import { Relay } from '../../src/link/relay.ts';
import { relaySource } from '../../src/link/stream-source.ts';
import { WasmTransportAead } from '../../src/noise/aead-wasm.ts';
import { wasmBlake2s } from '../../src/noise/blake2s-wasm.ts';
import { nodeCrypto } from '../../src/noise/crypto-node.ts';
import { parseKeyBytes, PrivateKey, PublicKey } from '../../src/noise/keys.ts';
import { MemoryTun } from '../../src/tun/memory.ts';
import { DgramBind } from '../../src/tunnel/bind-dgram.ts';
import { Device } from '../../src/tunnel/device.ts';
import { GRPC_CARRIER } from '../../src/tunnel/endpoint.ts';
import { inlineStreams } from '../../src/tunnel/inline-streams.ts';
import { InlineHost } from '../../src/tunnel/lane/inline-host.ts';
import { internetChecksum } from './packets.ts';

const DIAL = { proxies: {} };
const crypto = nodeCrypto(wasmBlake2s());

export interface SwarmTarget extends DialTarget {
  readonly joinToken: string;
}

export class SwarmMachine {
  readonly uuid: string;
  readonly #privateKey = PrivateKey.generate(systemRandom);
  readonly publicKey: PublicKey;
  #link: Link | undefined;
  #tun: MemoryTun | undefined;
  #sequence = 0;
  /** Why its relay is over, if it is. */
  ended: string | undefined;

  constructor(uuid: string) {
    this.uuid = uuid;
    this.publicKey = new PublicKey(crypto.x25519.importPrivateKey(this.#privateKey.bytes).publicKey);
  }

  async provision(target: SwarmTarget, wireguardOverGrpc: boolean): Promise<void> {
    const request = {
      nodeUuid: this.uuid,
      nodePublicKey: this.publicKey.base64,
      joinToken: target.joinToken,
      nodeUniqueToken: JSON.stringify({ Fingerprint: this.uuid, Token: this.uuid }),
      talosVersion: 'v1.9.0',
      wireguardOverGrpc,
    };
    this.#link = readLink(await callProvision(target, request, DIAL, AbortSignal.timeout(30_000)));
  }

  get address(): string {
    return this.#link?.nodeAddressPrefix.replace('/64', '') ?? '';
  }

  async connect(target: SwarmTarget, arena: Arena): Promise<void> {
    const link = this.#link as Link;
    const udp = new DgramBind(arena);
    const streams = inlineStreams(arena, udp, { soon: queueMicrotask, defer: setImmediate });
    this.#tun = new MemoryTun(arena, this.uuid, OVERLAY_MTU);
    const lane = {
      arena,
      aead: new WasmTransportAead(arena),
      clock: systemClock,
      tun: this.#tun,
      bind: streams.port,
      defer: setImmediate,
    };
    const alarm = new Alarm((now) => device.advance(now));
    const device = new Device({
      crypto,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      bind: udp,
      defer: setImmediate,
      onEarlierDeadline: (at) => alarm.set(at),
      createLane: (events) => new InlineHost(lane, events),
    });
    this.#tun.setLink(true);
    await device.up();
    const isTunnel = link.kind === 'grpc';
    if (isTunnel) this.#startRelay(link, target, streams.bridge);
    const endpoint = parseSocketAddress(link.endpoints[0] as string);
    if (!endpoint) throw new Error(`${link.endpoints[0]} is not address:port`);
    await device.configure({
      privateKey: this.#privateKey,
      peers: [
        {
          publicKey: new PublicKey(parseKeyBytes(link.serverPublicKey) as Uint8Array),
          allowedIps: [{ prefix: { address: addressOf(link.serverAddress), length: 128 }, remove: false }],
          endpoint: { ...endpoint, scope: 0, carrier: isTunnel ? GRPC_CARRIER : 0 },
          persistentKeepalive: OVERLAY_KEEPALIVE_S,
        },
      ],
    });
  }

  #startRelay(link: Link, target: SwarmTarget, bridge: ReturnType<typeof inlineStreams>['bridge']): void {
    const label = parseSocketAddress(link.peerAddrPort);
    if (!label) throw new Error(`${link.peerAddrPort} is not address:port`);
    const alarm = new Alarm((now) => relay.advance(now));
    const relay = new Relay({
      dialer: new Http2Dialer(target, createStreamCall(link.peerAddrPort), DIAL),
      sink: bridge,
      clock: systemClock,
      random: systemRandom,
      endpoint: label,
      lanes: 1,
      onEarlierDeadline: (at) => alarm.set(at),
      onEnd: (status) => (this.ended = status.message),
    });
    bridge.connect(relaySource(relay));
    relay.start();
  }

  /** An echo request to the gateway. */
  ping(): void {
    const link = this.#link as Link;
    this.#sequence++;
    this.#tun?.inject(echoRequest(addressOf(this.address), addressOf(link.serverAddress), this.#sequence));
  }

  /** Whether the latest echo request was answered. */
  isAnswered(): boolean {
    const packets = this.#tun?.delivered.splice(0) ?? [];
    return packets.some(
      (packet) => packet[6] === ICMPV6 && packet[40] === ECHO_REPLY && packet[47] === (this.#sequence & 255),
    );
  }
}

const ICMPV6 = 58;
const ECHO_REQUEST = 128;
const ECHO_REPLY = 129;

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (!address) throw new Error(`${text} is not an address`);
  return address;
}

/** RFC 4443, with 8 bytes of data. */
export function echoRequest(from: Address, to: Address, sequence: number): Uint8Array {
  const size = 16;
  const packet = new Uint8Array(40 + size);
  const view = new DataView(packet.buffer);
  packet[0] = 0x60;
  view.setUint16(4, size);
  packet[6] = ICMPV6;
  packet[7] = 64;
  packet.set(from, 8);
  packet.set(to, 24);
  packet[40] = ECHO_REQUEST;
  view.setUint16(46, sequence);
  const pseudo = new Uint8Array(40 + size);
  pseudo.set(packet.subarray(8, 40), 0);
  new DataView(pseudo.buffer).setUint32(32, size);
  pseudo[39] = ICMPV6;
  pseudo.set(packet.subarray(40), 40);
  view.setUint16(42, internetChecksum(pseudo));
  return packet;
}
