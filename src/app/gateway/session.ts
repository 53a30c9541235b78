/** How the commands reach a gateway: its socket, or its state when it does not run and looking is enough. */
import type { Command } from 'commander';
import { type AdminClient, AdminClient as Client, NoGateway } from './admin-client.ts';
import type { AdminReader } from './admin-reader.ts';
import { readOffline } from './offline.ts';
import { ownSurroundings, stateDirectory } from '../state-directory.ts';

export interface AdminFlags {
  readonly state?: string;
  readonly json?: true;
}

export function addAdminFlags(command: Command): Command {
  return command
    .option('--state <dir>', 'state directory of the gateway (root: /var/lib/culvert)')
    .option('--json', 'print JSON');
}

export function adminClient(flags: AdminFlags): AdminClient {
  return new Client(stateDirectory(flags.state, ownSurroundings()));
}

/** Asks the running gateway; without one, its stored state, which `say` is told, standard error by default. */
export async function askOrRead<Result>(
  flags: AdminFlags,
  ask: (client: AdminClient) => Promise<Result>,
  read: (reader: AdminReader) => Result,
  say: (line: string) => void = (line) => void process.stderr.write(line),
): Promise<Result> {
  try {
    return await ask(adminClient(flags));
  } catch (error) {
    if (!(error instanceof NoGateway)) throw error;
    const directory = stateDirectory(flags.state, ownSurroundings());
    let reader: AdminReader;
    try {
      reader = readOffline(directory);
    } catch (cause) {
      // Where nothing is stored, the gateway is what is missing.
      if ((cause as { code?: unknown }).code === 'not_found') throw error;
      throw cause;
    }
    say(`culvert: the gateway does not run; this is what it stored in ${directory}\n`);
    return read(reader);
  }
}

/** Prints `value` as JSON, or as the text that `format` makes of it. */
export function print<Value>(flags: AdminFlags, value: Value, format: (value: Value) => string): void {
  process.stdout.write(toText(flags, value, format));
}

export function toText<Value>(flags: AdminFlags, value: Value, format: (value: Value) => string): string {
  return flags.json === true ? `${JSON.stringify(value, undefined, 2)}\n` : format(value);
}
