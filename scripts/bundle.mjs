// Makes dist-bundle/: the whole program in files that need no npm. `node culvert.mjs` works wherever the folder is
// copied to. Beside culvert.mjs lie the programs it starts (lane thread, demo, bench), the WebAssembly kernels, the page, and
// node_modules with the two packages that are machine code: koffi (system calls) and libsql (the gateway's store).
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist', 'src');
const { name, version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** How a file names what lies beside it: a program to start, a folder to serve. */
const NEIGHBOUR = /new URL\('(\.\.?\/[^']+)', import\.meta\.url\)/g;

/** Programs that others start by their file, by the name of that file. */
function startedPrograms() {
  const found = new Map();
  for (const name of readdirSync(dist, { recursive: true })) {
    if (!name.endsWith('.js')) continue;
    const file = join(dist, name);
    for (const [, path] of readFileSync(file, 'utf8').matchAll(NEIGHBOUR)) {
      if (!path.endsWith('.js')) continue;
      const program = join(dirname(file), path);
      const out = basename(path, '.js');
      if ((found.get(out) ?? program) !== program) throw new Error(`two programs are named ${out}`);
      found.set(out, program);
    }
  }
  return found;
}

/** In the bundle everything lies in one folder. */
const flatten = {
  name: 'flatten',
  setup(build) {
    build.onLoad({ filter: /[/]dist[/]src[/].*[.]js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll(NEIGHBOUR, (_, neighbour) => {
        const isFolder = neighbour.endsWith('/');
        return `new URL('./${basename(neighbour)}${isFolder ? '/' : ''}', import.meta.url)`;
      }),
      loader: 'js',
    }));
  },
};

const COMMANDS = { culvert: 'app/cli.js', 'culvert-go': 'app/culvert-go.js' };

const NATIVE = ['koffi', 'libsql'];

/** Directories of packages without what only their developers need. */
function copyPackage(packageName, output) {
  const from = join(root, 'node_modules', packageName);
  const ignored = new Set(['vendor', 'doc', 'types', 'lib/native', 'cnoke.cjs', 'CHANGELOG.md']);
  cpSync(from, join(output, 'node_modules', packageName), {
    recursive: true,
    filter: (path) =>
      !ignored.has(path.slice(from.length + 1)) && !/\.(?:cc|hh|inc|S|asm|txt\.in)$/.test(path),
  });
}

/** The native packages and what they load at run time, as far as it is installed here. */
function nativePackages() {
  const found = new Set();
  const visit = (packageName) => {
    const file = join(root, 'node_modules', packageName, 'package.json');
    if (found.has(packageName) || !existsSync(file)) return;
    // libsql's binaries for another C library than that of this machine.
    if (packageName.endsWith('-musl') !== isMusl() && packageName.startsWith('@libsql/')) return;
    found.add(packageName);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(readFileSync(file, 'utf8'));
    for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) visit(dependency);
  };
  for (const packageName of NATIVE) visit(packageName);
  return [...found];
}

function isMusl() {
  return process.report.getReport().header.glibcVersionRuntime === undefined;
}

/** Writes the bundle to `output`, which is emptied first. */
export async function bundle(output = join(root, 'dist-bundle')) {
  rmSync(output, { recursive: true, force: true });
  mkdirSync(output, { recursive: true });
  const common = {
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'esm',
    external: NATIVE,
    plugins: [flatten],
    define: { CULVERT_VERSION: JSON.stringify(version) },
    // Packages of the older kind call require() for modules of Node.
    banner: {
      js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
    },
    legalComments: 'linked',
    logLevel: 'warning',
    absWorkingDir: root,
  };
  const entryPoints = Array.from(startedPrograms(), ([out, file]) => ({ out, in: file }));
  await build({ ...common, entryPoints, outdir: output });
  for (const [command, file] of Object.entries(COMMANDS)) {
    const outfile = join(output, `${command}.mjs`);
    const contents = `#!/usr/bin/env node
import { main } from ${JSON.stringify(join(dist, file))};
process.exit(await main(process.argv.slice(2)));`;
    await build({ ...common, stdin: { contents, resolveDir: root, sourcefile: `${command}.mjs` }, outfile });
    chmodSync(outfile, 0o755);
  }
  // The launcher of culvert-go looks for culvert-go.mjs beside itself.
  cpSync(join(root, 'bin', 'culvert-go'), join(output, 'culvert-go'));
  for (const file of readdirSync(join(dist, 'wasm')).filter((one) => one.endsWith('.wasm')))
    cpSync(join(dist, 'wasm', file), join(output, file));
  cpSync(join(root, 'web'), join(output, 'web'), { recursive: true });
  for (const packageName of nativePackages()) copyPackage(packageName, output);
  cpSync(join(root, 'LICENSE'), join(output, 'LICENSE'));
  const description = { name, version, license, type: 'module', private: true };
  writeFileSync(join(output, 'package.json'), `${JSON.stringify(description, undefined, 2)}\n`);
  return output;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--out');
  console.log(await bundle(at < 0 ? undefined : process.argv[at + 1]));
}
