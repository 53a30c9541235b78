import { fstatSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { type ConfProblem, checkWgConf } from '../wg-conf.ts';

/** `culvert check FILE`: all problems and warnings of a configuration file, with their lines. */
export function configureCheck(command: Command): void {
  command
    .argument('<file>', 'a wg or wg-quick file, or a YAML file for serve and join, or - for standard input')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  culvert check /etc/wireguard/wg0.conf
  culvert check - < wg0.conf
  culvert check /etc/culvert/config.yaml     what is in effect: the file, CULVERT_* and defaults, without secrets

Prints one line per problem. Exit code 0: the file is good (there may be warnings), 2: it is not.`,
    )
    .action(async (file: string, { json }: { readonly json?: true }) => {
      const name = file === '-' ? 'stdin' : basename(file);
      const text = read(file);
      const isGood = isYaml(name, text)
        ? await checkYaml(text, name, json === true)
        : checkConf(text, name, json === true);
      if (!isGood) process.exitCode = 2;
    });
}

/** By its ending, else by what is in it. */
function isYaml(name: string, text: string): boolean {
  return /\.ya?ml$/i.test(name) || (!name.endsWith('.conf') && /^(?:apiVersion|kind)[ \t]*:/m.test(text));
}

/** Loads what serve and join are made of only where it is wanted. */
async function checkYaml(text: string, name: string, isJson: boolean): Promise<boolean> {
  const { checkConfig, formatConfigCheck } = await import('../config/check.ts');
  const check = checkConfig(text, name, process.env);
  if (isJson) {
    printJson(check);
  } else {
    for (const warning of check.warnings) report(`warning: ${warning}`, undefined);
    for (const { message, hint } of check.problems) report(message, hint);
    process.stdout.write(formatConfigCheck(check));
  }
  return check.problems.length === 0;
}

function checkConf(text: string, name: string, isJson: boolean): boolean {
  const { conf, problems, warnings } = checkWgConf(text);
  if (isJson) {
    printJson({ file: name, problems, warnings, peers: conf?.peers.length ?? null });
    return conf !== undefined;
  }
  const tell = (kind: string, { line, message, hint }: ConfProblem) =>
    report(`${name}:${line}: ${kind}${message}`, hint);
  for (const warning of warnings) tell('warning: ', warning);
  for (const problem of problems) tell('', problem);
  if (!conf) return false;
  const { length } = conf.peers;
  process.stdout.write(`${name}: good, ${length} ${length === 1 ? 'peer' : 'peers'}\n`);
  return true;
}

function report(message: string, hint: string | undefined): void {
  process.stderr.write(`${message}\n`);
  if (hint !== undefined) process.stderr.write(`hint: ${hint}\n`);
}

function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
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
