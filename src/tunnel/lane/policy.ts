/** Rules for packets beyond those of the protocol, as a lane begins with them. Plain data, so that it crosses threads. */
import type { Address } from '../../core/ip.ts';
import type { BandwidthLimits } from './bandwidth.ts';

export interface LanePolicy {
  /** IPv6: decrypted packets for any other destination are dropped. */
  readonly onlyDestination?: Address;
  /** Empty: there are none, and there may be some later (`LaneCommands.setBandwidth`). */
  readonly bandwidth?: BandwidthLimits;
}
