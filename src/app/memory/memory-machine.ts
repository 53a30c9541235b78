/** A machine that joins a gateway as any other does, but whose interface is memory. */
import type { Arena } from '../../core/arena.ts';
import { systemClock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import { type Address, parseAddress, parseSocketAddress, type SocketAddress } from '../../core/ip.ts';
import { silentLogger } from '../../core/log.ts';
import { systemRandom } from '../../core/random.ts';
import { type Link, readLink } from '../../link/agent-link.ts';
import { OVERLAY_KEEPALIVE_S, PROVISION_TIMEOUT } from '../../link/constants.ts';
import type { DialTarget } from '../../link/dial.ts';
import { createStreamCall } from '../../link/grpc-front.ts';
import { Http2Dialer } from '../../link/http2-dialer.ts';
import { callProvision } from '../../link/provision-client.ts';
import { Relay } from '../../link/relay.ts';
import { relaySource } from '../../link/stream-source.ts';
import { parseKeyBytes, PrivateKey, PublicKey } from '../../noise/keys.ts';
import { GRPC_CARRIER } from '../../tunnel/endpoint.ts';
import type { StreamBridge } from '../../tunnel/stream-bridge.ts';
import { Alarm } from '../alarm.ts';
import { publicKeyOf } from '../public-key.ts';
import { echoRequest, isEchoReply } from './echo.ts';
import { createMemoryDevice, type MemoryDevice } from './memory-device.ts';

export interface JoinTarget extends DialTarget {
  readonly joinToken: string;
}

/** What a gateway asks for by version: unique tokens. */
const TALOS_VERSION = 'v1.12.0';
const DIRECT = { proxies: {} };

export class MemoryMachine {
  readonly uuid: string;
  readonly #privateKey: PrivateKey = PrivateKey.generate(systemRandom);
  #link: Link | undefined;
  #memory: MemoryDevice | undefined;
  #relay: Relay | undefined;
  #relayAlarm: Alarm | undefined;
  #sequence = 0;
  /** Why its stream is over for good; undefined while it is not. */
  ended: string | undefined;

  constructor(uuid: string) {
    this.uuid = uuid;
  }

  /** The overlay address; empty before `provision`. */
  get address(): string {
    return this.#link?.nodeAddressPrefix.replace(/\/64$/, '') ?? '';
  }

  async provision(target: JoinTarget, wantsTunnel: boolean): Promise<void> {
    const request = {
      nodeUuid: this.uuid,
      nodePublicKey: publicKeyOf(this.#privateKey).base64,
      joinToken: target.joinToken,
      nodeUniqueToken: JSON.stringify({ Fingerprint: this.uuid, Token: this.uuid }),
      talosVersion: TALOS_VERSION,
      wireguardOverGrpc: wantsTunnel,
    };
    const timeout = AbortSignal.timeout(PROVISION_TIMEOUT);
    this.#link = readLink(await callProvision(target, request, DIRECT, timeout));
  }

  /** After `provision`: starts to call the gateway, by what it said. */
  async connect(target: JoinTarget, arena: Arena): Promise<void> {
    const link = this.#provisioned();
    const memory = createMemoryDevice({ name: this.uuid, arena, logger: silentLogger });
    this.#memory = memory;
    const { device, streams } = memory;
    await device.up();
    const isTunnel = link.kind === 'grpc';
    if (isTunnel) this.#startRelay(link, target, streams);
    const endpoint = socketAddress(isTunnel ? link.peerAddrPort : (link.endpoints[0] as string));
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

  #startRelay(link: Link, target: JoinTarget, bridge: StreamBridge): void {
    const alarm = new Alarm((now) => relay.advance(now));
    const relay = new Relay({
      dialer: new Http2Dialer(target, createStreamCall(link.peerAddrPort), DIRECT),
      sink: bridge,
      clock: systemClock,
      random: systemRandom,
      endpoint: socketAddress(link.peerAddrPort),
      lanes: 1,
      onEarlierDeadline: (at) => alarm.set(at),
      onEnd: (status) => (this.ended = status.message),
    });
    this.#relay = relay;
    this.#relayAlarm = alarm;
    bridge.connect(relaySource(relay));
    relay.start();
  }

  /** Sends an echo request to the gateway; `isAnswered` tells what became of it. */
  ping(): void {
    const { serverAddress } = this.#provisioned();
    this.#sequence++;
    this.#memory?.tun.inject(echoRequest(addressOf(this.address), addressOf(serverAddress), this.#sequence));
  }

  /** Whether the latest echo request has been answered. */
  isAnswered(): boolean {
    const { serverAddress } = this.#provisioned();
    const packets = this.#memory?.tun.delivered.splice(0) ?? [];
    return packets.some((packet) => isEchoReply(packet, addressOf(serverAddress), this.#sequence));
  }

  async close(): Promise<void> {
    this.#relay?.close();
    this.#relayAlarm?.cancel();
    await this.#memory?.close();
  }

  #provisioned(): Link {
    if (!this.#link) throw new AppError('internal', `machine ${this.uuid} has not been provisioned`);
    return this.#link;
  }
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (!address) throw new AppError('protocol', `"${text}" is not an address`);
  return address;
}

function socketAddress(text: string): SocketAddress {
  const found = parseSocketAddress(text);
  if (!found) throw new AppError('protocol', `"${text}" is not address:port`);
  return found;
}
