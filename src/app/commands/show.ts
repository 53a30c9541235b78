import type { Command } from 'commander';
import { parseShowRequest, showReport } from '../show-report.ts';
import { SHOW_FIELDS } from '../show.ts';
import { wantsColour } from '../show-values.ts';
import { getDevice, listInterfaces } from '../uapi-client.ts';
import { addWatchFlag, watch, type WatchFlags } from '../watch.ts';

/** `culvert show [INTERFACE|all|interfaces] [FIELD]`, as `wg show`. */
export function configureShow(command: Command): void {
  addWatchFlag(
    command
      .argument('[interface]', 'an interface, "all" or "interfaces"', 'all')
      .argument('[field]', `one of ${SHOW_FIELDS.join(', ')}`)
      .option('--json', 'print JSON; secrets only with WG_HIDE_KEYS=never'),
  )
    .addHelpText(
      'after',
      `
Examples:
  culvert show                       all devices
  culvert show wg0 latest-handshakes one field, for scripts
  culvert show all dump              everything, tab-separated
  culvert show wg0 --watch           a screen that follows
  culvert show wg0 --json            the shape of wg-json: docs/reference/json.md

On a terminal the age of a handshake is green up to 180 s, while a session lives, yellow up to 275 s and red beyond.
Environment: WG_COLOR_MODE=always|never|auto (colours exactly as wg), NO_COLOR, WG_HIDE_KEYS=never`,
    )
    .action(async (target: string, field: string | undefined, options: ShowFlags) => {
      const request = parseShowRequest(target, field, options.json === true);
      const source = {
        list: () => listInterfaces(),
        get: (name: string) => getDevice(name),
        publicKeyOf: (await import('../public-key.ts')).publicKeyOf,
      };
      const once = () =>
        showReport(request, source, {
          isColoured: wantsColour(process.env, process.stdout.isTTY),
          coloursAge: (process.env['WG_COLOR_MODE'] ?? '') === '',
          showsKeys: process.env['WG_HIDE_KEYS'] === 'never',
          nowSeconds: Math.floor(Date.now() / 1000),
        });
      if (options.watch !== undefined) return watch(options.watch, async () => (await once()).text);
      const { text, failures } = await once();
      process.stdout.write(text);
      for (const failure of failures) process.stderr.write(`culvert: ${failure.message}\n`);
      if (failures.length > 0 && text === '') process.exitCode = 1;
      return undefined;
    });
}

interface ShowFlags extends WatchFlags {
  readonly json?: true;
}
