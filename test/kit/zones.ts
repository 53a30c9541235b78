import type { Zones } from '../../src/tunnel/uapi-change.ts';

/** Two interfaces with fixed indices. */
export const fakeZones: Zones = {
  index: (name) =>
    new Map([
      ['eth0', 2],
      ['wlan0', 3],
    ]).get(name),
  name: (index) =>
    new Map([
      [2, 'eth0'],
      [3, 'wlan0'],
    ]).get(index),
};
