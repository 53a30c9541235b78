/**
 * Lets packets of the overlay interface through this machine's firewall. An accept in a table of our own would not do:
 * nftables goes on with the next chain on the same hook. So a rule goes to the front of every chain that filters input.
 */
import { execFile } from 'node:child_process';
import { AppError } from '../../core/errors.ts';
import { LINK_NAME, TUNNEL_LINK_NAME } from '../../link/constants.ts';

/** nft(8), in JSON (libnftables-json(5)): unlike its own language that has a form for every name. */
export interface Nft {
  /** All commands or none. */
  apply(commands: readonly object[]): Promise<void>;
  list(what: 'chains' | 'ruleset'): Promise<unknown>;
}

interface InputChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

interface MarkedRule extends InputChain {
  readonly handle: number;
}

/** Families in which the overlay's packets are seen: they are IPv6. */
const FAMILIES: readonly string[] = ['inet', 'ip6'];

export class FirewallOpening {
  readonly #nft: Nft;
  readonly #comment: string;
  readonly #interfaces: readonly string[];

  constructor(interfaceName: string, nft: Nft) {
    this.#nft = nft;
    this.#comment = `culvert join ${interfaceName}`;
    this.#interfaces = [...new Set([LINK_NAME, TUNNEL_LINK_NAME, interfaceName])];
  }

  /** Puts the rules where they are missing, and returns how many chains have one. To be called again after reloads. */
  async open(): Promise<number> {
    const chains = inputChains(await this.#nft.list('chains'));
    const present = await this.#rules();
    const missing = chains.filter((chain) => !present.some((rule) => isSameChain(rule, chain)));
    const expr = [
      { match: { op: '==', left: { meta: { key: 'iifname' } }, right: { set: this.#interfaces } } },
      { counter: null },
      { accept: null },
    ];
    const commands = missing.map(({ family, table, name }) => ({
      insert: { rule: { family, table, chain: name, expr, comment: this.#comment } },
    }));
    if (commands.length > 0) await this.#nft.apply(commands);
    return chains.length;
  }

  /** Takes away whatever carries our comment, that of a killed process included. */
  async close(): Promise<void> {
    const rules = await this.#rules();
    const commands = rules.map(({ family, table, name, handle }) => ({
      delete: { rule: { family, table, chain: name, handle } },
    }));
    if (commands.length > 0) await this.#nft.apply(commands);
  }

  async #rules(): Promise<MarkedRule[]> {
    return markedRules(await this.#nft.list('ruleset'), this.#comment);
  }
}

/** Base chains of type filter on the input hook. */
export function inputChains(listing: unknown): InputChain[] {
  return objects(listing, 'chain')
    .filter(
      ({ type, hook, family }) => type === 'filter' && hook === 'input' && FAMILIES.includes(String(family)),
    )
    .map(({ family, table, name }) => ({ family: String(family), table: String(table), name: String(name) }));
}

export function markedRules(listing: unknown, comment: string): MarkedRule[] {
  return objects(listing, 'rule')
    .filter((rule) => rule['comment'] === comment && typeof rule['handle'] === 'number')
    .map(({ family, table, chain, handle }) => ({
      family: String(family),
      table: String(table),
      name: String(chain),
      handle: Number(handle),
    }));
}

function isSameChain(a: InputChain, b: InputChain): boolean {
  return a.family === b.family && a.table === b.table && a.name === b.name;
}

function objects(listing: unknown, kind: string): Record<string, unknown>[] {
  const entries = (listing as { nftables?: unknown } | null)?.nftables;
  if (!Array.isArray(entries)) throw new AppError('protocol', 'nft printed something that is no listing');
  return entries.flatMap((entry) => {
    const found = (entry as Record<string, unknown>)[kind];
    return typeof found === 'object' && found !== null ? [found as Record<string, unknown>] : [];
  });
}

const MAX_LISTING: number = 64 << 20;

export const systemNft: Nft = {
  // As an argument: nft cannot read JSON from the kind of pipe that Node makes.
  apply: async (commands) => void (await run(['-j', JSON.stringify({ nftables: commands })])),
  list: async (what) => {
    const text = await run(['-j', '-a', 'list', what]);
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw new AppError('protocol', '--open-firewall: nft printed no JSON', { cause });
    }
  },
};

function run(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('nft', args, { maxBuffer: MAX_LISTING }, (error, stdout, stderr) => {
      if (!error) {
        resolve(stdout);
        return;
      }
      const reason = error.code === 'ENOENT' ? 'is not installed' : stderr.trim() || error.message;
      reject(
        new AppError('unavailable', `--open-firewall: nft ${reason}`, {
          cause: error,
          hint: 'it opens nftables; without them leave the flag away',
        }),
      );
    });
  });
}
