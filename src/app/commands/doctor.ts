import type { Command } from 'commander';
import { isUsable, judge } from '../doctor.ts';
import { collectFacts } from '../doctor-facts.ts';
import { doctorJson, doctorText } from '../doctor-report.ts';
import { progressBar } from '../progress.ts';
import { palette, wantsColour } from '../show-values.ts';
import { version } from '../version.ts';

/** `culvert doctor [--json]`. */
export function configureDoctor(command: Command): void {
  command
    .option('--json', 'print JSON, see docs/DOCTOR.md')
    .addHelpText(
      'after',
      `
Examples:
  sudo culvert doctor
  culvert doctor --json

Looks and measures for a moment; changes nothing. Exit code 0: a device can run here, 1: it cannot.`,
    )
    .action(async (options: { json?: true }) => {
      const progress = progressBar();
      const facts = await collectFacts(progress.show).finally(() => progress.clear());
      const checks = judge(facts);
      const colours = palette(wantsColour(process.env, process.stdout.isTTY));
      process.stdout.write(
        options.json === true
          ? doctorJson(checks, facts, version())
          : doctorText(checks, facts, version(), colours),
      );
      if (!isUsable(checks)) process.exitCode = 1;
    });
}
