import { createPrivateKey, createPublicKey } from 'node:crypto';
import { type PrivateKey, PublicKey } from '../../src/noise/keys.ts';

/** The public key by way of OpenSSL's encodings: an oracle apart from the code under test. */
export function publicKeyOracle(privateKey: PrivateKey): PublicKey {
  const prefix = Buffer.from('302e020100300506032b656e04220420', 'hex');
  const key = createPrivateKey({
    key: Buffer.concat([prefix, privateKey.bytes]),
    format: 'der',
    type: 'pkcs8',
  });
  return new PublicKey(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32));
}
