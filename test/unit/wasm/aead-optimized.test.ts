import { setFlagsFromString } from 'node:v8';
import { WasmTransportAead } from '../../../src/noise/aead-wasm.ts';
import { transportAeadContract } from '../../contracts/aead.ts';

// V8 compiles WebAssembly twice: fast, and well once it is hot. The other tests mostly run the first code; here the
// optimizing compiler makes all of it.
setFlagsFromString('--no-liftoff');

transportAeadContract('wasm, optimized', (arena) => new WasmTransportAead(arena));
