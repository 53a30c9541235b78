/** What an operator does with machines, as changes for the store. Applying them and the peers is the caller's. */
import { AppError } from '../core/errors.ts';
import { PEER_DOWN_AFTER } from './constants.ts';
import type { ProvisionState } from './provision-context.ts';
import { freeMachineId, isMeaningfulUuid } from './provision-identity.ts';
import {
  type MachineRecord,
  machineSubject,
  type PendingRecord,
  pendingSubject,
  type StoreChange,
} from './records.ts';

/**
 * A waiting machine becomes a member; key, addresses and stream stay. Throws AppError when nothing would tell it from
 * another machine after its next restart.
 */
export function acceptPending(pending: PendingRecord, state: ProvisionState, wallMs: number): StoreChange[] {
  const known = state.machinesByUuid(pending.uuid);
  if (pending.uniqueToken === undefined && (known.length > 0 || !isMeaningfulUuid(pending.uuid))) {
    throw new AppError(
      'usage',
      `UUID ${pending.uuid} is not this machine's alone, and it has no unique token`,
      {
        hint: 'give it a UUID of its own, or forget the unique token of the machine it used to be',
      },
    );
  }
  const id = freeMachineId(pending.uuid, known);
  const record: MachineRecord = {
    id,
    uuid: pending.uuid,
    publicKey: pending.publicKey,
    replacedKeys: [],
    nodeAddress: pending.nodeAddress,
    virtualEndpoint: pending.virtualEndpoint,
    uniqueToken: pending.uniqueToken,
    pinsUniqueToken: false,
    talosVersion: pending.talosVersion,
    labels: pending.labels,
    joinedAtMs: wallMs,
    isRemoving: false,
  };
  return [
    { kind: 'delete_pending', before: pending },
    { kind: 'put_machine', record, before: undefined },
    { kind: 'rename_uses', from: pendingSubject(pending.publicKey), to: machineSubject(id) },
  ];
}

/** Turns a waiting machine away for good: by its UUID, or by its key when others have the UUID too. */
export function denyPending(pending: PendingRecord, state: ProvisionState): StoreChange[] {
  const isAlone = isMeaningfulUuid(pending.uuid) && state.machinesByUuid(pending.uuid).length === 0;
  return [...dropPending(pending), { kind: 'deny', subject: isAlone ? pending.uuid : pending.publicKey }];
}

/** Forgets a waiting machine; it may come again. */
export function dropPending(pending: PendingRecord): StoreChange[] {
  return [
    { kind: 'delete_pending', before: pending },
    { kind: 'release_uses', subject: pendingSubject(pending.publicKey) },
    { kind: 'put_endpoint', publicKey: pending.publicKey, endpoint: undefined },
  ];
}

/** From here on its Provision is refused; `removeMachine` follows when its peer and stream are gone. */
export function beginRemoval(machine: MachineRecord): StoreChange[] {
  return [{ kind: 'put_machine', record: { ...machine, isRemoving: true }, before: machine }];
}

/** Forgets a machine and gives its use of a token back; with a valid token it may join again as a new one. */
export function removeMachine(machine: MachineRecord): StoreChange[] {
  return [
    { kind: 'delete_machine', before: machine },
    { kind: 'release_uses', subject: machineSubject(machine.id) },
    { kind: 'put_endpoint', publicKey: machine.publicKey, endpoint: undefined },
  ];
}

/** true: tunnel, false: UDP, undefined: as the machine asks. Takes effect at its next Provision. */
export function setTunnel(machine: MachineRecord, tunnel: boolean | undefined): StoreChange[] {
  return [{ kind: 'put_machine', record: { ...machine, tunnel }, before: machine }];
}

/** The machine may come with a new unique token, or with none. */
export function forgetUniqueToken(machine: MachineRecord): StoreChange[] {
  const record = { ...machine, uniqueToken: undefined, pinsUniqueToken: false };
  return [{ kind: 'put_machine', record, before: machine }];
}

/** Waiting machines that gave no sign of life, Provision or handshake, for as long as a peer needs to be down. */
export function expiredPending(
  pending: Iterable<PendingRecord>,
  lastSignAgeMs: (publicKey: string) => number,
): PendingRecord[] {
  return [...pending].filter(({ publicKey }) => lastSignAgeMs(publicKey) >= PEER_DOWN_AFTER);
}
