// The status page of a plain device in Chromium, over a device that only remembers.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import type { Page } from 'playwright-core';
import { outerQueues } from '../../src/app/queues.ts';
import { type Address, parseAddress, parsePrefix, type Prefix } from '../../src/core/ip.ts';
import { PublicKey } from '../../src/noise/keys.ts';
import type { PeerState } from '../../src/tunnel/config.ts';
import { GRPC_CARRIER } from '../../src/tunnel/endpoint.ts';
import { type Browser, type BrowserOptions, openBrowser, requireChromium } from '../kit/browser.ts';
import { meteredOptions, meteredPeer } from '../kit/metrics.ts';
import { startDeviceApi, type TestDevice } from '../unit/app/api/kit.ts';

const skip = requireChromium();

const NAMES = ['laptop', 'phone', 'office', 'backup', 'printer room', 'jump host', 'camera', 'lab'];

/** Peers of all kinds. */
function makePeers(count: number): PeerState[] {
  return Array.from({ length: count }, (_, number) => {
    const publicKey = new PublicKey(createHash('sha256').update(`peer ${number}`).digest());
    const peer = meteredPeer(number + 1, { publicKey });
    if (number % 9 === 8) return peer;
    const isTunnelled = number % 5 === 4;
    const text = isTunnelled ? 'fdae:41e4:649b::1' : `198.51.100.${(number % 250) + 1}`;
    const endpoint = {
      address: parseAddress(text) as Address,
      port: 40_000 + (number % 20_000),
      scope: 0,
      carrier: isTunnelled ? GRPC_CARRIER : 0,
    };
    const more = number % 3 === 0 ? [parsePrefix(`fd00:${number.toString(16)}::/64`) as Prefix] : [];
    const lastHandshakeMs =
      number % 7 === 6 ? Date.now() - 1_000_000 : Date.now() - ((number * 37) % 170) * 1_000;
    return { ...peer, endpoint, lastHandshakeMs, allowedIps: [...peer.allowedIps, ...more] };
  });
}

function namesOf(peers: readonly PeerState[]): Map<string, string> {
  return new Map(peers.slice(0, NAMES.length).map(({ publicKey }, i) => [publicKey.hex, NAMES[i] ?? '']));
}

/** As much as a turn brings. */
function addTraffic({ shown }: TestDevice, turn: number): void {
  shown.peers = shown.peers.map((peer, number) => {
    if (peer.lastHandshakeMs === 0) return peer;
    const share = BigInt(((number * 7) % 19) + 1);
    return {
      ...peer,
      rxBytes: peer.rxBytes + share * BigInt(Math.round(40_000 * (1.4 + Math.sin(turn / 3 + number)))),
      txBytes: peer.txBytes + share * BigInt(Math.round(15_000 * (1.3 + Math.cos(turn / 4 + number)))),
    };
  });
}

interface Opened extends TestDevice {
  readonly browser: Browser;
  readonly page: Page;
  readonly goTo: (view: string) => Promise<void>;
}

async function open(
  t: TestContext,
  peers: readonly PeerState[],
  browserOptions: Partial<BrowserOptions> = {},
): Promise<Opened> {
  const device = await startDeviceApi(t, { peers, names: namesOf(peers), engine: busyEngine });
  const browser = await openBrowser(t, { origin: device.url, ...browserOptions });
  const { page } = browser;
  await page.goto(`${device.url}#token=${device.token.reveal()}`);
  await page.getByRole('heading', { name: 'wg0', level: 1 }).waitFor();
  const goTo = async (view: string) => {
    await page.getByRole('link', { name: view, exact: true }).first().click();
    await page.getByRole('heading', { name: view === 'Overview' ? 'wg0' : view, level: 1 }).waitFor();
  };
  return { ...device, browser, page, goTo };
}

function busyEngine() {
  const socket = (depth: number, dropped: number) => ({
    receive: { depth, capacity: 14_680_064, dropped },
    send: { depth: depth / 10, capacity: 14_680_064, dropped: undefined },
  });
  const ring = (depth: number) => ({ depth, capacity: 2 << 20, dropped: undefined });
  return {
    ...meteredOptions().engine(),
    transport: 'wasm+openssl-core',
    longestShort: 512,
    gro: 'failed' as const,
    laneThreads: [process.pid],
    queues: outerQueues({
      tun: { depth: undefined, capacity: 500, dropped: 12 },
      sockets: [
        { family: 4, ...socket(13_000_000, 7) },
        { family: 6, ...socket(0, 0) },
      ],
      streams: { toLane: ring(4_096), toStreams: ring(120_000) },
    }),
  };
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const [size, viewport] of [
    ['wide', { width: 1_360, height: 860 }],
    ['narrow', { width: 390, height: 844 }],
  ] as const) {
    test(
      `device page: every view renders and is accessible: ${size}, ${colorScheme}`,
      { skip },
      async (t) => {
        const opened = await open(t, makePeers(60), { colorScheme, viewport });
        const { page, browser, shown, goTo } = opened;
        let turn = 0;
        let dropped = 0n;
        const reasons = [
          'no_route',
          'staged_overflow',
          'bad_tag',
          'replayed',
          'source_not_allowed',
          'no_cookie',
        ];
        shown.dropped = (reason) => dropped * BigInt(1 + reasons.indexOf(reason));
        shown.laneFigures = () => ({
          stagedPackets: 37,
          stagedPeers: 5,
          stagedBytes: 48_000,
          handshakesInFlight: 3,
          sendErrors: { full: 0, tooLarge: 0, unreachable: 4, other: 0 },
          usesGso: true,
        });
        const traffic = setInterval(() => {
          addTraffic(opened, turn++);
          dropped += 17n;
        }, 100);
        t.after(() => clearInterval(traffic));
        await page
          .getByText(/[1-9]\S* [kM]bit\/s/)
          .first()
          .waitFor();
        // A picture of two minutes.
        if (process.env['CULVERT_TEST_SCREENSHOTS']) await page.waitForTimeout(40_000);
        const fits = async (view: string) => {
          const overflow = await page.evaluate(
            'document.documentElement.scrollWidth - document.documentElement.clientWidth',
          );
          assert.equal(overflow, 0, `${view} is wider than the window`);
        };
        for (const view of ['Overview', 'Peers', 'Data path']) {
          await goTo(view);
          assert.deepEqual(await browser.violations(), [], view);
          await fits(view);
          await browser.picture(`device-${view.toLowerCase().replace(' ', '-')}-${size}-${colorScheme}`);
        }
        const { publicKey } = shown.peers[0] ?? assert.fail('no peer');
        await page.goto(`${opened.url}#/peers/${encodeURIComponent(publicKey.base64)}`);
        await page.getByRole('heading', { name: /^laptop/ }).waitFor();
        await page.getByText('198.51.100.1:40000').waitFor();
        assert.deepEqual(await browser.violations(), [], 'peer');
        await fits('peer');
        await browser.picture(`device-peer-${size}-${colorScheme}`);
        assert.deepEqual(browser.complaints, []);
      },
    );
  }
}

test(
  'device page: a peer that comes, its handshake and its end are shown without a reload',
  { skip },
  async (t) => {
    const { page, browser, shown, goTo } = await open(t, []);
    await page.getByText('The device has no peers yet').waitFor();
    await goTo('Peers');
    const [peer] = makePeers(1);
    assert.ok(peer);
    shown.peers = [{ ...peer, endpoint: undefined, lastHandshakeMs: 0 }];
    await page.getByText('1 peer', { exact: true }).waitFor();
    const grid = page.getByRole('grid', { name: 'Peers' });
    await grid.getByText('Never').waitFor();
    shown.peers = [{ ...peer, lastHandshakeMs: Date.now() }];
    await grid.getByText('UDP').waitFor();
    await grid.getByText('198.51.100.1:40000').waitFor();
    await grid.getByRole('link').click();
    await page.getByText(/^\d+ s ago$/).waitFor();
    shown.peers = [];
    await page.getByText('Gone').waitFor();
    shown.isUp = false;
    await goTo('Overview');
    await page.getByText('Down', { exact: true }).waitFor();
    assert.deepEqual(browser.complaints, []);
  },
);

test(
  'device page: the map shows what waits, who is busy and what is lost, where it happens',
  { skip },
  async (t) => {
    const { page, browser, shown, goTo } = await open(t, makePeers(3));
    shown.dropped = (reason) =>
      ({ no_route: 5n, bad_tag: 6n, tun_refused: 7n, bad_mac1: 8n })[reason as string] ?? 0n;
    await goTo('Data path');
    const sending = page.getByRole('list', { name: 'From the interface to the network' });
    const receiving = page.getByRole('list', { name: 'From the network to the interface' });
    const stage = (list: typeof sending, title: string) =>
      list.getByRole('listitem').filter({ has: page.getByRole('heading', { name: title, exact: true }) });
    await stage(sending, 'Outbound lane').getByText('5 no route').waitFor();
    await stage(receiving, 'Open').getByText('6 bad tag').waitFor();
    await stage(receiving, 'Interface').getByText('7 tun refused').waitFor();
    await page.getByText('8 bad mac1').waitFor();
    await stage(sending, 'Interface').getByText('12 found it full').waitFor();
    await stage(sending, 'Seal').getByText('wasm up to 512 bytes, then openssl-core').waitFor();
    const full = stage(receiving, 'UDP').last().getByRole('meter', { name: 'Socket, IPv4' });
    assert.equal(await full.getAttribute('aria-valuenow'), '89');
    assert.match((await full.getAttribute('class')) ?? '', /\bhigh\b/);
    assert.deepEqual(browser.complaints, []);
  },
);

test('device page: 5,000 peers are in a grid that holds the rows in sight', { skip }, async (t) => {
  const { page, browser, goTo } = await open(t, makePeers(5_000));
  await goTo('Peers');
  const grid = page.getByRole('grid', { name: 'Peers' });
  await page.getByText('5,000 peers').waitFor();
  assert.equal(await grid.getAttribute('aria-rowcount'), '5001');
  const rows = await page.locator('.canvas > .row').count();
  assert.ok(rows < 60, `${rows} rows`);
  const shownRow = (index: number) =>
    page.locator(`.canvas > .row[aria-rowindex="${index + 2}"]:not([hidden])`);
  for (const index of [2_500, 4_999, 17]) {
    await grid.evaluate((element, top) => void (element.scrollTop = top), index * 44);
    await shownRow(index)
      .getByText(`10.0.${(index + 1) >> 8}.${(index + 1) & 255}/32`)
      .waitFor();
  }
  await page.getByRole('searchbox').fill('printer');
  await page.getByText('1 peer', { exact: true }).waitFor();
  assert.deepEqual(browser.complaints, []);
});
