// Compiles the AssemblyScript kernels of src/wasm/assembly into dist/src/wasm/*.wasm.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const assembly = fileURLToPath(new URL('../src/wasm/assembly', import.meta.url));
if (!existsSync(assembly)) process.exit(0);
