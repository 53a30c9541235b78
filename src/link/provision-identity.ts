/** Which machine is calling? UUIDs repeat in the field, so an address is only given back on better evidence. */
import { type Caller, hasToken, unauthorized } from './provision-auth.ts';
import { PEER_DOWN_AFTER } from './constants.ts';
import type { ProvisionCall, ProvisionContext } from './provision-context.ts';
import type { MachineRecord, PendingReason } from './records.ts';
import { parseUniqueToken, sameFingerprint, type UniqueToken } from './unique-token.ts';

export type Identity =
  /** It is `before`, or a machine nobody has seen yet. */
  | {
      readonly kind: 'machine';
      readonly before: MachineRecord | undefined;
      /** To remember from now on. */
      readonly uniqueToken: UniqueToken | undefined;
    }
  | { readonly kind: 'pending'; readonly reason: PendingReason };

/** Throws Refusal. */
export function identify(
  call: ProvisionCall,
  caller: Caller,
  known: readonly MachineRecord[],
  context: ProvisionContext,
): Identity {
  const identity =
    caller.flow === 'secure' && caller.uniqueToken !== undefined
      ? byUniqueToken(call, caller.uniqueToken, known, context)
      : byUuid(call, caller, known, context);
  // One key cannot have two addresses, and whoever names another machine's key does not get to move it.
  const owner = context.state.machineByKey(call.nodePublicKey);
  if (owner && !(identity.kind === 'machine' && identity.before?.id === owner.id)) {
    throw unauthorized('foreign_key');
  }
  return identity;
}

function byUniqueToken(
  call: ProvisionCall,
  uniqueToken: UniqueToken,
  known: readonly MachineRecord[],
  context: ProvisionContext,
): Identity {
  const same = known.find((machine) => hasToken(machine, uniqueToken));
  if (same) return { kind: 'machine', before: same, uniqueToken };
  const bare = known.find((machine) => machine.uniqueToken === undefined);
  if (bare) return { kind: 'machine', before: bare, uniqueToken };
  const sameHardware = known.find((machine) => {
    const stored = parseUniqueToken(machine.uniqueToken);
    return stored !== undefined && sameFingerprint(stored, uniqueToken);
  });
  if (sameHardware) {
    if (sameHardware.pinsUniqueToken) throw unauthorized('pinned_unique_token');
    return { kind: 'machine', before: sameHardware, uniqueToken };
  }
  // Under a UUID that means nothing, another token is simply another machine.
  if (known.length > 0 && isMeaningfulUuid(call.nodeUuid)) {
    return { kind: 'pending', reason: 'uuid_conflict' };
  }
  return newcomer(context, uniqueToken);
}

function byUuid(
  call: ProvisionCall,
  caller: Caller,
  known: readonly MachineRecord[],
  context: ProvisionContext,
): Identity {
  const { liveness, settings } = context;
  if (!isMeaningfulUuid(call.nodeUuid)) return { kind: 'pending', reason: 'uuid_conflict' };
  const bare = known.find((machine) => machine.uniqueToken === undefined);
  const isSecure = caller.flow === 'secure';
  // The same key is the same boot: it proved itself when it joined.
  const isSameBoot = bare?.publicKey === call.nodePublicKey;
  if (isSecure && !isSameBoot && (settings.requireUniqueToken || (known.length > 0 && !bare))) {
    return { kind: 'pending', reason: 'no_unique_token' };
  }
  const before = bare ?? known[0];
  if (!before) return newcomer(context, undefined);
  // A machine makes a new key at every boot. One that comes back while its successor lives is a second machine.
  const isTwin =
    before.replacedKeys.includes(call.nodePublicKey) &&
    liveness(before.publicKey).handshakeAgeMs < PEER_DOWN_AFTER;
  if (isTwin) return { kind: 'pending', reason: 'uuid_conflict' };
  return { kind: 'machine', before, uniqueToken: undefined };
}

function newcomer(context: ProvisionContext, uniqueToken: UniqueToken | undefined): Identity {
  return context.settings.accept === 'manual'
    ? { kind: 'pending', reason: 'approval' }
    : { kind: 'machine', before: undefined, uniqueToken };
}

/** UUIDs that firmware writes when nobody gave the board one. */
const MEANINGLESS_UUIDS: ReadonlySet<string> = new Set([
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '03000200-0400-0500-0006-000700080009',
  '00020003-0004-0005-0006-000700080009',
]);

export function isMeaningfulUuid(uuid: string): boolean {
  return !MEANINGLESS_UUIDS.has(uuid);
}

/** `UUID`, or the first free one of `UUID#2`, `UUID#3` …  */
export function freeMachineId(uuid: string, known: readonly MachineRecord[]): string {
  const taken = new Set(known.map(({ id }) => id));
  if (!taken.has(uuid)) return uuid;
  for (let n = 2; ; n++) {
    const id = `${uuid}#${n}`;
    if (!taken.has(id)) return id;
  }
}
