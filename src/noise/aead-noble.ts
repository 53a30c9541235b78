/** TransportAead in plain JavaScript (@noble/ciphers): the reference that every other backend is compared with. */
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { EachTransportAead } from './aead-each.ts';

export class NobleTransportAead extends EachTransportAead<Uint8Array> {
  override readonly name = 'noble';

  override addKey(key: Uint8Array): number {
    return this.keys.add(new Uint8Array(key));
  }

  override dropKey(handle: number): void {
    this.keys.remove(handle)?.fill(0);
  }

  override sealOne(key: Uint8Array, nonce: Uint8Array, text: Uint8Array, sealed: Uint8Array): void {
    chacha20poly1305(key, nonce).encrypt(text, sealed);
  }

  override openOne(key: Uint8Array, nonce: Uint8Array, text: Uint8Array, sealed: Uint8Array): boolean {
    try {
      chacha20poly1305(key, nonce).decrypt(sealed, text);
      return true;
    } catch {
      return false;
    }
  }
}
