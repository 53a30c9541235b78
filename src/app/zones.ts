import { RouteClient } from '../sys/route-client.ts';
import type { Zones } from '../tunnel/uapi-change.ts';

/** The interfaces of this process's network namespace, asked anew each time: indices outlive names and names indices. */
export const systemZones: Zones = {
  index: (name) => (Buffer.byteLength(name) > 15 ? undefined : ask((client) => client.link(name)?.index)),
  name: (index) => ask((client) => client.link(index)?.name),
};

function ask<T>(question: (client: RouteClient) => T): T {
  const client = new RouteClient();
  try {
    return question(client);
  } finally {
    client.close();
  }
}
