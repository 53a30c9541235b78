/** `culvert down` apart from its command line. */
import { existsSync, rmSync, unlinkSync } from 'node:fs';
import { AppError } from '../core/errors.ts';
import { uapiPath } from '../tunnel/uapi-socket.ts';
import { undoLeftovers, type UpDependencies } from './up.ts';
import type { SignInFiles } from './api/sign-in-file.ts';
import { isAlive } from './uapi-client.ts';

export interface DownDependencies extends Pick<UpDependencies, 'system' | 'undoStore' | 'logger'> {
  readonly uapiDirectory?: string;
  readonly signIns: Pick<SignInFiles, 'remove'>;
  readonly sleep: (ms: number) => Promise<void>;
}

const POLL_MS = 25;
/** For the hooks and the closing of the process; then the interface is deleted from outside. */
const PATIENCE_MS = 20_000;

/**
 * Ends the userspace device of the interface, whichever program runs it, and waits until it and what it set up are
 * gone. Throws AppError `not_found` when there is none.
 */
export async function takeDown(interfaceName: string, dependencies: DownDependencies): Promise<void> {
  const { system, undoStore, signIns, sleep, uapiDirectory } = dependencies;
  const path = uapiPath(interfaceName, uapiDirectory);
  const isPresent = () => system.hasInterface(interfaceName) || undoStore.isRunning(interfaceName);
  if (await isAlive(path)) {
    // Deleting its socket ends every userspace WireGuard in good order.
    unlinkSync(path);
    for (let waitedMs = 0; isPresent() && waitedMs < PATIENCE_MS; waitedMs += POLL_MS) await sleep(POLL_MS);
    system.deleteInterface(interfaceName);
    await undoLeftovers(interfaceName, dependencies);
    undoStore.markEnded(interfaceName);
    signIns.remove(interfaceName);
    return;
  }
  if (system.hasInterface(interfaceName))
    throw new AppError('not_found', `${interfaceName} is not a userspace WireGuard interface`, {
      hint: `"wg-quick down ${interfaceName}" or "ip link delete ${interfaceName}" removes it`,
    });
  // What a killed process left behind, or one that had given up the rights to remove it.
  undoStore.markEnded(interfaceName);
  signIns.remove(interfaceName);
  const hadSocket = existsSync(path);
  rmSync(path, { force: true });
  if (!(await undoLeftovers(interfaceName, dependencies)) && !hadSocket)
    throw new AppError(
      'not_found',
      `no userspace WireGuard device ${JSON.stringify(interfaceName)} is running`,
      {
        hint: '"culvert show interfaces" lists them',
      },
    );
}
