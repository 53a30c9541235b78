import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parseBase64 } from '../../core/bytes.ts';
import { AppError } from '../../core/errors.ts';
import { KEY_SIZE, PrivateKey } from '../../noise/keys.ts';
import { publicKeyOf } from '../public-key.ts';

/** `culvert pubkey`, as `wg pubkey`. */
export function configurePubkey(command: Command): void {
  command.addHelpText('after', '\nExamples:\n  culvert pubkey < private.key > public.key').action(() => {
    const privateKey = readPrivateKey(readFileSync(0));
    process.stdout.write(`${publicKeyOf(privateKey).base64}\n`);
    privateKey.zero();
  });
}

const KEY_CHARACTERS = 44;

/** 44 characters of base64, then white space or NULs only. Wipes `input`. */
function readPrivateKey(input: Uint8Array): PrivateKey {
  const text = Buffer.from(input).toString('latin1');
  input.fill(0);
  const bytes = parseBase64(text.slice(0, KEY_CHARACTERS), KEY_SIZE);
  const hint = 'standard input takes one key as "culvert genkey" prints it';
  if (text.length >= KEY_CHARACTERS && /[^\s\0]/.test(text.slice(KEY_CHARACTERS)))
    throw new AppError('io', 'Trailing characters found after key', { hint });
  if (!bytes) throw new AppError('io', 'Key is not the correct length or format', { hint });
  const privateKey = new PrivateKey(bytes);
  bytes.fill(0);
  return privateKey;
}
