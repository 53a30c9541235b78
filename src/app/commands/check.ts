import { fstatSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { type ConfProblem, checkWgConf } from '../wg-conf.ts';

/** `culvert check FILE`: all problems and warnings of a wg or wg-quick file, with their lines. */
export function configureCheck(command: Command): void {
  command
    .argument('<file>', 'a wg or wg-quick configuration file, or - for standard input')
    .addHelpText(
      'after',
      `
Examples:
  culvert check /etc/wireguard/wg0.conf
  culvert check - < wg0.conf

Prints one line per problem. Exit code 0: the file is good (there may be warnings), 2: it is not.`,
    )
    .action((file: string) => {
      const name = file === '-' ? 'stdin' : basename(file);
      const { conf, problems, warnings } = checkWgConf(read(file));
      const report = (kind: string, { line, message, hint }: ConfProblem) => {
        process.stderr.write(`${name}:${line}: ${kind}${message}\n`);
        if (hint !== undefined) process.stderr.write(`hint: ${hint}\n`);
      };
      for (const warning of warnings) report('warning: ', warning);
      for (const problem of problems) report('', problem);
      if (!conf) {
        process.exitCode = 2;
        return;
      }
      const { length } = conf.peers;
      process.stdout.write(`${name}: good, ${length} ${length === 1 ? 'peer' : 'peers'}\n`);
    });
}

function read(file: string): string {
  try {
    if (file !== '-') return readFileSync(file, 'utf8');
    if (fstatSync(0).isCharacterDevice() && process.stdin.isTTY)
      process.stderr.write('culvert: reading from the terminal; end with Ctrl-D\n');
    return readFileSync(0, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new AppError(code === 'ENOENT' ? 'not_found' : 'io', `${file}: ${code ?? message}`, {
      cause: error,
    });
  }
}
