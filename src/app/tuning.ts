/** How a device moves packets. The automatic choice is right nearly always; the environment overrides it. */
import { nearest, usageError } from '../core/errors.ts';

export interface Tuning {
  /** Where packets are moved: on the control thread, in one worker thread, or in one for each direction. */
  readonly lanes: 'auto' | 'inline' | '1' | '2';
  /** `linux`: recvmmsg and sendmmsg; `dgram`: Node's own sockets, without sticky source, fwmark and ECN. */
  readonly bind: 'auto' | 'linux' | 'dgram';
  /** ChaCha20-Poly1305 of transport packets. */
  readonly aead: 'auto' | 'wasm' | 'openssl-core' | 'openssl' | 'node' | 'noble';
  /** Super-packets between kernel and TUN (IFF_VNET_HDR, TSO, USO). */
  readonly tunOffload: boolean;
  /** Datagrams sent (UDP_SEGMENT) and received (UDP_GRO) many at a time. */
  readonly gso: boolean;
  readonly gro: boolean;
}

/** Environment variables, with what they may be. */
export const TUNING_VARIABLES = {
  CULVERT_LANES: ['auto', 'inline', '1', '2'],
  CULVERT_BIND: ['auto', 'linux', 'dgram'],
  CULVERT_AEAD: ['auto', 'wasm', 'openssl-core', 'openssl', 'node', 'noble'],
  CULVERT_TUN_OFFLOAD: ['on', 'off'],
  CULVERT_GSO: ['on', 'off'],
  CULVERT_GRO: ['on', 'off'],
} as const;

/** Throws a usage error for a value or a variable that does not exist. */
export function readTuning(env: NodeJS.ProcessEnv): Tuning {
  const read = <Name extends keyof typeof TUNING_VARIABLES>(
    name: Name,
  ): (typeof TUNING_VARIABLES)[Name][number] => {
    const allowed: readonly (typeof TUNING_VARIABLES)[Name][number][] = TUNING_VARIABLES[name];
    const value = env[name] ?? '';
    const found = allowed.find((each) => each === (value || allowed[0]));
    if (found !== undefined) return found;
    const guess = nearest(value, allowed);
    const hint = guess === undefined ? `one of ${allowed.join(', ')}` : `did you mean ${guess}?`;
    throw usageError(`environment variable ${name}: "${value}" is not possible`, hint);
  };
  return {
    lanes: read('CULVERT_LANES'),
    bind: read('CULVERT_BIND'),
    aead: read('CULVERT_AEAD'),
    tunOffload: read('CULVERT_TUN_OFFLOAD') === 'on',
    gso: read('CULVERT_GSO') === 'on',
    gro: read('CULVERT_GRO') === 'on',
  };
}
