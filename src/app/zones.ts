import type { Zones } from '../tunnel/uapi-change.ts';
import { withRoutes } from './routes.ts';

/** The interfaces of this process's network namespace, asked anew each time: indices outlive names and names indices. */
export const systemZones: Zones = {
  index: (name) =>
    Buffer.byteLength(name) > 15 ? undefined : withRoutes((routes) => routes.link(name)?.index),
  name: (index) => withRoutes((routes) => routes.link(index)?.name),
};
