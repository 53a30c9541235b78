/** Whether a machine speaks through the tunnel, and under which virtual address. */
import { randomVirtualEndpoint, virtualKey } from './addresses.ts';
import { PEER_DOWN_AFTER } from './constants.ts';
import type { ProvisionContext, ProvisionSettings } from './provision-context.ts';
import type { MachineRecord, PendingRecord } from './records.ts';

/** The gateway's setting, then the operator's for this machine, then what the machine asks for. */
export function wantsTunnel(
  settings: ProvisionSettings,
  machineSetting: boolean | undefined,
  hint: boolean | undefined,
): boolean {
  switch (settings.tunnel) {
    case 'forced':
      return true;
    case 'forbidden':
      return false;
    case 'hint':
      return machineSetting ?? hint ?? false;
  }
}

/**
 * The virtual address for this answer. A Talos machine whose stream was refused once revives it only when its address
 * changes, so everybody gets a fresh one, except over a tunnel that works: there a change would cut it.
 */
export function virtualEndpointFor(
  before: MachineRecord | PendingRecord | undefined,
  publicKey: string,
  { state, liveness, random }: ProvisionContext,
): string {
  if (before?.virtualEndpoint !== undefined && before.publicKey === publicKey) {
    const { isStreamOpen, handshakeAgeMs } = liveness(publicKey);
    if (isStreamOpen && handshakeAgeMs < PEER_DOWN_AFTER) return before.virtualEndpoint;
  }
  return virtualKey(randomVirtualEndpoint(random, (address) => state.isAddressTaken(address)));
}
