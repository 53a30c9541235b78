import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { LiveJoin } from '../../../../src/app/agent/machine.ts';
import { joinReload } from '../../../../src/app/agent/reload.ts';
import { readJoinOrder } from '../../../../src/app/agent/settings.ts';
import { formatReload } from '../../../../src/app/config/reload.ts';
import { AppError } from '../../../../src/core/errors.ts';
import { silentLogger } from '../../../../src/core/log.ts';

const JOIN = 'apiVersion: v1alpha1\nkind: CulvertJoinConfig\n';
const LINK = 'apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: https://gateway.example/?jointoken=';

function agent(t: TestContext, text: string) {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-join-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'config.yaml');
  const write = (now: string) => writeFileSync(path, now);
  write(text);
  const read = () => readJoinOrder({ flags: new Map(), env: {}, file: () => ({ path, isNamed: true }) });
  const applied: LiveJoin[] = [];
  const self = { write, applied, problem: undefined as AppError | undefined };
  const reload = joinReload({
    order: read(),
    read,
    machine: {
      reconfigure: async (next) => {
        applied.push(next);
        return self.problem;
      },
    },
    log: { logger: silentLogger, setLevel: () => {} },
  });
  return Object.assign(self, { reload: async () => formatReload(await reload()) });
}

test('another token in a document of Talos is noticed, and not shown', async (t) => {
  const self = agent(t, `${LINK}one\n`);
  assert.equal(await self.reload(), 'nothing has changed\n');
  self.write(`${LINK}two\n`);
  assert.equal(await self.reload(), 'url: changed\n');
  assert.equal(self.applied[0]?.inputs.source.url.joinToken, 'two');
  self.write(`${LINK}two\n---\napiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: a.example:1\n`);
  assert.equal(await self.reload(), 'events: changed\n');
  assert.equal(self.applied[1]?.inputs.eventSink, 'a.example:1');
});

test('services and hooks are applied, transport and interface need a restart', async (t) => {
  const self = agent(t, `${JOIN}---\n${LINK}one\n`);
  self.write(
    `${JOIN}expose: ["127.0.0.1:22"]\nonUp: "true"\ntransport: udp\nstreams: 3\n---\n${LINK}one&grpc_tunnel=true\n`,
  );
  assert.equal(
    await self.reload(),
    'url: changed\nexpose: not set -> 127.0.0.1:22\nonUp: not set -> true\n' +
      'transport: not set -> udp: needs a restart, left as it was\n' +
      'streams: 2 -> 3: needs a restart, left as it was\n',
  );
  const { settings } = self.applied[0] as LiveJoin;
  assert.deepEqual(
    [
      settings.exposed.map(({ port }) => port),
      settings.onUp,
      settings.transport,
      settings.interfaceName,
      settings.streams,
    ],
    [[22], 'true', 'auto', 'siderolink', 2],
  );
});

test('a file that is wrong, and certificates that cannot be read, change nothing', async (t) => {
  const self = agent(t, `${LINK}one\n`);
  self.write(`${JOIN}expos: []\n---\n${LINK}one\n`);
  await assert.rejects(self.reload(), { message: /:3: unknown key "expos"/, hint: 'did you mean expose?' });
  self.write(`${JOIN}ca: [/nonexistent/ca.pem]\n---\n${LINK}two\n`);
  await assert.rejects(self.reload(), { message: /nonexistent/ });
  assert.deepEqual(self.applied, []);
});

test('a firewall that refuses leaves the setting as it was', async (t) => {
  const self = agent(t, `${JOIN}---\n${LINK}one\n`);
  self.write(`${JOIN}openFirewall: true\n---\n${LINK}one\n`);
  self.problem = new AppError('io', 'nft: no');
  assert.equal(await self.reload(), 'openFirewall: nft: no; left as it was\n');
  self.problem = undefined;
  assert.equal(await self.reload(), 'openFirewall: false -> true\n');
});
