// Compiles the AssemblyScript kernels of src/wasm/assembly into dist/src/wasm, once for plain and once for shared memory:
// WebAssembly wants an imported memory to be declared as what it is. Does nothing when sources and flags are unchanged.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const assembly = join(root, 'src', 'wasm', 'assembly');
const output = join(root, 'dist', 'src', 'wasm');
const compiler = join(root, 'node_modules', 'assemblyscript');

const FLAGS = [
  '-O3',
  '--noAssert',
  '--runtime=stub',
  '--enable=simd',
  '--importMemory',
  '--noExportMemory',
  '--initialMemory=16',
  // "Exchange of v128 values is not supported": vectors are passed between functions of the module only.
  '--disableWarning=112',
];
const VARIANTS = {
  'kernels.wasm': [],
  'kernels-shared.wasm': ['--enable=threads', '--sharedMemory', '--maximumMemory=65536'],
};

function fingerprint() {
  const hash = createHash('sha256').update(JSON.stringify([FLAGS, VARIANTS]));
  hash.update(readFileSync(join(compiler, 'package.json')));
  for (const name of readdirSync(assembly).sort()) {
    if (name.endsWith('.ts')) hash.update(name).update(readFileSync(join(assembly, name)));
  }
  return hash.digest('hex');
}

function compile(name, flags) {
  const target = join(output, name);
  const args = [join(compiler, 'bin', 'asc.js'), join(assembly, 'index.ts'), ...FLAGS, ...flags];
  const result = spawnSync(process.execPath, [...args, `--outFile=${target}.tmp`], {
    cwd: root,
    stdio: 'inherit',
  });
  if (result.status !== 0) process.exit(result.status ?? 1);
  renameSync(`${target}.tmp`, target);
}

const mark = join(output, '.kernels');
const wanted = fingerprint();
const isBuilt = existsSync(mark) && readFileSync(mark, 'utf8') === wanted;
if (!isBuilt || Object.keys(VARIANTS).some((name) => !existsSync(join(output, name)))) {
  mkdirSync(output, { recursive: true });
  for (const [name, flags] of Object.entries(VARIANTS)) compile(name, flags);
  writeFileSync(mark, wanted);
}
