/**
 * The guard against DNS rebinding: a web page may name this machine by a name of its own and then read, in the user's
 * browser, what listens on loopback. Its requests carry that name in their Host header.
 */
import { isIP } from 'node:net';

/** Whether a request for this Host may be answered by a server that listens on loopback only. */
export function isLocalHost(host: string | undefined): boolean {
  if (host === undefined) return false;
  const name = /^\[(.*)\](?::\d+)?$/.exec(host)?.[1] ?? host.replace(/:\d+$/, '');
  // An address cannot be rebound.
  return isIP(name) !== 0 || /^localhost\.?$/i.test(name);
}
