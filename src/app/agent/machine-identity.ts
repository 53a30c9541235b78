/** Who this machine is to gateways: its UUID, its unique token and its WireGuard key, and where they are kept. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { configError } from '../../core/errors.ts';
import type { Random } from '../../core/random.ts';
import {
  formatUniqueToken,
  generateUniqueToken,
  machineFingerprint,
  parseUniqueToken,
  randomUuid,
} from '../../link/unique-token.ts';
import { parseKeyBytes, PrivateKey } from '../../noise/keys.ts';
import { readIfThere, writePrivately } from '../private-file.ts';
import { parseUuid } from './join-settings.ts';

export interface IdentityOptions {
  /** Made when it does not exist; nobody else may read it. */
  readonly stateDirectory: string;
  readonly uuid: string | undefined;
  /** Keeps the WireGuard key; without it each start has a new one, as on Talos. */
  readonly keyFile: string | undefined;
  /** `uniqueToken` of the configuration document. Secret. */
  readonly documentToken: string | undefined;
  readonly random: Random;
  /** The root of the file system, for tests. */
  readonly root?: string;
  readonly warn: (text: string) => void;
}

export interface MachineIdentity {
  readonly uuid: string;
  /** As it goes into ProvisionRequest. Secret. */
  readonly uniqueToken: string;
  readonly privateKey: PrivateKey;
}

/** What firmware without a number of its own says. */
const PLACEHOLDER_UUIDS: readonly string[] = [
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '03000200-0400-0500-0006-000700080009',
  '12345678-1234-5678-90ab-cddeefaabbcc',
];

/** Reads what is kept and makes what is not. Throws AppError `io`, `permission` or `config`. */
export function loadIdentity(options: IdentityOptions): MachineIdentity {
  return {
    uuid: options.uuid ?? loadUuid(options),
    uniqueToken: loadUniqueToken(options),
    privateKey: loadPrivateKey(options),
  };
}

/** A kept UUID overrides that of the firmware, as Talos has it: so machines with one number for all can be told apart. */
function loadUuid(options: IdentityOptions): string {
  const path = join(options.stateDirectory, 'uuid');
  const kept = readIfThere(path);
  if (kept !== undefined) return parseUuid(kept, path);
  const firmware = readFirmware(join(options.root ?? '/', 'sys/class/dmi/id/product_uuid'));
  if (firmware !== undefined) return firmware;
  const uuid = randomUuid(options.random);
  writePrivately(path, `${uuid}\n`);
  return uuid;
}

function readFirmware(path: string): string | undefined {
  let text: string | undefined;
  try {
    text = readIfThere(path)?.trim().toLowerCase();
  } catch {
    // Only root may read it; a machine without it gets a number of its own.
    return undefined;
  }
  if (text === undefined || PLACEHOLDER_UUIDS.includes(text)) return undefined;
  try {
    return parseUuid(text, path);
  } catch {
    return undefined;
  }
}

/** The kept one wins, as Talos's META does over the document. */
function loadUniqueToken(options: IdentityOptions): string {
  const path = join(options.stateDirectory, 'unique-token');
  const kept = readIfThere(path)?.trim();
  if (kept !== undefined && kept !== '') {
    checkUniqueToken(kept, path);
    return kept;
  }
  if (options.documentToken !== undefined) {
    checkUniqueToken(options.documentToken, 'uniqueToken');
    return options.documentToken;
  }
  const fingerprint = machineFingerprint(hardwareAddresses(options.root ?? '/'));
  const token = formatUniqueToken(generateUniqueToken(options.random, fingerprint));
  writePrivately(path, `${token}\n`);
  return token;
}

function checkUniqueToken(text: string, place: string): void {
  try {
    parseUniqueToken(text);
  } catch (error) {
    throw configError(place, error instanceof Error ? error.message : String(error));
  }
}

/** Of physical interfaces: those behind a device of their own. */
function hardwareAddresses(root: string): string[] {
  const directory = join(root, 'sys/class/net');
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    try {
      statSync(join(directory, name, 'device'));
      const address = readFileSync(join(directory, name, 'address'), 'utf8')
        .trim()
        .toLowerCase();
      return /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/.test(address) && address !== '00:00:00:00:00:00'
        ? [address]
        : [];
    } catch {
      return [];
    }
  });
}

function loadPrivateKey({ keyFile, random, warn }: IdentityOptions): PrivateKey {
  if (keyFile === undefined) return PrivateKey.generate(random);
  const text = readIfThere(keyFile);
  if (text === undefined) {
    const key = PrivateKey.generate(random);
    writePrivately(keyFile, `${key.exposeBase64()}\n`);
    return key;
  }
  const bytes = parseKeyBytes(text.trim());
  if (!bytes) throw configError(keyFile, 'is not a WireGuard key', 'remove the file to have a new one made');
  if ((statSync(keyFile).mode & 0o077) !== 0) warn(`${keyFile} can be read by others; chmod 600 it`);
  const key = new PrivateKey(bytes);
  bytes.fill(0);
  if (key.isZero)
    throw configError(keyFile, 'holds a key of zeros', 'remove the file to have a new one made');
  return key;
}
