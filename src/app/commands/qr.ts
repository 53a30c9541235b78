import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { AppError, usageError } from '../../core/errors.ts';
import { phoneConf, qrModules, qrSvg, qrText } from '../qr.ts';
import { wantsColour } from '../show-values.ts';
import { parseWgConf } from '../wg-conf.ts';

/** `culvert qr FILE`. */
export function configureQr(command: Command): void {
  command
    .argument('<file>', 'a configuration file for the phone, or - for standard input')
    .option('--svg', 'print an SVG image instead')
    .addHelpText(
      'after',
      `
Examples:
  culvert qr phone.conf               then: WireGuard app, "add a tunnel", "scan from QR code"
  culvert qr phone.conf --svg > phone.svg

What it prints is the private key of the phone: whoever sees it can be the phone. docs/guides/phones.md has the whole story.`,
    )
    .action((file: string, { svg }: { svg?: true }) => {
      const name = file === '-' ? 'stdin' : basename(file);
      const { conf, warnings } = parseWgConf(read(file), name);
      if (!conf.device.privateKey)
        throw usageError(`${name} has no PrivateKey`, 'this is for the file of the phone, not of the server');
      const { text, omitted } = phoneConf(conf);
      const left = omitted.length === 0 ? [] : [`left out, because phones refuse it: ${omitted.join(', ')}`];
      for (const warning of [...warnings, ...left]) process.stderr.write(`culvert: warning: ${warning}\n`);
      const modules = qrModules(text);
      process.stdout.write(
        svg === true ? qrSvg(modules) : qrText(modules, wantsColour(process.env, process.stdout.isTTY)),
      );
    });
}

function read(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new AppError(code === 'ENOENT' ? 'not_found' : 'io', `${file}: ${code ?? message}`, {
      cause: error,
    });
  }
}
