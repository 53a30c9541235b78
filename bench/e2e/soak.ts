/**
 * `npm run soak [-- --seconds N]`: two culvert-go and one wireguard-go, each in a namespace, each the peer of both
 * others, with a forwarder between them that loses 2 % and repeats and reorders datagrams. All the while TCP and UDP
 * flows are held against what was sent, and every now and then something happens: a link goes down, a process is started
 * anew, a wall clock jumps by hours.
 */
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { progressBar, type Progress } from '../../src/app/progress.ts';
import { bringUp, type Side, startAgain } from '../../test/interop/sides.ts';
import type { FlowReport } from '../../test/kit/flow.ts';
import type { Weather, Way } from '../../test/kit/forwarder.ts';
import { joinByVeth, Namespace, requireRoot } from '../../test/kit/netns.ts';
import { CULVERT_GO, type Implementation, WIREGUARD_GO, WireGuardProcess } from '../../test/kit/programs.ts';
import { newKeyPair } from '../../test/kit/wg.ts';

const kit = (name: string): string => fileURLToPath(new URL(`../../test/kit/${name}.js`, import.meta.url));

const WEATHER = { loss: 2, duplicates: 1, reordered: 5, delayMs: 30 } as const;
const NAMES = ['one', 'two', 'three'] as const;
/** A side that lost its session without knowing is found out in 15 s, and a handshake lost now and then takes 5 more. */
const MAX_SILENCE_S = 45;
/** A young process grows by what its compiler and its heap want. */
const MAX_GROWTH_MIB = 64;
const HOURS_MS = 3 * 3_600_000;

export interface SoakFlow extends FlowReport {
  readonly flow: string;
  /** Longest time without anything coming back, on either protocol. */
  readonly longestSilenceS: number;
}

export interface SoakResult {
  readonly seconds: number;
  readonly events: readonly string[];
  readonly flows: readonly SoakFlow[];
  /** Sessions of the first side that were seen. */
  readonly handshakes: number;
  /** Of the first side's process: after the first quiet minute (or tenth), and at the end. */
  readonly rssMib: readonly [number, number];
  readonly descriptors: readonly [number, number];
  readonly threads: readonly [number, number];
}

class Soak {
  readonly #hub: Namespace = Namespace.create();
  readonly #spaces: readonly Namespace[] = NAMES.map(() => Namespace.create());
  readonly #folder: string = mkdtempSync(join(tmpdir(), 'culvert-soak-'));
  readonly #clockFile: string = join(this.#folder, 'clock');
  readonly #say: (line: string) => void;
  #sides: Side[] = [];
  readonly #watches: FlowWatch[] = [];
  readonly #events: string[] = [];
  readonly #handshakes = new Set<number>();

  readonly #progress: Progress = progressBar();
  #begunAt = 0;
  #seconds = 1;

  constructor(say: (line: string) => void) {
    this.#say = (line) => {
      this.#progress.clear();
      say(line);
    };
  }

  async begin(): Promise<void> {
    writeFileSync(this.#clockFile, '0');
    const env = {
      NODE_OPTIONS: `--import=file://${kit('clock-jumper')}`,
      CULVERT_TEST_CLOCK: this.#clockFile,
    };
    const implementations: readonly Implementation[] = [CULVERT_GO, CULVERT_GO, WIREGUARD_GO];
    for (const [i, namespace] of this.#spaces.entries()) {
      joinByVeth(
        { namespace: this.#hub, link: `veth${i}`, addresses: [`10.0.${i}.254/24`] },
        { namespace, link: 'veth', addresses: [`10.0.${i}.1/24`] },
      );
      namespace.ip(`route add default via 10.0.${i}.254`);
      const implementation = implementations[i] as Implementation;
      this.#sides.push({
        process: WireGuardProcess.start(implementation, namespace, i === 0 ? { env } : {}),
        keys: newKeyPair(),
        port: 10_000 + i,
        inner4: `192.168.241.${i + 1}`,
        inner6: `fd00::${i + 1}`,
      });
    }
    await this.#startForwarder();
    for (const side of this.#sides) await bringUp(side);
    for (const i of [0, 1, 2]) this.#startFlow(i, (i + 1) % 3);
  }

  /** A way for each pair of sides; each side's endpoint for a peer is a port of the hub. */
  async #startForwarder(): Promise<void> {
    const ways: Way[] = [];
    for (const side of this.#sides)
      side.process.wg.set(`private-key ${side.keys.privateKey} listen-port ${side.port}`);
    for (const [i, j] of [
      [0, 1],
      [1, 2],
      [2, 0],
    ] as const) {
      const way = {
        first: { address: `10.0.${i}.1`, port: 10_000 + i },
        second: { address: `10.0.${j}.1`, port: 10_000 + j },
        facingFirst: 20_000 + 10 * i + j,
        facingSecond: 20_000 + 10 * j + i,
      };
      ways.push(way);
      this.#introduce(i, j, way.facingFirst);
      this.#introduce(j, i, way.facingSecond);
    }
    const weather: Weather = { ...WEATHER, ways };
    const forwarder = this.#hub.spawn(process.execPath, [kit('forwarder'), JSON.stringify(weather)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (forwarder.stdout) await once(forwarder.stdout, 'data');
  }

  #introduce(i: number, j: number, port: number): void {
    const [side, peer] = [this.#sides[i], this.#sides[j]] as [Side, Side];
    const allowed = `${peer.inner4}/32,${peer.inner6}/128`;
    side.process.wg.set(`peer ${peer.keys.publicKey} allowed-ips ${allowed} endpoint 10.0.${i}.254:${port}`);
  }

  #startFlow(from: number, to: number): void {
    const [source, target] = [this.#spaces[from], this.#spaces[to]] as [Namespace, Namespace];
    const address = (this.#sides[to] as Side).inner4;
    target.spawn(process.execPath, [kit('flow'), 'serve', address], { stdio: 'inherit' });
    const sender = source.spawn(process.execPath, [kit('flow'), 'send', address], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const watch = new FlowWatch(`${NAMES[from]} to ${NAMES[to]}`);
    sender.stdout?.setEncoding('utf8').on('data', (text: string) => watch.read(text));
    this.#watches.push(watch);
  }

  async run(seconds: number): Promise<SoakResult> {
    [this.#begunAt, this.#seconds] = [performance.now(), seconds];
    const quiet = Math.min(60, Math.ceil(seconds / 10));
    await this.#let(quiet);
    const before = this.#vitals();
    const between = Math.max(6, Math.min(45, Math.floor(seconds / 10)));
    const happenings = this.#happenings();
    for (let left = seconds - 2 * quiet, i = 0; left > between; left -= between, i++) {
      const [name, happen] = happenings[i % happenings.length] as (typeof happenings)[number];
      const start = performance.now();
      await happen();
      this.#events.push(name);
      this.#say(`${Math.round(seconds - quiet - left)} s: ${name}; ${this.#watches.map(String).join('; ')}`);
      await this.#let(Math.max(1, between - (performance.now() - start) / 1000));
    }
    await this.#let(quiet);
    const after = this.#vitals();
    this.#progress.clear();
    return {
      seconds,
      events: this.#events,
      flows: this.#watches.map((watch) => watch.report()),
      handshakes: this.#handshakes.size,
      rssMib: [before.rssMib, after.rssMib],
      descriptors: [before.descriptors, after.descriptors],
      threads: [before.threads, after.threads],
    };
  }

  /** The first side is never started anew: it is the one whose memory and descriptors are watched, and whose clock jumps. */
  #happenings(): (readonly [string, () => Promise<void>])[] {
    const link = (i: number) => async (): Promise<void> => {
      const { process: daemon } = this.#sides[i] as Side;
      daemon.linkNamespace.ip(`link set ${daemon.link} down`);
      await pause(3_000);
      daemon.linkNamespace.ip(`link set ${daemon.link} up`);
      await daemon.listening((this.#sides[i] as Side).port);
    };
    const restart = (i: number) => async (): Promise<void> => {
      const side = this.#sides[i] as Side;
      const config = side.process.wg.showconf();
      await side.process.stop();
      this.#sides[i] = await startAgain(side, config);
    };
    const jump = (offsetMs: number) => (): Promise<void> => {
      writeFileSync(this.#clockFile, String(offsetMs));
      process.kill((this.#sides[0] as Side).process.pid(), 'SIGUSR2');
      return Promise.resolve();
    };
    return [
      ['link of one down and up', link(0)],
      ['two started anew', restart(1)],
      ['clock of one jumps 3 h ahead', jump(HOURS_MS)],
      ['three started anew', restart(2)],
      ['clock of one jumps 6 h back', jump(-HOURS_MS)],
      ['link of two down and up', link(1)],
      ['clock of one is right again', jump(0)],
    ];
  }

  async #let(seconds: number): Promise<void> {
    for (let left = seconds; left > 0; left -= 2) {
      const done = (performance.now() - this.#begunAt) / 1_000;
      this.#progress.show(this.#watches.map(String).join('; '), Math.min(done, this.#seconds), this.#seconds);
      await pause(1_000 * Math.min(2, left));
      for (const peer of (this.#sides[0] as Side).process.wg.state().peers) {
        if (peer.latestHandshake > 0) this.#handshakes.add(peer.latestHandshake);
      }
    }
  }

  #vitals(): { readonly rssMib: number; readonly descriptors: number; readonly threads: number } {
    const pid = (this.#sides[0] as Side).process.pid();
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return {
      rssMib: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024),
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
      threads: Number(/Threads:\s+(\d+)/.exec(status)?.[1]),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#progress.clear();
    await Promise.all([this.#hub, ...this.#spaces].map((namespace) => namespace.close()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** What one flow reports, and how long it was silent. */
class FlowWatch {
  readonly #name: string;
  #line = '';
  #last: FlowReport = { tcpBytes: 0, tcpConnections: 0, udpSent: 0, udpReceived: 0, corrupt: 0 };
  #progressAt = performance.now();
  #longestSilenceMs = 0;

  constructor(name: string) {
    this.#name = name;
  }

  read(text: string): void {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) {
      const report = JSON.parse(line) as FlowReport;
      const { tcpBytes, udpReceived } = this.#last;
      if (report.tcpBytes > tcpBytes || report.udpReceived > udpReceived)
        this.#progressAt = performance.now();
      this.#longestSilenceMs = Math.max(this.#longestSilenceMs, performance.now() - this.#progressAt);
      this.#last = report;
    }
  }

  report(): SoakFlow {
    return {
      flow: this.#name,
      ...this.#last,
      longestSilenceS: Math.round(this.#longestSilenceMs / 100) / 10,
    };
  }

  toString(): string {
    const { tcpBytes, udpReceived, udpSent, corrupt } = this.#last;
    return `${this.#name} ${(tcpBytes / 2 ** 20).toFixed(1)} MiB, ${udpReceived}/${udpSent}, ${corrupt} corrupt`;
  }
}

/** Throws when a flow was spoiled or silent for too long, or when the first process keeps what it should give back. */
export async function soak(seconds: number, say: (line: string) => void): Promise<SoakResult> {
  const missing = requireRoot({ programs: ['wg', 'ss', 'wireguard-go'], tun: true });
  if (missing !== false) throw new Error(missing);
  await using stage = new Soak(say);
  await stage.begin();
  const result = await stage.run(seconds);
  say(JSON.stringify(result, undefined, 2));
  const problems = [
    ...result.flows.flatMap(({ flow, corrupt, longestSilenceS, tcpBytes, udpReceived }) => [
      ...(corrupt > 0 ? [`${flow}: ${corrupt} bytes or datagrams were spoiled`] : []),
      ...(longestSilenceS > MAX_SILENCE_S ? [`${flow}: silent for ${longestSilenceS} s`] : []),
      ...(tcpBytes === 0 || udpReceived === 0 ? [`${flow}: nothing came through`] : []),
    ]),
    ...(result.rssMib[1] - result.rssMib[0] > MAX_GROWTH_MIB ? [`grew to ${result.rssMib[1]} MiB`] : []),
    ...(result.descriptors[1] > result.descriptors[0] ? [`has ${result.descriptors[1]} descriptors`] : []),
    ...(result.threads[1] > result.threads[0] ? [`has ${result.threads[1]} threads`] : []),
  ];
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return result;
}
