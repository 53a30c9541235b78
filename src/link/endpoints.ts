/**
 * The order of `server_endpoint`. Clients from before the field was repeated read its last value, so the list travels
 * with its first and last element swapped: they see the preferred one, and newer clients swap back.
 */
export function swapEnds(endpoints: readonly string[]): string[] {
  const swapped = [...endpoints];
  const last = swapped.length - 1;
  if (last > 0) {
    swapped[0] = endpoints[last] as string;
    swapped[last] = endpoints[0] as string;
  }
  return swapped;
}

/** `host:port` as in `server_endpoint`: an IPv4 address, a bracketed IPv6 address or a name, and a port. */
export function isEndpoint(text: string): boolean {
  const match = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?):(\d{1,5})$/.exec(
    text,
  );
  const port = Number(match?.[1]);
  return port >= 1 && port <= 65_535;
}
