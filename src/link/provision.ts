/**
 * The decision behind `Provision`, as a function of request, state, settings and chance: nothing is read or written
 * elsewhere. The caller stores the changes and configures the peer, and answers only when both are done.
 */
import { AppError } from '../core/errors.ts';
import { formatAddress } from '../core/ip.ts';
import { parseBase64, isZero } from '../core/bytes.ts';
import type { ProvisionResponse } from '../gen/siderolink/provision.ts';
import { KEY_SIZE } from '../noise/keys.ts';
import { nodeAddressPrefix, randomNodeAddress, SERVER_ADDRESS } from './addresses.ts';
import { swapEnds } from './endpoints.ts';
import { STATUS, type Status } from './grpc-status.ts';
import { authenticate, type Caller, hasToken, Refusal, type RefusalReason } from './provision-auth.ts';
import { freeMachineId, type Identity, identify } from './provision-identity.ts';
import { virtualEndpointFor, wantsTunnel } from './provision-tunnel.ts';
import type { ProvisionCall, ProvisionContext, ProvisionSettings } from './provision-context.ts';
import {
  type MachineRecord,
  machineSubject,
  type OverlayPeer,
  peerOf,
  type PendingReason,
  type PendingRecord,
  pendingSubject,
  sameRecord,
  type StoreChange,
} from './records.ts';
import { formatUniqueToken, type UniqueToken } from './unique-token.ts';

export type ProvisionDecision =
  | {
      readonly kind: 'answered';
      readonly response: ProvisionResponse;
      /** One transaction. Empty when nothing changed. */
      readonly changes: readonly StoreChange[];
      readonly peer: OverlayPeer;
      /** A peer to take away in the same step that puts `peer` there: both have the same allowed IPs. */
      readonly replaces: string | undefined;
      readonly machineId: string | undefined;
      /** Why it waits; undefined for a machine that may use the gateway. */
      readonly pending: PendingReason | undefined;
    }
  | { readonly kind: 'refused'; readonly status: Status; readonly reason: RefusalReason };

/** Superseded keys worth remembering. */
const MAX_REPLACED_KEYS = 4;
const MAX_VERSION_LENGTH = 64;

export function decideProvision(rawCall: ProvisionCall, context: ProvisionContext): ProvisionDecision {
  try {
    const call = normalize(rawCall);
    const known = context.state.machinesByUuid(call.nodeUuid);
    const caller = authenticate(call, known, context);
    checkPublicKey(call.nodePublicKey, context.settings.serverPublicKey);
    const identity = identify(call, caller, known, context);
    return identity.kind === 'machine'
      ? joinMachine(call, caller, identity, known, context)
      : holdBack(call, caller, identity.reason, context);
  } catch (error) {
    if (error instanceof Refusal) return { kind: 'refused', status: error.status, reason: error.reason };
    throw error;
  }
}

function normalize(call: ProvisionCall): ProvisionCall {
  const { nodeUuid } = call;
  if (!/^[0-9A-Za-z._:-]{1,128}$/.test(nodeUuid)) {
    throw new Refusal(STATUS.INVALID_ARGUMENT, 'error parsing node UUID', 'bad_uuid');
  }
  const isUuid = /^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/.test(nodeUuid);
  return {
    ...call,
    nodeUuid: isUuid ? nodeUuid.toLowerCase() : nodeUuid,
    talosVersion: call.talosVersion?.slice(0, MAX_VERSION_LENGTH),
  };
}

function checkPublicKey(text: string, serverPublicKey: string): void {
  const key = parseBase64(text, KEY_SIZE);
  const problem = !key
    ? 'not standard base64 of 32 bytes'
    : isZero(key)
      ? 'the key is zero'
      : text === serverPublicKey
        ? `the key is the server's own`
        : undefined;
  if (problem === undefined) return;
  throw new Refusal(STATUS.INVALID_ARGUMENT, `error parsing Wireguard key: ${problem}`, 'bad_public_key');
}

function joinMachine(
  call: ProvisionCall,
  caller: Caller,
  { before, uniqueToken }: Extract<Identity, { kind: 'machine' }>,
  known: readonly MachineRecord[],
  context: ProvisionContext,
): ProvisionDecision {
  const { state, settings } = context;
  const publicKey = call.nodePublicKey;
  if (before?.isRemoving) {
    throw new Refusal(
      STATUS.ALREADY_EXISTS,
      'the machine with the same UUID is already registered in Omni and is in the tearing down phase',
      'removing',
    );
  }
  if (!before && settings.maxMachines !== undefined && state.machineCount >= settings.maxMachines) {
    throw new Refusal(
      STATUS.RESOURCE_EXHAUSTED,
      `machine registration limit reached: ${state.machineCount}/${settings.maxMachines} machines registered`,
      'machine_limit',
    );
  }
  const pending = state.pendingByKey(publicKey);
  const id = before?.id ?? freeMachineId(call.nodeUuid, known);
  const replaced = before && before.publicKey !== publicKey ? before.publicKey : undefined;
  const tunnelled = wantsTunnel(settings, before?.tunnel, call.wireguardOverGrpc);
  const record: MachineRecord = {
    id,
    uuid: call.nodeUuid,
    publicKey,
    replacedKeys: replacedKeys(before, publicKey),
    nodeAddress: nodeAddressFor(id, before?.nodeAddress ?? pending?.nodeAddress, context),
    virtualEndpoint: tunnelled ? virtualEndpointFor(pending ?? before, publicKey, context) : undefined,
    uniqueToken: uniqueToken ? formatUniqueToken(uniqueToken) : before?.uniqueToken,
    pinsUniqueToken: pinsUniqueToken(before, uniqueToken, replaced !== undefined, settings),
    tunnel: before?.tunnel,
    talosVersion: call.talosVersion ?? '',
    labels: before?.labels ?? caller.labels,
    joinedAtMs: before?.joinedAtMs ?? context.wallMs,
    isRemoving: false,
  };
  const changes: StoreChange[] = [];
  const subject = machineSubject(id);
  if (pending) {
    changes.push({ kind: 'delete_pending', before: pending });
    changes.push({ kind: 'rename_uses', from: pendingSubject(publicKey), to: subject });
  }
  if (!before || !sameRecord(before, record)) changes.push({ kind: 'put_machine', record, before });
  if (replaced !== undefined)
    changes.push({ kind: 'put_endpoint', publicKey: replaced, endpoint: undefined });
  changes.push(...useOf(caller, subject, pending && pendingSubject(publicKey), context));
  return answer(record, changes, replaced, settings, { machineId: id, pending: undefined });
}

function replacedKeys(before: MachineRecord | undefined, publicKey: string): readonly string[] {
  if (!before || before.publicKey === publicKey) return before?.replacedKeys ?? [];
  return [before.publicKey, ...before.replacedKeys]
    .filter((key) => key !== publicKey)
    .slice(0, MAX_REPLACED_KEYS);
}

function holdBack(
  call: ProvisionCall,
  caller: Caller,
  reason: PendingReason,
  context: ProvisionContext,
): ProvisionDecision {
  const { state, settings } = context;
  const publicKey = call.nodePublicKey;
  const before = state.pendingByKey(publicKey);
  if (!before && state.pendingCount >= settings.maxPending) {
    throw new Refusal(
      STATUS.RESOURCE_EXHAUSTED,
      `too many machines wait for acceptance: ${state.pendingCount}/${settings.maxPending}`,
      'pending_limit',
    );
  }
  const tunnelled = wantsTunnel(settings, undefined, call.wireguardOverGrpc);
  const record: PendingRecord = {
    publicKey,
    uuid: call.nodeUuid,
    reason,
    nodeAddress: before?.nodeAddress ?? freshNodeAddress(context),
    virtualEndpoint: tunnelled ? virtualEndpointFor(before, publicKey, context) : undefined,
    uniqueToken: caller.uniqueToken && formatUniqueToken(caller.uniqueToken),
    talosVersion: call.talosVersion ?? '',
    labels: before?.labels ?? caller.labels,
    createdAtMs: before?.createdAtMs ?? context.wallMs,
  };
  const changes: StoreChange[] = [];
  if (!before || !sameRecord(before, record)) changes.push({ kind: 'put_pending', record, before });
  changes.push(...useOf(caller, pendingSubject(publicKey), undefined, context));
  return answer(record, changes, undefined, settings, { machineId: undefined, pending: reason });
}

/** A use is counted once for a machine, however often it calls; `earlier` is its name while it waited. */
function useOf(
  caller: Caller,
  subject: string,
  earlier: string | undefined,
  { state }: ProvisionContext,
): StoreChange[] {
  const token = caller.joinToken;
  if (token === undefined || state.tokens.find(token)?.provider !== undefined) return [];
  if (state.hasUsed(token, subject) || (earlier !== undefined && state.hasUsed(token, earlier))) return [];
  return [{ kind: 'use_token', token, subject }];
}

/**
 * The same token under a new key has survived a restart: it is on disk. Nothing else tells an installed machine from
 * one that boots from the network and makes up a token every time.
 */
function pinsUniqueToken(
  before: MachineRecord | undefined,
  presented: UniqueToken | undefined,
  isNewKey: boolean,
  settings: ProvisionSettings,
): boolean {
  if (!before || !settings.pinUniqueTokens) return false;
  if (presented === undefined) return before.pinsUniqueToken;
  return hasToken(before, presented) && (before.pinsUniqueToken || isNewKey);
}

function nodeAddressFor(id: string, current: string | undefined, context: ProvisionContext): string {
  const predefined = context.settings.predefinedAddresses.get(id);
  if (predefined === undefined || predefined === current) return current ?? freshNodeAddress(context);
  if (context.state.isAddressTaken(predefined)) {
    throw new Refusal(
      STATUS.INTERNAL,
      `error generating node address: ${predefined} belongs to another machine`,
      'no_address',
    );
  }
  return predefined;
}

function freshNodeAddress({ state, random }: ProvisionContext): string {
  return formatAddress(randomNodeAddress(random, (address) => state.isAddressTaken(address)));
}

function answer(
  record: MachineRecord | PendingRecord,
  changes: readonly StoreChange[],
  replaces: string | undefined,
  settings: ProvisionSettings,
  who: { machineId: string | undefined; pending: PendingReason | undefined },
): ProvisionDecision {
  const { virtualEndpoint } = record;
  if (virtualEndpoint === undefined && settings.endpoints.length === 0) {
    throw new AppError('internal', 'no WireGuard endpoint is configured, and the tunnel is not forced');
  }
  return {
    kind: 'answered',
    response: {
      serverEndpoint: virtualEndpoint === undefined ? swapEnds(settings.endpoints) : [virtualEndpoint],
      serverPublicKey: settings.serverPublicKey,
      nodeAddressPrefix: nodeAddressPrefix(record.nodeAddress),
      serverAddress: formatAddress(SERVER_ADDRESS),
      grpcPeerAddrPort: virtualEndpoint ?? '',
    },
    changes,
    peer: peerOf(record),
    replaces,
    ...who,
  };
}
