/** The configuration that a running gateway has now, and how it gets another one with every session kept. */
import { AppError } from '../../core/errors.ts';
import type { Gateway } from '../../link/gateway.ts';
import type { GrpcFront } from '../../link/grpc-front.ts';
import type { ProvisionSettings } from '../../link/provision-context.ts';
import type { TlsFiles, TlsPair } from '../../link/tls-files.ts';
import type { AdminToken } from '../api/access.ts';
import type { BearerToken } from '../http/bearer-token.ts';
import type { ListenAddress as HttpAddress } from '../http/listen-address.ts';
import type { MetricsAddress } from '../metrics/device-server.ts';
import type { GatewayConfig } from './config.ts';
import type { Overlay } from './overlay.ts';

export interface HttpPart {
  readonly address: HttpAddress;
  readonly token: AdminToken;
}

export interface LiveSettings {
  readonly config: GatewayConfig;
  /** HTTP API and status page; undefined: off. */
  readonly http: HttpPart | undefined;
}

/** What can change while it runs. */
export interface LiveParts {
  readonly gateway: Pick<Gateway, 'reconfigure'>;
  readonly front: Pick<GrpcFront, 'setCallRate'>;
  readonly overlay: Pick<Overlay, 'publicKey' | 'limitBandwidth'>;
  /** Undefined: without TLS. */
  readonly tls: Pick<TlsFiles, 'use'> | undefined;
  readonly setCertificate: (pair: TlsPair) => void;
  readonly http: { use(where: HttpPart | undefined): Promise<void> };
  readonly metrics: { use(where: MetricsAddress | undefined): Promise<void> };
}

/** A part of the configuration that could not be applied. */
export type UnappliedPart = 'tls' | 'http' | 'metrics';

export class LiveConfig {
  #now: LiveSettings;

  constructor(settings: LiveSettings) {
    this.#now = settings;
  }

  get config(): GatewayConfig {
    return this.#now.config;
  }

  /** Touches what is another than before. Resolves to the parts that stayed as they were because they cannot be had. */
  async apply(next: LiveSettings, parts: LiveParts): Promise<ReadonlyMap<UnappliedPart, AppError>> {
    const before = this.#now;
    const { config } = next;
    const failed = new Map<UnappliedPart, AppError>();
    const attempt = async (part: UnappliedPart, task: () => void | Promise<void>) => {
      try {
        await task();
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        failed.set(part, error);
      }
    };
    const rate = config.provisionLimit;
    parts.gateway.reconfigure({
      settings: provisionSettings(config, parts.overlay.publicKey),
      useLastEndpoints: config.usesLastEndpoints,
      ...(isSame(rate, before.config.provisionLimit) ? {} : { rateLimit: rate }),
    });
    if (!isSame(rate, before.config.provisionLimit)) parts.front.setCallRate(rate);
    if (!isSame(config.bandwidth, before.config.bandwidth))
      parts.overlay.limitBandwidth(config.bandwidth ?? {});
    if (!isSame(config.tls, before.config.tls)) {
      await attempt('tls', () => {
        if (config.tls && parts.tls)
          parts.setCertificate(parts.tls.use(config.tls.certFile, config.tls.keyFile));
      });
    }
    if (!isSamePlace(config.metrics, before.config.metrics)) {
      await attempt('metrics', () => parts.metrics.use(config.metrics));
    }
    if (!isSamePlace(placeOf(next.http), placeOf(before.http))) {
      await attempt('http', () => parts.http.use(next.http));
    }
    this.#now = {
      config: {
        ...config,
        ...(failed.has('tls') ? { tls: before.config.tls } : {}),
        ...(failed.has('metrics') ? { metrics: before.config.metrics } : {}),
      },
      http: failed.has('http') ? before.http : next.http,
    };
    return failed;
  }
}

export function provisionSettings(config: GatewayConfig, serverPublicKey: string): ProvisionSettings {
  return {
    joinMode: config.joinMode,
    accept: config.accept,
    // Giving a machine a unique token takes its management API; without that, its UUID has to do.
    requireUniqueToken: false,
    pinUniqueTokens: true,
    tunnel: config.tunnel,
    endpoints: config.wireGuardEndpoints,
    serverPublicKey,
    maxMachines: config.machineLimit,
    maxPending: MAX_PENDING,
    predefinedAddresses: config.predefinedAddresses,
  };
}

/** Machines that may wait for acceptance at the same time. */
const MAX_PENDING = 1_024;

/** Plain data. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

type Guarded = HttpAddress & { readonly token?: BearerToken | undefined };

function placeOf(http: HttpPart | undefined): Guarded | undefined {
  return http && { ...http.address, token: http.token };
}

function isSamePlace(a: Guarded | undefined, b: Guarded | undefined): boolean {
  if (!a || !b) return a === b;
  const isSameToken = a.token && b.token ? a.token.equals(b.token) : a.token === b.token;
  return a.host === b.host && a.port === b.port && isSameToken;
}
