import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { toBase64, toHex } from '../../src/core/bytes.ts';

/** Fails when printing `value` in any of the usual ways shows `secret`, as hex, base64 or a list of bytes. */
export function assertHides(value: object, secret: Uint8Array): void {
  const start = [...secret.subarray(0, 6)];
  const forms = [
    toHex(secret),
    toBase64(secret).slice(0, 20),
    toHex(secret.subarray(0, 6)),
    toHex(secret.subarray(0, 6)).replaceAll(/..(?=.)/g, '$& '),
    start.join(', '),
    start.join(','),
    start.map((byte, i) => `"${i}":${byte}`).join(','),
  ];
  const printed = [
    inspect(value, {
      depth: 20,
      showHidden: true,
      getters: false,
      maxArrayLength: null,
      breakLength: Infinity,
    }),
    JSON.stringify(value),
    // eslint-disable-next-line typescript/no-base-to-string
    String(value),
  ];
  for (const text of printed) {
    for (const form of forms) assert.ok(!text.includes(form), `prints a secret: ${text}`);
  }
}
