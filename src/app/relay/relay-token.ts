/** The token of `culvert serve --relay-to`, kept in the gateway's state directory. */
import { join } from 'node:path';
import type { Random } from '../../core/random.ts';
import { formatGatewayUrl } from '../../link/join-url.ts';
import { readIfThere, writePrivately } from '../private-file.ts';

const TOKEN_BYTES = 32;

/** Made when there is none: 43 characters that need no escapes in a URL. */
export function loadRelayToken(stateDirectory: string, random: Random): string {
  const path = join(stateDirectory, 'relay-token');
  const kept = readIfThere(path)?.trim() ?? '';
  if (kept !== '') return kept;
  const bytes = new Uint8Array(TOKEN_BYTES);
  random.fill(bytes);
  const token = Buffer.from(bytes).toString('base64url');
  writePrivately(path, `${token}\n`);
  return token;
}

/** What to paste on the other side. `apiUrl`: `https://host[:port]`. */
export function formatRelayHint(apiUrl: string, token: string, target: string): string {
  const url = formatGatewayUrl(apiUrl, { token });
  return `Relay any WireGuard client to ${target}\n\n  culvert relay --to "${url}"\n`;
}
