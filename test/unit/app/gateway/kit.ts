// A whole gateway on loopback with a device that only remembers.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import type { TestContext } from 'node:test';
import { type DeviceView, deviceView } from '../../../../src/app/api/datapath-view.ts';
import type { GatewayConfig } from '../../../../src/app/gateway/config.ts';
import type { Overlay, PeerTraffic } from '../../../../src/app/gateway/overlay.ts';
import { journalReports } from '../../../../src/app/gateway/reports.ts';
import { type GatewayParts, type RunningGateway, startGateway } from '../../../../src/app/gateway/run.ts';
import { type Address, parseAddress } from '../../../../src/core/ip.ts';
import { type Logger, silentLogger } from '../../../../src/core/log.ts';
import { systemClock } from '../../../../src/core/clock.ts';
import type { Gateway, OverlayPeerConfig, OverlayPeerState } from '../../../../src/link/gateway.ts';
import { DEFAULT_JOURNAL_LIMITS, type Followers, type Journal } from '../../../../src/link/journal.ts';
import { MemoryStore } from '../../../../src/link/memory-store.ts';
import { SqliteJournal } from '../../../../src/link/sqlite-journal.ts';
import type { StreamTable } from '../../../../src/link/stream-table.ts';
import type { BandwidthLimits } from '../../../../src/tunnel/lane/bandwidth.ts';
import { meteredDevice, meteredOptions } from '../../../kit/metrics.ts';
import { seededRandom } from '../../../kit/random.ts';
import { key } from '../../link/provision-kit.ts';

export const CONFIG: GatewayConfig = {
  interfaceName: 'siderolink',
  api: { host: '127.0.0.1', port: 0 },
  tls: undefined,
  apiUrl: 'grpc://127.0.0.1:4000',
  wireGuardPort: 50_180,
  wireGuardEndpoints: ['127.0.0.1:50180'],
  tunnel: 'hint',
  accept: 'auto',
  joinMode: 'legacyAllowed',
  machineLimit: undefined,
  provisionLimit: { perSecond: 1_000, burst: 1_000 },
  bandwidth: undefined,
  metrics: { host: '127.0.0.1', port: 0 },
  usesLastEndpoints: true,
  predefinedAddresses: new Map(),
};

export class FakeOverlay implements Overlay {
  readonly name = 'siderolink';
  readonly publicKey = key('server');
  readonly peers = new Map<string, OverlayPeerConfig>();
  readonly states = new Map<string, OverlayPeerState>();
  readonly bytes = new Map<string, PeerTraffic>();
  streams: StreamTable | undefined;
  limits: BandwidthLimits | undefined;
  up = true;
  readonly metered = meteredDevice([]);
  readonly engine = meteredOptions().engine();
  #end: (reason: string) => void = () => {};
  readonly closed = new Promise<string>((resolve) => (this.#end = resolve));
  readonly sink = { deliver: () => true };
  readonly device = {
    configure: async (remove: readonly string[], put: readonly OverlayPeerConfig[]): Promise<void> => {
      for (const publicKey of remove) this.peers.delete(publicKey);
      for (const peer of put) this.peers.set(peer.publicKey, peer);
    },
    peer: (publicKey: string): OverlayPeerState | undefined =>
      this.peers.has(publicKey)
        ? (this.states.get(publicKey) ?? { handshakeAgeMs: Infinity, udpEndpoint: undefined })
        : undefined,
  };

  connect(streams: StreamTable): void {
    this.streams = streams;
  }
  traffic(): ReadonlyMap<string, PeerTraffic> {
    return this.bytes;
  }
  view(): DeviceView {
    return {
      ...deviceView(this.name, this.metered, this.engine),
      publicKey: this.publicKey,
      peers: this.peers.size,
    };
  }
  async metrics(): Promise<readonly Buffer[]> {
    return [Buffer.from('fake_device 1\n')];
  }
  limitBandwidth(limits: BandwidthLimits): void {
    this.limits = limits;
  }
  isUp(): boolean {
    return this.up;
  }
  async close(reason: string): Promise<void> {
    this.#end(reason);
  }
}

export interface TestGateway {
  readonly running: RunningGateway;
  readonly overlay: FakeOverlay;
  readonly store: MemoryStore;
  readonly journal: Journal;
  readonly followers: Followers;
  readonly logged: string[];
}

export interface TestGatewayOptions {
  readonly config?: Partial<GatewayConfig>;
  readonly parts?: Partial<GatewayParts>;
  readonly store?: MemoryStore;
}

export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(joinPath(tmpdir(), 'culvert-gateway-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export async function startTestGateway(
  t: TestContext,
  options: TestGatewayOptions = {},
): Promise<TestGateway> {
  const journal = SqliteJournal.open(temporaryDirectory(t), DEFAULT_JOURNAL_LIMITS);
  const open = journalReports({ eventPort: 0, logPort: 0 }, '::1');
  let followers: Followers | undefined;
  const overlay = new FakeOverlay();
  const store = options.store ?? new MemoryStore();
  const logged: string[] = [];
  const logger: Logger = { ...silentLogger, log: (level, event) => void logged.push(`${level} ${event}`) };
  const running = await startGateway({
    config: { ...CONFIG, ...options.config },
    store,
    journal,
    openOverlay: async () => overlay,
    openReports: (context) => {
      ({ followers } = context);
      return open(context);
    },
    adminSocket: undefined,
    initialToken: () => 'good',
    version: '1.2.3',
    clock: systemClock,
    random: seededRandom(3),
    logger,
    ...options.parts,
  });
  t.after(() => running.stop('the test is over'));
  if (!followers) throw new Error('no reports were opened');
  return { running, overlay, store, journal, followers, logged };
}

const CALLER = parseAddress('192.0.2.1') as Address;

/** A machine that joins: its UUID ends with the number, its key is made of it. */
export async function join(gateway: Gateway, number: number, more: object = {}): Promise<string> {
  const nodeUuid = uuid(number);
  const answer = await gateway.provision(
    { nodeUuid, nodePublicKey: key(`machine ${number}`), joinToken: 'good', talosVersion: 'v1.7.0', ...more },
    CALLER,
  );
  if ('code' in answer) throw new Error(`${answer.code} ${answer.message}`);
  return nodeUuid;
}

export function uuid(number: number): string {
  return `${String(number).padStart(8, '0')}-1111-2222-3333-444444444444`;
}
