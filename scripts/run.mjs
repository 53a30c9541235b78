// Entry of `npm start`, `npm test` and friends. Uses only Node itself, so that it works on a bare clone:
// installs from the lock file and builds, each only when something changed, then runs the command.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
}

const tool = (name) => join(root, 'node_modules', '.bin', name);

function stamp(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** Installs from the lock file, with install scripts off, unless that was done for this very lock file. */
export function install() {
  const mark = join(root, 'node_modules', '.culvert-lock');
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (stamp(mark) === wanted) return;
  console.error('culvert: installing dependencies from package-lock.json ...');
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(mark, wanted);
}

function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return readdirSync(path).reduce((latest, name) => Math.max(latest, newest(join(path, name))), stat.mtimeMs);
}

/** Compiles TypeScript and the WebAssembly kernels into dist/ when a source is newer than the last build. */
export function build() {
  const mark = join(root, 'dist', '.built');
  const inputs = ['src', 'test', 'bench', 'tsconfig.json', 'package-lock.json', 'scripts'].map((name) =>
    join(root, name),
  );
  const built = existsSync(mark) ? statSync(mark).mtimeMs : 0;
  if (inputs.filter(existsSync).every((path) => newest(path) <= built)) return;
  mkdirSync(join(root, 'dist'), { recursive: true });
  run(process.execPath, [join(root, 'scripts', 'build-wasm.mjs')]);
  run(tool('tsc'), ['-p', root]);
  dropStale(join(root, 'dist'));
  writeFileSync(mark, '');
}

/** Removes outputs whose source is gone, so that a deleted test cannot run on from an old build. */
function dropStale(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) dropStale(path);
    else if (entry.name.endsWith('.js')) {
      const source = join(root, relative(join(root, 'dist'), path).replace(/\.js$/, '.ts'));
      if (existsSync(source)) continue;
      for (const suffix of ['', '.map']) rmSync(path + suffix, { force: true });
    }
  }
}

function testFiles(directory) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return testFiles(path);
    return entry.name.endsWith('.test.js') ? [path] : [];
  });
}

/** `npm test [-- PATTERN...]`: runs all test files, or those whose path contains one of the patterns. */
function test(patterns) {
  const all = testFiles(join(root, 'dist', 'test')).sort();
  const isHardness = (file) => file.includes('/hardness/');
  const chosen =
    patterns.length === 0
      ? all.filter((file) => !isHardness(file))
      : all.filter((file) => patterns.some((pattern) => file.includes(pattern)));
  if (chosen.length === 0) {
    console.error(`culvert: no test file matches ${patterns.join(' ')}`);
    process.exit(2);
  }
  // Interop files make namespaces and real processes: one after the other, so that two cores are enough.
  const interop = chosen.filter((file) => file.includes('/interop/') || isHardness(file));
  const rest = chosen.filter((file) => !file.includes('/interop/') && !isHardness(file));
  judge([...runTests(rest, 2), ...runTests(interop, 1)]);
}

/** Files that failed are run once more, each alone (docs/decisions/0009). Ends the process when that does not help. */
function judge(failed) {
  if (failed.length === 0) return;
  if (failed.length > MAX_UNSTEADY) process.exit(1);
  console.error(`culvert: once more, each alone: ${names(failed)}`);
  const broken = failed.filter((file) => runTests([file], 1).length > 0);
  console.error(
    `culvert: failed at first, passed alone (unsteady): ${names(failed.filter((file) => !broken.includes(file)))}`,
  );
  if (broken.length > 0) {
    console.error(`culvert: failed: ${names(broken)}`);
    process.exit(1);
  }
}

/** Real peers on a busy machine: this many files may need a second, quiet run, and are named. More is no accident. */
const MAX_UNSTEADY = 3;

const names = (files) => files.map((file) => relative(join(root, 'dist'), file)).join(', ') || 'none';

/** Source maps make the reporter name the source. */
const compiled = (file) =>
  file.endsWith('.ts') ? join(root, 'dist', relative(root, file)).replace(/\.ts$/, '.js') : file;

/** Returns the files in which a test failed, or all of them when that cannot be told. */
function runTests(files, concurrency) {
  if (files.length === 0) return [];
  const directory = mkdtempSync(join(tmpdir(), 'culvert-test-'));
  const list = join(directory, 'failed');
  try {
    const { status, error } = spawnSync(
      process.execPath,
      [
        '--test',
        '--test-reporter=spec',
        '--test-reporter-destination=stdout',
        `--test-reporter=${pathToFileURL(join(root, 'scripts', 'failed-files.mjs')).href}`,
        `--test-reporter-destination=${list}`,
        `--test-concurrency=${concurrency}`,
        '--enable-source-maps',
        ...files,
      ],
      { cwd: root, stdio: 'inherit' },
    );
    if (error) throw error;
    if (status === 0) return [];
    const failed = stamp(list).split('\n').filter(Boolean).map(compiled);
    // A crash names no file, and a test that a shared file defines names that one.
    return failed.length > 0 && failed.every((file) => files.includes(file)) ? failed : files;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** `npm run test:hardness`: attacks, long runs and broken threads; minutes, one file at a time. */
function hardness(patterns) {
  const files = testFiles(join(root, 'dist', 'test', 'hardness')).sort();
  const chosen = files.filter(
    (file) => patterns.length === 0 || patterns.some((each) => file.includes(each)),
  );
  judge(runTests(chosen, 1));
}

function check() {
  run(tool('prettier'), ['--check', '--log-level=warn', '.']);
  run(tool('oxlint'), ['--type-aware', '--deny-warnings']);
  run(tool('tsc'), ['--noEmit', '-p', root]);
  run(tool('tsc'), ['-p', join(root, 'web')]);
  test([]);
}

function main([command = 'start', ...args]) {
  install();
  if (command === 'install') return;
  build();
  switch (command) {
    case 'build':
      return;
    case 'start':
      return run(process.execPath, [join(root, 'bin', 'culvert'), 'serve', '--demo', ...args]);
    case 'test':
      return test(args);
    case 'hardness':
      return hardness(args);
    case 'bench':
      return run(process.execPath, ['--enable-source-maps', join(root, 'dist', 'bench', 'main.js'), ...args]);
    case 'fuzz':
      return run(process.execPath, [
        '--enable-source-maps',
        join(root, 'dist', 'test', 'fuzz', 'main.js'),
        ...args,
      ]);
    case 'bundle':
      return run(process.execPath, [join(root, 'scripts', 'bundle.mjs'), ...args]);
    case 'package:deb':
      return run(process.execPath, [join(root, 'scripts', 'package-deb.mjs'), ...args]);
    case 'docs':
      return run(process.execPath, [join(root, 'scripts', 'docs.mjs'), ...args]);
    case 'check':
      return check();
    default:
      console.error(
        `culvert: unknown command "${command}"; use start, test, hardness, bench, fuzz, install, build, bundle, package:deb, docs or check`,
      );
      process.exit(2);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main(process.argv.slice(2));
