/** Which peer owns which virtual address: who may open a stream. */
import type { SocketAddress } from '../core/ip.ts';
import { formatAddress } from '../core/ip.ts';
import { parseSocketAddress } from '../core/ip.ts';

export class AllowList {
  readonly #ownerByAddress = new Map<string, string>();
  readonly #addressByOwner = new Map<string, string>();

  /** One address for each peer; the former one is allowed no more. Undefined takes it away. */
  set(publicKey: string, virtualEndpoint: string | undefined): void {
    const address = virtualEndpoint === undefined ? undefined : parseSocketAddress(virtualEndpoint)?.address;
    const text = address && formatAddress(address);
    const former = this.#addressByOwner.get(publicKey);
    if (former === text) return;
    if (former !== undefined) {
      this.#addressByOwner.delete(publicKey);
      // The address may be another peer's by now.
      if (this.#ownerByAddress.get(former) === publicKey) this.#ownerByAddress.delete(former);
    }
    if (text === undefined) return;
    const displaced = this.#ownerByAddress.get(text);
    if (displaced !== undefined) this.#addressByOwner.delete(displaced);
    this.#ownerByAddress.set(text, publicKey);
    this.#addressByOwner.set(publicKey, text);
  }

  /** Base64 key of the peer that owns the address; the port does not matter. */
  ownerOf(endpoint: SocketAddress): string | undefined {
    return this.#ownerByAddress.get(formatAddress(endpoint.address));
  }

  get size(): number {
    return this.#ownerByAddress.size;
  }
}
