/** Node.js can wait for itself for ever when the garbage collector meets a key that is being exported. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const KEYS = 400_000;
const CRYPTO = fileURLToPath(new URL('../../src/noise/crypto-node.js', import.meta.url));
const RANDOM = fileURLToPath(new URL('../../src/core/random.js', import.meta.url));
const PROGRAM = `
  import { nodeX25519 } from ${JSON.stringify(CRYPTO)};
  import { systemRandom } from ${JSON.stringify(RANDOM)};
  for (let i = 0; i < ${KEYS}; i++) nodeX25519.generate(systemRandom);
  console.log('made');
`;

test(
  'four hundred thousand ephemeral keys are made while the garbage collector runs all the time',
  { timeout: 180_000 },
  async () => {
    const args = ['--max-semi-space-size=1', '--input-type=module', '--eval', PROGRAM];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 170_000 });
    assert.equal(stdout, 'made\n');
  },
);
