/**
 * Runs the blocks of a page as somebody would who follows it: in order, in bash, in one folder. All of it in network, mount
 * and process namespaces of its own: /run, /var/lib, /etc/wireguard and /etc/culvert begin empty, and nothing outlives them.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { EXAMPLE_CERTIFICATE } from './certificates.ts';
import type { DocBlock } from './doc-blocks.ts';

/**
 * What the blocks find. Commands that stay until they are ended get a terminal of their own: they are started behind the
 * scenes and waited for until they do what they are for. Those that follow something are ended after a moment.
 */
const PRELUDE = `
sudo() {
  while [[ \${1-} == -E || \${1-} == [A-Za-z_]*=* ]]; do [ "$1" = -E ] || export "$1"; shift; done
  "$@"
}
patiently() { # COMMAND...: until it succeeds; what stays must not have ended
  local tries=0
  until "$@" > /dev/null 2>&1; do
    [ $((tries += 1)) -lt 300 ] || { echo "in vain: $*" >&2; cat "$SCENE"/terminal.* >&2; return 1; }
    sleep 0.1
  done
}
in_terminal() { # COMMAND...
  "$@" > "$SCENE/terminal.$BASHPID.$RANDOM" 2>&1 < /dev/null &
  echo $! >> "$SCENE/terminals"
}
end_terminals() { # all that were started so far
  [ ! -e "$SCENE/terminals" ] || xargs kill < "$SCENE/terminals" 2> /dev/null || true
  while read -r pid; do while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done; done < <(cat "$SCENE/terminals" 2> /dev/null)
  rm -f "$SCENE/terminals"
}
for_a_moment() { timeout --preserve-status -s INT 3 "$@" || [ $? -eq 130 ]; }
machine_space() { # NAME: a network namespace with a wire to this one, which is 192.0.2.1 for it
  ip netns add "$1" && ip link add "to-$1" type veth peer name wire netns "$1"
  ip address add 192.0.2.1/24 dev "to-$1" && ip link set "to-$1" up
  ip -n "$1" address add 192.0.2.2/24 dev wire && ip -n "$1" link set wire up && ip -n "$1" link set lo up
  ip -n "$1" route add default via 192.0.2.1
}
culvert() {
  case " $* " in
    *' --help '* | *' --detach '* | *' -d '*) "$ROOT/bin/culvert" "$@" ;;
    *' --watch '* | *' --follow '*) for_a_moment "$ROOT/bin/culvert" "$@" ;;
    ' serve '*) in_terminal "$ROOT/bin/culvert" "$@"; patiently "$ROOT/bin/culvert" token show ;;
    ' join '*) in_terminal "$ROOT/bin/culvert" "$@"; patiently "$ROOT/bin/culvert" status ;;
    ' siderolink-agent '*) in_terminal "$ROOT/bin/culvert" "$@"; patiently ip link show siderolink ;;
    ' up '*) in_terminal "$ROOT/bin/culvert" "$@"; patiently "$ROOT/bin/culvert" show "$2" ;;
    ' relay '*) in_terminal "$ROOT/bin/culvert" "$@"; patiently sh -c 'ss -lunH | grep -q :51820' ;;
    *) "$ROOT/bin/culvert" "$@" ;;
  esac
}
culvert-go() {
  case "$1" in
    -f) in_terminal "$ROOT/bin/culvert-go" "$@"; patiently wg show "$2" ;;
    *) "$ROOT/bin/culvert-go" "$@" ;;
  esac
}
bin/culvert() { culvert "$@"; }
bin/culvert-go() { culvert-go "$@"; }
tcpdump() { for_a_moment /usr/bin/env tcpdump "$@"; }
`;

const SET_UP = `
set -eu
for place in /run /var/lib /etc/wireguard; do mkdir -p $place && mount -t tmpfs none $place; done
mkdir -p /run/wireguard /run/netns
mount --bind "$SCENE/hosts" /etc/hosts
ip link set lo up
cd "$SCENE/folder"
`;

/** A page takes seconds; a busy machine may need more. */
const TIMEOUT_MS = 240_000;

export interface DocShell {
  /** Of the repository. */
  readonly root: string;
  readonly page: string;
}

/** Throws with what was printed when a block fails, or when a page leaves an interface behind. */
export function runBlocks({ root, page }: DocShell, blocks: readonly DocBlock[]): void {
  const scene = mkdtempSync(join(tmpdir(), 'culvert-docs-'));
  try {
    const folder = join(scene, 'folder');
    mkdirSync(folder);
    writeFileSync(
      join(scene, 'hosts'),
      '127.0.0.1 localhost\n::1 localhost\n192.0.2.1 gateway.example proxy.example\n',
    );
    writeFileSync(join(folder, 'chain.pem'), EXAMPLE_CERTIFICATE.cert);
    writeFileSync(join(folder, 'key.pem'), EXAMPLE_CERTIFICATE.key);
    writeFileSync(join(scene, 'prelude'), PRELUDE);
    const replacements: (readonly [string, string])[] = [];
    const steps = blocks.flatMap((block, i) => {
      replacements.push(...block.replacements);
      return stepsOf(block, i, replacements, scene, page);
    });
    const script = [
      SET_UP,
      `ln -s ${root}/bin bin`,
      ...steps,
      '. "$SCENE/prelude"; end_terminals',
      'left=$(ls /run/wireguard); [ -z "$left" ] || { echo "left running: $left" >&2; exit 1; }',
    ].join('\n');
    const unshare = ['--mount', '--net', '--pid', '--fork', '--mount-proc', '--kill-child'];
    const { status, stdout, stderr } = spawnSync('unshare', [...unshare, 'bash', '-c', script], {
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      env: {
        ...process.env,
        SCENE: scene,
        ROOT: root,
        HOME: folder,
        NO_COLOR: '1',
        PATH: `${join(root, 'bin')}:${process.env['PATH'] ?? ''}`,
      },
    });
    assert.equal(status, 0, `${stdout}\n${stderr}`);
  } finally {
    rmSync(scene, { recursive: true, force: true });
  }
}

/** Each a bash of its own: only files, interfaces and what stays in its terminal last from one to the next. */
function stepsOf(
  block: DocBlock,
  number: number,
  replacements: readonly (readonly [string, string])[],
  scene: string,
  page: string,
): string[] {
  const replaced = (text: string): string =>
    replacements.reduce((all, [name, other]) => all.replaceAll(name, other), text);
  if (block.file !== undefined) {
    const file = join(scene, 'folder', block.file);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, replaced(block.text));
  }
  const isShell = block.language === 'sh';
  const parts = [
    ...block.before.map((text) => ({ text, within: '' })),
    ...(isShell ? [{ text: replaced(block.text), within: enter(block.namespace) }] : []),
    ...block.after.map((text) => ({ text, within: enter(block.namespace) })),
  ];
  return parts.map(({ text, within }, i) => {
    const file = join(scene, `block-${number}-${i}`);
    writeFileSync(file, `set -euo pipefail\n. "$SCENE/prelude"\n${text}\n`);
    return `${within}bash ${file} || { echo "${page}:${block.line} failed" >&2; exit 1; }`;
  });
}

function enter(namespace: string | undefined): string {
  return namespace === undefined ? '' : `nsenter --net=/run/netns/${namespace} `;
}
