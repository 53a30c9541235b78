// Generates src/gen from proto/: `node scripts/gen.mjs`. With --check it writes nothing and fails when src/gen differs.
// The generator has a lock file of its own in scripts/gen and is installed on first use.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tools = join(root, 'scripts', 'gen');
const generated = join(root, 'src', 'gen');

// PeerPacket and its service stay out: the hot path is coded by hand (src/link/peer-packet.ts).
const GENERATED_PROTOS = ['siderolink/provision.proto', 'events/events.proto', 'machine/machine.proto'];

const OPTIONS = [
  'env=node',
  'esModuleInterop=true',
  'importSuffix=.ts',
  'outputServices=grpc-js',
  'outputJsonMethods=false',
  'outputPartialMethods=false',
  'useExactTypes=false',
  'annotateFilesWithVersion=false',
  'removeEnumPrefix=true',
  'enumsAsLiterals=true',
  'forceLong=bigint',
];

function run(command, args, cwd) {
  const result = spawnSync(command, args, { cwd, stdio: 'inherit' });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
}

function installTools() {
  const lock = createHash('sha256')
    .update(readFileSync(join(tools, 'package-lock.json')))
    .digest('hex');
  const mark = join(tools, 'node_modules', '.lock');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === lock) return;
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], tools);
  writeFileSync(mark, lock);
}

function files(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile());
}

function contents(directory) {
  return new Map(files(directory).map((path) => [relative(directory, path), readFileSync(path, 'utf8')]));
}

const check = process.argv.includes('--check');
installTools();
const out = mkdtempSync(join(tmpdir(), 'culvert-gen-'));
try {
  const bin = join(tools, 'node_modules', '.bin');
  const template = {
    version: 'v2',
    plugins: [
      { local: join(bin, 'protoc-gen-ts_proto'), out, opt: OPTIONS.join(','), include_imports: true },
    ],
  };
  const paths = GENERATED_PROTOS.flatMap((name) => ['--path', join('proto', name)]);
  run(join(bin, 'buf'), ['generate', 'proto', '--template', JSON.stringify(template), ...paths], root);
  const fresh = contents(out);
  const stored = contents(generated);
  const stale = [...new Set([...fresh.keys(), ...stored.keys()])].filter(
    (name) => fresh.get(name) !== stored.get(name),
  );
  if (check && stale.length > 0) {
    console.error(`gen: src/gen is not what proto/ says: ${stale.join(', ')}; run node scripts/gen.mjs`);
    process.exitCode = 1;
  } else if (!check && stale.length > 0) {
    rmSync(generated, { recursive: true, force: true });
    cpSync(out, generated, { recursive: true });
  }
} finally {
  rmSync(out, { recursive: true, force: true });
}
