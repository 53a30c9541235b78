/** Who is behind an overlay address. WireGuard vouches for it: a peer can send from its own address only. */
import { formatAddress, parseAddress } from '../core/ip.ts';
import type { Registry } from './registry.ts';

export type Source = { readonly kind: 'machine'; readonly id: string } | { readonly kind: 'pending' };

/** Undefined for an address that nobody has. */
export type SourceResolver = (address: string) => Source | undefined;

export function registrySources(registry: () => Registry): SourceResolver {
  return (text) => {
    const address = parseAddress(text.replace(/%.*$/, ''));
    return address && registry().sourceAt(formatAddress(address));
  };
}
