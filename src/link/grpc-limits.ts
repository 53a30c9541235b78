/** What a gRPC front gives to anybody who can reach it. Every bound is in docs/LIMITS.md. */
import type { RateLimit } from './token-bucket.ts';

export interface FrontLimits {
  /** Then the oldest connection without a tunnel goes, and if all have one, the new one. */
  readonly maxConnections: number;
  /** New connections from one source. */
  readonly connectionRate: RateLimit;
  /** Calls from one source, tunnels that were admitted not counted. */
  readonly callRate: RateLimit;
  /** Refused calls and pings of one connection; one that does more is cut. */
  readonly strikeRate: RateLimit;
  /** Calls that the gRPC library has and has not answered; then the oldest one goes. */
  readonly maxCalls: number;
}

export const FRONT_LIMITS: FrontLimits = {
  maxConnections: 16_384,
  connectionRate: { perSecond: 256, burst: 4_096 },
  callRate: { perSecond: 128, burst: 512 },
  strikeRate: { perSecond: 10, burst: 100 },
  maxCalls: 1_024,
};

export interface FrontCounters {
  accepted: number;
  /** Connections cut or refused before their time. */
  readonly cut: {
    /** `connectionRate`. */
    rate_limited: number;
    /** `maxConnections`. */
    evicted: number;
    /** `strikeRate`. */
    strikes: number;
    /** No call came, not even the first. */
    silent: number;
    /** A ping was not answered. */
    dead: number;
  };
  /** Calls refused here, before the library has seen them or while it had them. */
  readonly calls: {
    rate_limited: number;
    evicted: number;
    too_large: number;
    timed_out: number;
  };
}

export function newFrontCounters(): FrontCounters {
  return {
    accepted: 0,
    cut: { rate_limited: 0, evicted: 0, strikes: 0, silent: 0, dead: 0 },
    calls: { rate_limited: 0, evicted: 0, too_large: 0, timed_out: 0 },
  };
}

/** Of the header list of one call; everything that SideroLink needs fits into a tenth. */
export const MAX_HEADER_BYTES: number = 16 * 1024;
/** Of the request of a call that is no tunnel. */
export const MAX_REQUEST_BYTES: number = 64 * 1024;

/** For the @grpc/grpc-js server behind a front: what a compressed request unpacks to is bounded too. */
export const SERVICE_OPTIONS = {
  'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
  'grpc.max_send_message_length': MAX_REQUEST_BYTES,
} as const;
