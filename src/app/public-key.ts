import { nodeX25519 } from '../noise/crypto-node.ts';
import { type PrivateKey, PublicKey } from '../noise/keys.ts';

/** X25519 with the base point. */
export function publicKeyOf(privateKey: PrivateKey): PublicKey {
  const key = nodeX25519.importPrivateKey(privateKey.bytes);
  const publicKey = new PublicKey(key.publicKey);
  key.zero();
  return publicKey;
}
