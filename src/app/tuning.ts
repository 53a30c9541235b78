/** How a device moves packets. The automatic choice is right nearly always; the environment overrides it. */
import { nearest, usageError } from '../core/errors.ts';

export interface Tuning {
  /** Where packets are moved: in a worker thread, or on the control thread. */
  readonly lanes: 'auto' | 'inline' | '1';
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
export const TUNING_VARIABLES: Readonly<Record<string, readonly string[]>> = {
  CULVERT_LANES: ['auto', 'inline', '1'],
  CULVERT_BIND: ['auto', 'linux', 'dgram'],
  CULVERT_AEAD: ['auto', 'wasm', 'openssl-core', 'openssl', 'node', 'noble'],
  CULVERT_TUN_OFFLOAD: ['on', 'off'],
  CULVERT_GSO: ['on', 'off'],
  CULVERT_GRO: ['on', 'off'],
};

/** Throws a usage error for a value or a variable that does not exist. */
export function readTuning(env: NodeJS.ProcessEnv): Tuning {
  const read = (name: string): string => {
    const allowed = TUNING_VARIABLES[name] ?? [];
    const value = env[name] ?? '';
    if (value === '') return allowed[0] as string;
    if (allowed.includes(value)) return value;
    const guess = nearest(value, allowed);
    const hint = guess === undefined ? `one of ${allowed.join(', ')}` : `did you mean ${guess}?`;
    throw usageError(`environment variable ${name}: "${value}" is not possible`, hint);
  };
  return {
    lanes: read('CULVERT_LANES') as Tuning['lanes'],
    bind: read('CULVERT_BIND') as Tuning['bind'],
    aead: read('CULVERT_AEAD') as Tuning['aead'],
    tunOffload: read('CULVERT_TUN_OFFLOAD') === 'on',
    gso: read('CULVERT_GSO') === 'on',
    gro: read('CULVERT_GRO') === 'on',
  };
}
