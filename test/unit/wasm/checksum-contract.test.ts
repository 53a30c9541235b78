import { wasmChecksums } from '../../../src/wasm/checksums.ts';
import { checksumsContract } from '../../contracts/checksums.ts';

checksumsContract('WebAssembly SIMD', wasmChecksums);
