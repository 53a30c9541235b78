// Makes a Debian package of the bundle with dpkg-deb: `node scripts/package-deb.mjs [--out DIR] [--deb-version V]
// [--compression gzip]`.
// Prints the path. The package depends on nodejs and nothing else; it is for the architecture of this machine, whose
// koffi and libsql it carries.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { bundle } from './bundle.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: root },
    'deb-version': { type: 'string' },
    compression: { type: 'string', default: 'xz' },
  },
});
const version = values['deb-version'] ?? manifest.version;
const architecture = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();

const CONTROL = (installedKiB) => `Package: culvert
Version: ${version}
Architecture: ${architecture}
Maintainer: Culvert maintainers <culvert@localhost>
Installed-Size: ${installedKiB}
Depends: nodejs (>= 20.19)
Recommends: nftables
Suggests: wireguard-tools, resolvconf | openresolv
Section: net
Priority: optional
Description: userspace WireGuard, and WireGuard through gRPC where UDP is blocked
 A WireGuard device that runs as a process, for machines whose kernel has none:
 containers, micro-VMs, old or locked kernels. A stand-in for wireguard-go that
 wg(8) and wg-quick(8) drive, and tools that need neither. Also a self-hosted
 SideroLink gateway and the agent that joins a machine to it.
`;

/** Files with a place of their own, from the root of the repository. */
const FILES = {
  'packaging/systemd/culvert@.service': 'usr/lib/systemd/system/culvert@.service',
  'packaging/systemd/culvert-gateway.service': 'usr/lib/systemd/system/culvert-gateway.service',
  'packaging/systemd/culvert-join.service': 'usr/lib/systemd/system/culvert-join.service',
  'README.md': 'usr/share/doc/culvert/README.md',
  LICENSE: 'usr/share/doc/culvert/copyright',
};

/** The same, compressed as Debian wants them. */
const COMPRESSED = {
  'CHANGELOG.md': 'usr/share/doc/culvert/changelog.gz',
  'docs/man/culvert.1': 'usr/share/man/man1/culvert.1.gz',
  'docs/man/culvert-go.1': 'usr/share/man/man1/culvert-go.1.gz',
};

const COMPLETIONS = {
  bash: 'usr/share/bash-completion/completions/culvert',
  zsh: 'usr/share/zsh/vendor-completions/_culvert',
  fish: 'usr/share/fish/vendor_completions.d/culvert.fish',
};

const stage = mkdtempSync(join(tmpdir(), 'culvert-deb-'));
try {
  const place = (path) => {
    mkdirSync(dirname(join(stage, path)), { recursive: true });
    return join(stage, path);
  };
  await bundle(place('usr/lib/culvert'));
  mkdirSync(join(stage, 'usr', 'bin'), { recursive: true });
  symlinkSync('../lib/culvert/culvert.mjs', place('usr/bin/culvert'));
  symlinkSync('../lib/culvert/culvert-go', place('usr/bin/culvert-go'));
  for (const [from, to] of Object.entries(FILES)) cpSync(join(root, from), place(to));
  for (const [from, to] of Object.entries(COMPRESSED))
    writeFileSync(place(to), gzipSync(readFileSync(join(root, from)), { level: 9 }));
  for (const [shell, to] of Object.entries(COMPLETIONS)) {
    const program = join(stage, 'usr', 'lib', 'culvert', 'culvert.mjs');
    writeFileSync(place(to), execFileSync(process.execPath, [program, 'completions', shell]));
  }
  cpSync(join(root, 'docs'), place('usr/share/doc/culvert/docs'), { recursive: true });
  rmSync(join(stage, 'usr/share/doc/culvert/docs/man'), { recursive: true });
  cpSync(join(root, 'examples'), place('usr/share/doc/culvert/examples'), { recursive: true });
  tidyModes(join(stage, 'usr'));
  // For join.yaml, which has a token.
  mkdirSync(join(stage, 'etc', 'culvert'), { recursive: true, mode: 0o700 });
  const control = join(stage, 'DEBIAN');
  mkdirSync(control);
  for (const script of ['postinst', 'prerm', 'postrm']) {
    cpSync(join(root, 'packaging', 'deb', script), join(control, script));
    chmodSync(join(control, script), 0o755);
  }
  const bytes = sizeOf(join(stage, 'usr'));
  writeFileSync(join(control, 'control'), CONTROL(Math.ceil(bytes / 1024)));
  for (const path of [stage, control, join(stage, 'etc')]) chmodSync(path, 0o755);
  mkdirSync(values.out, { recursive: true });
  const file = join(values.out, `culvert_${version}_${architecture}.deb`);
  execFileSync('dpkg-deb', ['--root-owner-group', `-Z${values.compression}`, '--build', stage, file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  console.log(file);
} finally {
  rmSync(stage, { recursive: true, force: true });
}

/** 755 for directories and programs, 644 for the rest, whatever the umask of the builder is. */
function tidyModes(path) {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  const isProgram = /^(?:culvert-go|.*\.mjs)$/.test(basename(path)) && (stat.mode & 0o100) !== 0;
  chmodSync(path, stat.isDirectory() || isProgram ? 0o755 : 0o644);
  if (stat.isDirectory()) for (const name of readdirSync(path)) tidyModes(join(path, name));
}

function sizeOf(path) {
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}
