/** The address of this machine that others most likely reach it by. */
import { networkInterfaces } from 'node:os';
import { type Address, formatAddress } from '../../core/ip.ts';
import { withRoutes } from '../routes.ts';

/** TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849): the way there is the default route. */
const ELSEWHERE: readonly Address[] = [
  Uint8Array.of(192, 0, 2, 1),
  Uint8Array.of(0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
];

/** The source address of the default route, else any address that is not loopback, else loopback. */
export function ownAddress(): string {
  return sourceOfDefaultRoute() ?? anyAddress() ?? '127.0.0.1';
}

function sourceOfDefaultRoute(): string | undefined {
  return withRoutes((routes) => {
    for (const elsewhere of ELSEWHERE) {
      const source = routes.routeTo(elsewhere)?.source;
      if (source) return formatAddress(source);
    }
    return undefined;
  });
}

function anyAddress(): string | undefined {
  const addresses = Object.values(networkInterfaces()).flatMap((infos) => infos ?? []);
  const usable = addresses.filter(({ internal, address }) => !internal && !/^fe80:/i.test(address));
  return (usable.find(({ family }) => family === 'IPv4') ?? usable[0])?.address;
}
