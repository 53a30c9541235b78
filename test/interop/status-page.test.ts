// The status page in Chromium, over a whole gateway with a device that only remembers.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Page } from 'playwright-core';
import { type Browser, type BrowserOptions, openBrowser, requireChromium } from '../kit/browser.ts';
import { eventually } from '../kit/eventually.ts';
import { type TestApi, startApi } from '../unit/app/api/kit.ts';
import { join, type TestGatewayOptions, uuid } from '../unit/app/gateway/kit.ts';
import { key } from '../unit/link/provision-kit.ts';

const skip = requireChromium();

interface Opened extends TestApi {
  readonly browser: Browser;
  readonly page: Page;
  readonly goTo: (view: string) => Promise<void>;
}

async function open(
  t: TestContext,
  options: TestGatewayOptions & { readonly browser?: Partial<BrowserOptions> } = {},
  prepare: (api: TestApi) => Promise<void> = async () => {},
): Promise<Opened> {
  const api = await startApi(t, options);
  await prepare(api);
  const browser = await openBrowser(t, { origin: api.url, ...options.browser });
  const { page } = browser;
  await page.goto(`${api.url}#token=${api.token.reveal()}`);
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  const goTo = async (view: string) => {
    await page.getByRole('link', { name: view }).first().click();
    await page.getByRole('heading', { name: view, level: 1 }).waitFor();
  };
  return { ...api, browser, page, goTo };
}

const NAMES = ['rack-a', 'rack-b', 'edge', 'lab'];

/** Machines of all kinds, with traffic of their own. */
async function populate({ running, overlay, journal }: TestApi, count: number): Promise<void> {
  for (let number = 1; number <= count; number++) {
    await join(running.gateway, number, { wireguardOverGrpc: number % 5 === 0 });
    const name = key(`machine ${number}`);
    if (number % 7 === 0) continue;
    const header = overlay.peers.get(name)?.endpoint;
    if (number % 5 === 0)
      overlay.streams?.open({ header, lane: 0 }, { write: () => {}, end: () => {}, setPaused: () => {} });
    overlay.states.set(name, {
      handshakeAgeMs: 1_000 * ((number * 37) % 200),
      udpEndpoint: number % 5 === 0 ? undefined : `198.51.100.${number % 250}:${40_000 + number}`,
    });
    overlay.bytes.set(name, { rxBytes: number * 1_000, txBytes: number * 500 });
    for (let line = 0; line < (number === 1 ? 12 : 0); line++) {
      const body = JSON.stringify({
        msg: `${NAMES[line % 4]}: link up, ${line}`,
        'talos-level': line === 9 ? 'err' : 'info',
      });
      journal.append({ machine: uuid(number), kind: 'log', atMs: 1_700_000_000_000 + line * 731, body });
    }
  }
}

/** As much as a turn brings. */
function addTraffic({ overlay }: TestApi, turn: number): void {
  let number = 0;
  for (const [name, { rxBytes, txBytes }] of overlay.bytes) {
    const share = ((number++ * 7) % 19) + 1;
    overlay.bytes.set(name, {
      rxBytes: rxBytes + Math.round(share * 40_000 * (1.4 + Math.sin(turn / 3 + share))),
      txBytes: txBytes + Math.round(share * 15_000 * (1.3 + Math.cos(turn / 4 + share))),
    });
  }
}

test('the token leaves the address, and the page asks for one where there is none', { skip }, async (t) => {
  const { page, browser, url, token } = await open(t);
  assert.equal(await page.evaluate('location.href'), `${url}#/`);
  assert.equal(await page.evaluate('document.cookie'), '');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Admin token').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('That is not the admin token.').waitFor();
  assert.deepEqual(await browser.violations(), []);
  await browser.picture('sign-in');
  await page.getByLabel('Admin token').fill(token.reveal());
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  // Chromium itself notes the 401.
  assert.deepEqual(
    browser.complaints.filter((each) => !each.includes('401')),
    [],
  );
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`every view renders and is accessible: ${colorScheme}`, { skip }, async (t) => {
    const opened = await open(t, { config: { accept: 'manual' }, browser: { colorScheme } }, async (api) => {
      await populate(api, 40);
      for (let number = 1; number <= 36; number++) await api.running.admin.accept(uuid(number));
      await api.running.admin.deny(uuid(40));
      await api.call('POST', '/tokens', { name: 'rack 7', description: 'twelve machines', useLimit: 12 });
      await api.call('POST', '/tokens', { name: 'old' });
      await api.call('POST', '/tokens/old/revoke');
    });
    const { page, browser, goTo } = opened;
    let dropped = 0n;
    Object.assign(opened.overlay.metered, {
      dropped: (reason: string) => (['bad_mac1', 'no_route', 'replayed'].includes(reason) ? dropped : 0n),
    });
    const traffic = setInterval(() => {
      addTraffic(opened, turn++);
      dropped += 17n;
    }, 100);
    t.after(() => clearInterval(traffic));
    let turn = 0;
    const rate = page.getByText(/[1-9]\S* [kM]bit\/s/).first();
    await rate.waitFor();
    // A picture of two minutes.
    if (process.env['CULVERT_TEST_SCREENSHOTS']) await page.waitForTimeout(60_000);
    await page.getByRole('link', { name: /Busiest|All machines/ }).waitFor();
    for (const [view, name] of [
      ['Overview', 'overview'],
      ['Machines', 'machines'],
      ['Waiting', 'waiting'],
      ['Tokens', 'tokens'],
      ['Data path', 'data-path'],
    ] as const) {
      await goTo(view);
      await page.getByRole('heading', { name: view, level: 1 }).waitFor();
      assert.deepEqual(await browser.violations(), [], view);
      await browser.picture(`${name}-${colorScheme}`);
    }
    await page.goto(`${opened.url}#/machines/${uuid(1)}`);
    await page.getByText('rack-a: link up, 8').waitFor();
    assert.deepEqual(await browser.violations(), [], 'machine');
    await browser.picture(`machine-${colorScheme}`);
    await goTo('Tokens');
    await page.getByRole('button', { name: 'How to join rack 7' }).click();
    const code = page.getByRole('img', { name: /QR code/ });
    await code.waitFor();
    await eventually('the QR code is drawn', () =>
      code.evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth > 0),
    );
    assert.deepEqual(await browser.violations(), [], 'how to join');
    await browser.picture(`join-${colorScheme}`);
    assert.deepEqual(browser.complaints, []);
  });
}

test(
  'a machine that joins is there without a reload, waits, is accepted, and its log comes live',
  { skip },
  async (t) => {
    const opened = await open(t, { config: { accept: 'manual' } });
    const { page, browser, running, journal, followers, goTo } = opened;
    await goTo('Waiting');
    await page.getByText('Nobody waits.').waitFor();
    await join(running.gateway, 1);
    await page.getByRole('button', { name: `Accept ${uuid(1)}` }).click();
    await page.getByText('Nobody waits.').waitFor();
    assert.equal(running.admin.machine(uuid(1)).state, 'down');
    await page.goto(`${opened.url}#/machines/${uuid(1)}`);
    await page.getByText('No line yet.').waitFor();
    journal.append({
      machine: uuid(1),
      kind: 'log',
      atMs: 1,
      body: '{"msg":"<img src=x onerror=alert(1)>"}',
    });
    followers.tell(uuid(1), 'log');
    await page.getByText('<img src=x onerror=alert(1)>').waitFor();
    opened.overlay.states.set(key('machine 1'), { handshakeAgeMs: 0, udpEndpoint: '192.0.2.9:1' });
    await page.getByText('192.0.2.9:1').waitFor();
    await page.getByRole('button', { name: 'Deny', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Deny' }).click();
    await page.getByRole('heading', { name: 'Machines', level: 1 }).waitFor();
    assert.deepEqual(running.admin.denied(), [uuid(1)]);
    assert.deepEqual(browser.complaints, []);
  },
);

test('a token is made, copied, revoked and restored', { skip }, async (t) => {
  const { page, browser, running, goTo } = await open(t);
  const status = (name: string) => running.admin.tokens().find((token) => token.name === name)?.status;
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await goTo('Tokens');
  await page.getByRole('button', { name: 'New token' }).click();
  await page.getByLabel('Name').fill('initial token');
  await page.getByRole('button', { name: 'Create token' }).click();
  await page.getByText('there is a join token named').waitFor();
  await page.getByLabel('Name').fill('rack 7');
  await page.getByLabel('Machines that may join').fill('3');
  await page.getByRole('button', { name: 'Create token' }).click();
  await page.getByRole('button', { name: 'Copy join command' }).click();
  await page.getByText('Copied').waitFor();
  const { command } = running.admin.join('rack 7', false);
  assert.equal(await page.evaluate('navigator.clipboard.readText()'), command);
  await page.getByRole('button', { name: 'Done' }).click();
  await page.getByRole('button', { name: 'Revoke rack 7' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  assert.equal(status('rack 7'), 'active');
  await page.getByRole('button', { name: 'Revoke rack 7' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('button', { name: 'Restore rack 7' }).waitFor();
  assert.equal(status('rack 7'), 'revoked');
  await page.getByRole('button', { name: 'Restore rack 7' }).click();
  await eventually('it is restored', () => status('rack 7') === 'active');
  // Chromium itself notes the 409.
  assert.deepEqual(
    browser.complaints.filter((each) => !each.includes('409')),
    [],
  );
});

test(
  '5,000 machines: the page holds the rows in sight, and every one can be scrolled to',
  { skip },
  async (t) => {
    const { page, browser, goTo } = await open(
      t,
      { config: { provisionLimit: { perSecond: 5_000, burst: 5_000 } } },
      (api) => populate(api, 5_000),
    );
    await goTo('Machines');
    const grid = page.getByRole('grid', { name: 'Machines' });
    await page.getByText('5,000 machines').waitFor();
    assert.equal(await grid.getAttribute('aria-rowcount'), '5001');
    const rows = () => page.locator('.canvas > .row').count();
    const shown = (index: number) =>
      page.locator(`.canvas > .row[aria-rowindex="${index + 2}"]:not([hidden])`);
    for (const index of [2_500, 4_999, 17]) {
      await grid.evaluate((element, top) => void (element.scrollTop = top), index * 44);
      await shown(index)
        .getByText(`${String(index + 1).padStart(8, '0')}…4444`)
        .waitFor();
    }
    // Not before the grid has found out how tall it is.
    const pool = await rows();
    assert.ok(pool < 60, `${pool} rows`);
    await grid.focus();
    await page.keyboard.press('End');
    await shown(4_999).waitFor();
    assert.equal(await rows(), pool);
    await page.getByRole('button', { name: 'Machine', exact: true }).click();
    await page.getByRole('button', { name: 'Machine', exact: true }).click();
    await grid.evaluate((element) => void (element.scrollTop = 0));
    await shown(0).getByText('00005000…4444').waitFor();
    await page.getByRole('searchbox').fill(uuid(4_321));
    await page.getByText('1 machine', { exact: true }).waitFor();
    await grid.focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: '00004321…4444' }).waitFor();
    assert.deepEqual(browser.complaints, []);
  },
);
