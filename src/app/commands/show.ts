import type { Command } from 'commander';
import { parseShowRequest, showReport } from '../show-report.ts';
import { SHOW_FIELDS } from '../show.ts';
import { wantsColour } from '../show-values.ts';
import { getDevice, listInterfaces } from '../uapi-client.ts';

/** `culvert show [INTERFACE|all|interfaces] [FIELD]`, as `wg show`. */
export function configureShow(command: Command): void {
  command
    .argument('[interface]', 'an interface, "all" or "interfaces"', 'all')
    .argument('[field]', `one of ${SHOW_FIELDS.join(', ')}`)
    .option('--json', 'print JSON; secrets only with WG_HIDE_KEYS=never')
    .addHelpText(
      'after',
      `
Examples:
  culvert show                       all devices
  culvert show wg0 latest-handshakes one field, for scripts
  culvert show all dump              everything, tab-separated
  culvert show wg0 --json

Environment: WG_COLOR_MODE=always|never|auto, NO_COLOR, WG_HIDE_KEYS=never`,
    )
    .action(async (target: string, field: string | undefined, options: { json?: true }) => {
      const request = parseShowRequest(target, field, options.json === true);
      const source = {
        list: () => listInterfaces(),
        get: (name: string) => getDevice(name),
        publicKeyOf: (await import('../public-key.ts')).publicKeyOf,
      };
      const { text, failures } = await showReport(request, source, {
        isColoured: wantsColour(process.env, process.stdout.isTTY),
        showsKeys: process.env['WG_HIDE_KEYS'] === 'never',
        nowSeconds: Math.floor(Date.now() / 1000),
      });
      process.stdout.write(text);
      for (const failure of failures) process.stderr.write(`culvert: ${failure.message}\n`);
      if (failures.length > 0 && text === '') process.exitCode = 1;
    });
}
