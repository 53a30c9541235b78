/** Ten thousand peers who lost their sessions at once, as after a power failure, and one who kept his. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CULVERT_GO, requireInterop } from '../kit/programs.ts';
import { Siege, tell, watch } from '../kit/siege.ts';
import type { Storm, StormReport } from '../kit/storm.ts';

const STORM = fileURLToPath(new URL('../kit/storm.js', import.meta.url));
const PEERS = 10_000;
/** Each asks every five seconds. */
const MAX_SECONDS = 60;
const skip = requireInterop([CULVERT_GO], { programs: ['ping'] });

test(
  'ten thousand peers that reconnect at once all get a session, and whoever has one goes on',
  { skip, timeout: 180_000 },
  async (t) => {
    await using siege = new Siege();
    const pid = await siege.begin();
    const order: Storm = {
      address: '10.0.1.1',
      port: siege.victim.port,
      publicKey: siege.victim.keys.publicKey,
      sources: [10, 9],
      peers: PEERS,
      maxSeconds: MAX_SECONDS,
    };
    const storm = siege.attackerSpace.spawn(process.execPath, [STORM, JSON.stringify(order)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: storm.stdout ?? assert.fail('no output') });
    const [keys] = (await once(lines, 'line')) as [string];
    const peers = (JSON.parse(keys) as string[]).map(
      (key, i) => `[Peer]\nPublicKey = ${key}\nAllowedIPs = 172.16.${i >> 8}.${i & 255}/32\n`,
    );
    siege.victim.process.wg.addconf(peers.join(''));
    const seen = watch(siege);
    const answer = once(lines, 'line') as Promise<[string]>;
    storm.stdin?.write('\n');
    const report = JSON.parse((await answer)[0]) as StormReport;
    const { sent, answered, peakMib } = seen.stop();
    tell(t, { ...report, pingsSent: sent, pingsAnswered: answered, peakMib });
    assert.equal(report.connected, PEERS);
    assert.ok(
      sent > 0 && answered >= sent / 4,
      `${answered} of ${sent} echoes were answered during the storm`,
    );
    const { peers: all } = siege.victim.process.wg.state();
    assert.equal(all.filter(({ latestHandshake }) => latestHandshake > 0).length, PEERS + 1);
    assert.equal(siege.victim.process.pid(), pid, 'the process is the same');
  },
);
