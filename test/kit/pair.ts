/**
 * Two devices on a wire in memory, with a clock that moves when told to: the unit of behaviour. Alice initiates by
 * sending; Bob's address is known to Alice and the other way round.
 */
import type { Arena } from '../../src/core/arena.ts';
import { parseAddress, parsePrefix, type Address, type Prefix } from '../../src/core/ip.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Random } from '../../src/core/random.ts';
import type { TransportAead } from '../../src/noise/aead.ts';
import { NobleTransportAead } from '../../src/noise/aead-noble.ts';
import type { Crypto } from '../../src/noise/crypto.ts';
import { nodeCrypto } from '../../src/noise/crypto-node.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../src/noise/keys.ts';
import {
  MESSAGE_INITIATION,
  MESSAGE_RESPONSE,
  MESSAGE_COOKIE_REPLY,
  MESSAGE_TRANSPORT,
} from '../../src/noise/messages.ts';
import { MemoryTun } from '../../src/tun/memory.ts';
import {
  MemoryBind,
  MemoryNetwork,
  type Interceptor,
  type WireDatagram,
} from '../../src/tunnel/bind-memory.ts';
import type { PeerChange, PeerState } from '../../src/tunnel/config.ts';
import { Device } from '../../src/tunnel/device.ts';
import type { Endpoint } from '../../src/tunnel/endpoint.ts';
import type { LaneEvents, LaneHost } from '../../src/tunnel/lane/control.ts';
import { InlineHost, type InlineHostOptions } from '../../src/tunnel/lane/inline-host.ts';
import { inlineStreams } from '../../src/tunnel/inline-streams.ts';
import { DROP_REASONS, type DropReason } from '../../src/tunnel/lane/drops.ts';
import type { LanePolicy } from '../../src/tunnel/lane/policy.ts';
import type { StreamBridge } from '../../src/tunnel/stream-bridge.ts';
import { FakeClock } from './clock.ts';
import { GuardedArena } from './guarded-arena.ts';
import { linkedHost } from './linked-host.ts';
import { pairedHost } from './paired-host.ts';
import { ipv4Packet } from './packets.ts';
import { seededRandom } from './random.ts';

export const address = (text: string): Address => parseAddress(text) ?? raise(`bad address ${text}`);
export const prefix = (text: string): Prefix => parsePrefix(text) ?? raise(`bad prefix ${text}`);

function raise(message: string): never {
  throw new Error(message);
}

const HOSTS = {
  inline: (options: InlineHostOptions, events: LaneEvents): LaneHost => new InlineHost(options, events),
  linked: linkedHost,
  paired: pairedHost,
};

export type HostName = keyof typeof HOSTS;

export const HOST_NAMES: readonly HostName[] = ['inline', 'linked', 'paired'];

export interface EndOptions {
  readonly crypto?: Crypto;
  readonly aead?: (arena: Arena) => TransportAead;
  /** Where the lanes run: here, as if in another thread, or as if each in one of its own. Here by default. */
  readonly host?: HostName;
  /** Or in a host of the test's own. */
  readonly createHost?: (options: InlineHostOptions, events: LaneEvents) => LaneHost;
  /** The key of an end that was there before. */
  readonly privateKey?: PrivateKey;
  readonly policy?: LanePolicy;
  /** Datagrams may travel in streams: `End.streams`. */
  readonly hasStreams?: boolean;
}

/** One device with everything around it. */
export class End {
  readonly name: string;
  readonly privateKey: PrivateKey;
  readonly publicKey: PublicKey;
  readonly arena = new GuardedArena({ bytes: 8 << 20 });
  readonly tun: MemoryTun;
  readonly bind: MemoryBind;
  readonly streams: StreamBridge | undefined;
  readonly device: Device;
  readonly world: World;

  constructor(world: World, name: string, addresses: readonly string[], options: EndOptions = {}) {
    this.world = world;
    this.name = name;
    const crypto = options.crypto ?? nodeCrypto();
    this.privateKey = options.privateKey ?? PrivateKey.generate(world.random);
    this.publicKey = new PublicKey(crypto.x25519.importPrivateKey(this.privateKey.bytes).publicKey);
    this.tun = new MemoryTun(this.arena, name);
    this.bind = new MemoryBind(world.network, this.arena, addresses.map(address));
    const streams =
      options.hasStreams === true
        ? inlineStreams(this.arena, this.bind, { soon: world.defer, defer: world.defer })
        : undefined;
    this.streams = streams?.bridge;
    const aead = options.aead?.(this.arena) ?? new NobleTransportAead(this.arena);
    this.device = new Device({
      crypto,
      clock: world.clock,
      random: world.random,
      logger: silentLogger,
      bind: this.bind,
      defer: world.defer,
      createLane: (events) => {
        const { arena, tun } = this;
        const { policy = {} } = options;
        const bind = streams?.port ?? this.bind;
        const host = { arena, aead, clock: world.clock, tun, bind, defer: world.defer, policy };
        if (options.createHost) return options.createHost(host, events);
        return HOSTS[options.host ?? 'inline'](host, events);
      },
    });
    this.tun.setLink(true);
  }

  get endpoint(): Endpoint {
    return {
      address: this.bind.addresses[0] as Address,
      port: this.device.state().listenPort,
      scope: 0,
      carrier: 0,
    };
  }

  /** An application on this end sends packets into the tunnel. */
  send(...packets: readonly Uint8Array[]): void {
    this.tun.inject(...packets);
    this.world.settle();
  }

  /** Packets that came out of the tunnel since the last call. */
  received(): Uint8Array[] {
    return this.tun.delivered.splice(0);
  }

  async configure(...peers: readonly PeerChange[]): Promise<void> {
    await this.device.configure({ peers });
    this.world.settle();
  }

  /** Milliseconds until the timer of that name (timers.ts) fires; undefined while it is not armed. For one peer. */
  timer(name: string): number | undefined {
    const timer = this.device.timers().find((each) => each.name.endsWith(` ${name}`));
    return timer && timer.at - this.world.clock.now();
  }

  /** How many packets were dropped, by reason; reasons that did not occur are absent. */
  drops(): { [Reason in DropReason]?: number } {
    const counts = DROP_REASONS.map((reason) => [reason, Number(this.device.dropped(reason))] as const);
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  /** What the device shows of the other end. */
  peer(other: End): PeerState {
    return (
      this.device.state().peers.find((peer) => peer.publicKey.equals(other.publicKey)) ??
      raise('no such peer')
    );
  }
}

/** What crossed the wire, and power over what crosses next. */
export class Wire {
  readonly #network: MemoryNetwork;
  readonly #after: (ms: number, task: () => void) => void;
  /** Everything that was sent, in order, before interceptors touched it. */
  readonly sent: WireDatagram[] = [];
  #interceptors: Interceptor[] = [];
  /** Datagrams that `hold` keeps back. */
  readonly held: WireDatagram[] = [];

  constructor(network: MemoryNetwork, after: (ms: number, task: () => void) => void) {
    this.#network = network;
    this.#after = after;
    network.intercept((datagram) => {
      this.sent.push(datagram);
      return this.#interceptors.reduce<readonly WireDatagram[]>((all, bend) => all.flatMap(bend), [datagram]);
    });
  }

  bend(interceptor: Interceptor): void {
    this.#interceptors.push(interceptor);
  }

  /** Nothing gets through. */
  cut(): void {
    this.bend(() => []);
  }

  /** Keeps datagrams back in `held` for as long as `which` says so. */
  hold(which: (datagram: WireDatagram) => boolean = () => true): void {
    this.bend((datagram) => {
      if (!which(datagram)) return [datagram];
      this.held.push(datagram);
      return [];
    });
  }

  /** Datagrams arrive after so many milliseconds, so they may overtake each other. */
  delay(delayMs: (datagram: WireDatagram) => number): void {
    this.bend((datagram) => {
      this.#after(delayMs(datagram), () => this.inject(datagram));
      return [];
    });
  }

  /** Undoes every `bend`, `cut`, `hold` and `delay`. What is held stays held. */
  mend(): void {
    this.#interceptors = [];
  }

  inject(...datagrams: readonly WireDatagram[]): void {
    for (const datagram of datagrams) this.#network.inject(datagram);
  }

  /** Forgets what was sent. */
  clear(): void {
    this.sent.length = 0;
  }

  from(end: End): WireDatagram[] {
    return this.sent.filter((datagram) =>
      end.bind.addresses.some((local) => local.join() === datagram.from.address.join()),
    );
  }

  initiations(from?: End): WireDatagram[] {
    return this.#ofType(MESSAGE_INITIATION, from);
  }
  responses(from?: End): WireDatagram[] {
    return this.#ofType(MESSAGE_RESPONSE, from);
  }
  cookieReplies(from?: End): WireDatagram[] {
    return this.#ofType(MESSAGE_COOKIE_REPLY, from);
  }
  transport(from?: End): WireDatagram[] {
    return this.#ofType(MESSAGE_TRANSPORT, from);
  }
  keepalives(from?: End): WireDatagram[] {
    return this.transport(from).filter((datagram) => datagram.bytes.length === 32);
  }
  data(from?: End): WireDatagram[] {
    return this.transport(from).filter((datagram) => datagram.bytes.length > 32);
  }

  #ofType(type: number, from: End | undefined): WireDatagram[] {
    return (from ? this.from(from) : this.sent).filter((datagram) => datagram.bytes[0] === type);
  }
}

/** Clock, chance, wire and the turns of an event loop. */
export class World {
  readonly clock = new FakeClock();
  readonly network = new MemoryNetwork();
  readonly wire: Wire = new Wire(this.network, (ms, task) => this.after(ms, task));
  readonly random: Random;
  readonly ends: End[] = [];
  #tasks: (() => void)[] = [];
  readonly #later: { readonly at: number; readonly task: () => void }[] = [];

  constructor(seed = 1) {
    this.random = seededRandom(seed);
  }

  readonly defer = (task: () => void): void => {
    this.#tasks.push(task);
  };

  end(name: string, addresses: readonly string[], options?: EndOptions): End {
    const end = new End(this, name, addresses, options);
    this.ends.push(end);
    return end;
  }

  /** Runs a task while time passes. */
  after(ms: number, task: () => void): void {
    this.#later.push({ at: this.clock.now() + ms, task });
  }

  /** Lets everything happen that happens without time passing. */
  settle(): void {
    for (let busy = true; busy;) {
      const worked = this.turn();
      busy = this.network.deliver() || worked || this.#tasks.length > 0;
    }
    for (const { arena } of this.ends) arena.verify();
  }

  /** One turn of the event loop: what was deferred until now. Returns false when there was nothing. */
  turn(): boolean {
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task();
    return tasks.length > 0;
  }

  /** Time passes; every timer fires at its own moment. */
  advance(ms: number): void {
    const end = this.clock.now() + ms;
    for (;;) {
      const next = Math.min(
        ...this.ends.map(({ device }) => device.nextDeadline),
        ...this.#later.map(({ at }) => at),
      );
      if (next > end) break;
      this.clock.tick(Math.max(0, next - this.clock.now()));
      this.#runLater();
      for (const { device } of this.ends) device.advance(this.clock.now());
      this.settle();
    }
    this.clock.tick(end - this.clock.now());
    this.settle();
  }

  #runLater(): void {
    const due = this.#later.filter(({ at }) => at <= this.clock.now());
    for (const each of due) {
      this.#later.splice(this.#later.indexOf(each), 1);
      each.task();
    }
  }
}

export interface PairOptions {
  readonly seed?: number;
  readonly presharedKey?: PresharedKey;
  readonly alice?: EndOptions;
  readonly bob?: EndOptions;
  /** Seconds, on Alice's side. */
  readonly persistentKeepalive?: number;
}

export interface Pair {
  readonly world: World;
  readonly wire: Wire;
  readonly clock: FakeClock;
  readonly alice: End;
  readonly bob: End;
  /** A packet from Alice's inner address to Bob's, or the other way round. */
  readonly toBob: (size?: number) => Uint8Array;
  readonly toAlice: (size?: number) => Uint8Array;
}

/** Both up, both configured, no handshake yet. */
export async function pair(options: PairOptions = {}): Promise<Pair> {
  const world = new World(options.seed);
  const alice = world.end('alice', ['192.0.2.1', '2001:db8::1'], options.alice);
  const bob = world.end('bob', ['192.0.2.2', '2001:db8::2'], options.bob);
  for (const end of world.ends) {
    await end.device.up();
    await end.device.configure({ privateKey: end.privateKey, peers: [] });
  }
  const psk = options.presharedKey === undefined ? {} : { presharedKey: options.presharedKey };
  const allow = (...texts: string[]) => texts.map((text) => ({ prefix: prefix(text), remove: false }));
  await bob.configure({
    publicKey: alice.publicKey,
    endpoint: alice.endpoint,
    allowedIps: allow('10.0.0.1/32', 'fd00::1/128'),
    ...psk,
  });
  await alice.configure({
    publicKey: bob.publicKey,
    endpoint: bob.endpoint,
    allowedIps: allow('10.0.0.2/32', 'fd00::2/128'),
    ...psk,
    ...(options.persistentKeepalive === undefined
      ? {}
      : { persistentKeepalive: options.persistentKeepalive }),
  });
  let serial = 0;
  return {
    world,
    wire: world.wire,
    clock: world.clock,
    alice,
    bob,
    toBob: (size = 100) => ipv4Packet('10.0.0.1', '10.0.0.2', size, serial++),
    toAlice: (size = 100) => ipv4Packet('10.0.0.2', '10.0.0.1', size, serial++),
  };
}

/**
 * As `pair`, with a session that Alice initiated this moment. Only a keepalive has crossed it, so no timer but
 * zero-key-material is armed on either side. The log of the wire is empty.
 */
export async function connectedPair(options: PairOptions = {}): Promise<Pair> {
  const both = await pair(options);
  const { alice, bob } = both;
  const persistentKeepalive = options.persistentKeepalive ?? 0;
  await alice.configure({ publicKey: bob.publicKey, persistentKeepalive: 25 });
  await alice.configure({ publicKey: bob.publicKey, persistentKeepalive });
  both.wire.clear();
  return both;
}
