// A gateway in memory for provision tests: decides, applies, and lets the test say who is alive.
import assert from 'node:assert/strict';
import { decideProvision, type ProvisionDecision } from '../../../src/link/provision.ts';
import type { ProvisionCall, ProvisionSettings } from '../../../src/link/provision-context.ts';
import { Registry } from '../../../src/link/registry.ts';
import { EMPTY_CONTENTS } from '../../../src/link/store.ts';
import type { TokenRecord } from '../../../src/link/tokens.ts';
import { seededRandom } from '../../kit/random.ts';

export const SERVER_KEY = key('server');
export const UUID = '11111111-2222-3333-4444-555555555555';
export const OTHER_UUID = '99999999-2222-3333-4444-555555555555';
export const SETTINGS: ProvisionSettings = {
  joinMode: 'legacyAllowed',
  accept: 'auto',
  requireUniqueToken: false,
  pinUniqueTokens: true,
  tunnel: 'hint',
  endpoints: ['gw:50180'],
  serverPublicKey: SERVER_KEY,
  maxPending: 10,
  predefinedAddresses: new Map(),
};

/** A public key with a name. */
export function key(name: string): string {
  return Buffer.alloc(32, name).toString('base64');
}

export function unique(token: string, fingerprint = 'hardware'): string {
  return JSON.stringify({ Fingerprint: fingerprint, Token: token });
}

export function token(text: string, more: Partial<TokenRecord> = {}): TokenRecord {
  return { token: text, name: text, createdAtMs: 0, isRevoked: false, ...more };
}

type Answered = Extract<ProvisionDecision, { kind: 'answered' }>;
type Refused = Extract<ProvisionDecision, { kind: 'refused' }>;

export class TestGateway {
  readonly registry: Registry;
  settings: ProvisionSettings;
  wallMs = 1_000_000;
  /** Age of the last handshake by public key. */
  readonly handshakeAgeMs = new Map<string, number>();
  readonly openStreams = new Set<string>();
  readonly #random = seededRandom(1);

  constructor(settings: Partial<ProvisionSettings> = {}, tokens: readonly TokenRecord[] = [token('good')]) {
    this.settings = { ...SETTINGS, ...settings };
    this.registry = new Registry({ ...EMPTY_CONTENTS, tokens, defaultToken: tokens[0]?.token });
  }

  /** Talos 1.7 with token `good`, unless the call says otherwise. */
  decide(call: Partial<ProvisionCall> = {}): ProvisionDecision {
    return decideProvision(
      { nodeUuid: UUID, nodePublicKey: key('a'), joinToken: 'good', talosVersion: 'v1.7.0', ...call },
      {
        state: this.registry,
        liveness: (publicKey) => ({
          isStreamOpen: this.openStreams.has(publicKey),
          handshakeAgeMs: this.handshakeAgeMs.get(publicKey) ?? Infinity,
        }),
        settings: this.settings,
        random: this.#random,
        wallMs: this.wallMs,
      },
    );
  }

  /** Decides, stores, and returns the answer. */
  provision(call: Partial<ProvisionCall> = {}): Answered {
    const decision = this.decide(call);
    assert.equal(decision.kind, 'answered', JSON.stringify(decision));
    const answered = decision as Answered;
    assert.equal(this.registry.apply(answered.changes), undefined);
    return answered;
  }

  refusal(call: Partial<ProvisionCall> = {}): Refused {
    const decision = this.decide(call);
    assert.equal(decision.kind, 'refused', JSON.stringify(decision));
    return decision as Refused;
  }

  /** How the gateway sees the outcome of a call: a machine, a waiting one with its reason, or a code with its text. */
  outcome(call: Partial<ProvisionCall> = {}): string {
    const decision = this.decide(call);
    if (decision.kind === 'refused') return `${decision.status.code} ${decision.status.message}`;
    return decision.pending === undefined ? `machine ${decision.machineId}` : `pending ${decision.pending}`;
  }
}
