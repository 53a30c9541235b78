/** What every form of the program must be able to do where it was installed, without rights. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const manifest = new URL('../../../package.json', import.meta.url);

export const VERSION: string = (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;

/** `call` runs culvert with these arguments and standard input, and returns its output. Throws when something is amiss. */
export function exercise(call: (args: readonly string[], input?: string) => string): void {
  assert.equal(call(['--version']), `culvert ${VERSION}\n`);
  const key = call(['genkey']);
  assert.match(call(['pubkey'], key), /^[A-Za-z0-9+/]{43}=\n$/);
  assert.match(call(['check', '-'], `[Interface]\nPrivateKey = ${key}`), /good, 0 peers/);
  assert.match(call(['bench', 'lane', '--quick']), /TUN to UDP 1420 B\n {2}wasm/);
  assert.match(call(['demo', '--memory', '--seconds', '1']), /WireGuard +alice sent/);
}
