/**
 * A pair over real time: echoes ten times a second across several rekeys, one side culvert, the other wireguard-go or
 * culvert. For what a fake clock cannot show: that real timers, threads and sockets keep a tunnel up.
 */
import { Namespace, joinByVeth } from '../../test/kit/netns.ts';
import { type Implementation, WIREGUARD_GO, implementationUnderTest } from '../../test/kit/programs.ts';
import { aim, startPair } from '../../test/interop/sides.ts';

export interface SoakResult {
  readonly pair: string;
  readonly seconds: number;
  readonly sent: number;
  readonly received: number;
  /** Sessions seen, by the time of their handshake. */
  readonly handshakes: number;
  /** Resident memory of the first side's process in KiB, after a tenth of the time and at the end. */
  readonly rssKiB: readonly [number, number];
}

const SAMPLE_MS = 5_000;

/** Several rekeys need more than 240 s. Throws when an echo is lost or no rekey was seen in 130 s and more. */
export async function soak(seconds: number, say: (line: string) => void): Promise<SoakResult[]> {
  const own = implementationUnderTest();
  const results: SoakResult[] = [];
  for (const [first, second] of [
    [own, own],
    [own, WIREGUARD_GO],
    [WIREGUARD_GO, own],
  ] as const) {
    const result = await soakPair(first, second, seconds);
    results.push(result);
    say(JSON.stringify(result));
    if (result.received < result.sent)
      throw new Error(`${result.pair}: ${result.sent - result.received} echoes lost`);
    if (seconds > 130 && result.handshakes < 2) throw new Error(`${result.pair}: no rekey in ${seconds} s`);
  }
  return results;
}

async function soakPair(first: Implementation, second: Implementation, seconds: number): Promise<SoakResult> {
  await using one = Namespace.create();
  await using two = Namespace.create();
  joinByVeth(
    { namespace: one, link: 'veth0', addresses: ['10.99.0.1/24'] },
    { namespace: two, link: 'veth0', addresses: ['10.99.0.2/24'] },
  );
  const pair = await startPair(
    { implementation: first, namespace: one },
    { implementation: second, namespace: two },
  );
  aim(pair.one, pair.two, '10.99.0.2');
  const handshakes = new Set<number>();
  const rss: number[] = [];
  const sampler = setInterval(() => {
    const { latestHandshake } = pair.one.process.wg.peer();
    // Both sides may show a session one second apart; sessions are two minutes apart.
    if (latestHandshake > 0 && ![...handshakes].some((at) => Math.abs(at - latestHandshake) < 10)) {
      handshakes.add(latestHandshake);
    }
    rss.push(Number(one.exec('ps', ['-o', 'rss=', '-p', `${pair.one.process.pid()}`])));
  }, SAMPLE_MS);
  const text = await one.run('ping', ['-n', '-q', '-i', '0.1', '-c', `${seconds * 10}`, pair.two.inner4], {
    timeoutMs: (seconds + 60) * 1000,
  });
  clearInterval(sampler);
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
  await Promise.all([pair.one.process.stop(), pair.two.process.stop()]);
  return {
    pair: `${first.name} to ${second.name}`,
    seconds,
    sent: Number(sent),
    received: Number(received),
    handshakes: handshakes.size,
    rssKiB: [rss[Math.floor(rss.length / 10)] ?? 0, rss.at(-1) ?? 0],
  };
}
