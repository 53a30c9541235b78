/** Every decoder, once: for the properties of `npm test` and for the coverage-guided `npm run fuzz`. */
import { deviceTargets } from './device-targets.ts';
import { linkTargets } from './link-targets.ts';
import { packetTargets } from './packet-targets.ts';
import type { FuzzTarget } from './target.ts';
import { textTargets } from './text-targets.ts';

export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  ...packetTargets,
  ...deviceTargets,
  ...textTargets,
  ...linkTargets,
];

export const DEFAULT_MAX_BYTES = 2048;
