/** Chromium for tests of the status page. It reaches one server and no other. */
import axe from 'axe-core';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';
import { type BrowserContext, chromium, type Page } from 'playwright-core';

function chromiumPath(): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((directory) => join(directory, 'chromium'))
    .find((path) => existsSync(path));
}

/** For the `skip` option of a test. */
export function requireChromium(): string | false {
  if (chromiumPath() !== undefined) return false;
  const reason = 'SKIPPED: needs the program chromium';
  if (process.env['CULVERT_REQUIRE_INTEROP'] === '1')
    throw new Error(`${reason} (CULVERT_REQUIRE_INTEROP=1)`);
  return reason;
}

export interface Browser {
  readonly page: Page;
  /** Errors and warnings of the console, exceptions, requests that were not for the server. Tests want it empty. */
  readonly complaints: string[];
  /** What axe-core finds, as rule and element. */
  violations(): Promise<string[]>;
  /** Kept when env CULVERT_TEST_SCREENSHOTS names a folder. */
  picture(name: string): Promise<void>;
}

export interface BrowserOptions {
  /** The only one that may be asked: `http://127.0.0.1:1234/`. */
  readonly origin: string;
  readonly colorScheme?: 'light' | 'dark';
  readonly viewport?: { readonly width: number; readonly height: number };
}

/** Ends with the test. */
export async function openBrowser(t: TestContext, options: BrowserOptions): Promise<Browser> {
  const { origin, colorScheme = 'light', viewport = { width: 1_360, height: 860 } } = options;
  const profile = mkdtempSync(join(tmpdir(), 'culvert-chromium-'));
  const context: BrowserContext = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath() ?? 'chromium',
    headless: true,
    colorScheme,
    viewport,
    reducedMotion: 'reduce',
    chromiumSandbox: false,
    args: [
      ...['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync'],
    ],
  });
  t.after(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  });
  const page = context.pages()[0] ?? (await context.newPage());
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    const url = request.url();
    // Blobs are made by the page itself.
    if (!url.startsWith(origin) && !url.startsWith('blob:')) complaints.push(`asks ${url}`);
  });
  return {
    page,
    complaints,
    violations: async () => {
      // The page's own policy lets no script in; the debugger may.
      const results = (await page.evaluate(`${axe.source}; axe.run(document)`)) as axe.AxeResults;
      return results.violations.flatMap(({ id, nodes }) =>
        nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary ?? ''}`),
      );
    },
    picture: async (name) => {
      const folder = process.env['CULVERT_TEST_SCREENSHOTS'];
      if (!folder) return;
      mkdirSync(folder, { recursive: true });
      await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
    },
  };
}
