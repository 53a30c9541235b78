import type { Command } from 'commander';
import { configError } from '../../core/errors.ts';
import { duration, wholeNumber } from '../flag-values.ts';
import { formatJoin } from '../gateway/print-out.ts';
import { addAdminFlags, adminClient, type AdminFlags, askOrRead, print } from '../gateway/session.ts';
import { formatTokens } from '../gateway/token-text.ts';

interface CreateFlags extends AdminFlags {
  readonly expires?: string;
  readonly uses?: string;
  readonly description?: string;
  readonly default?: true;
}

/** `culvert token create|ls|show|revoke|default|rm`. */
export function configureToken(command: Command): void {
  command.usage('COMMAND [options]').addHelpText(
    'after',
    `
Examples:
  culvert token show                                   how to join with the default token
  culvert token create rack-7 --expires 24h --uses 12  for twelve machines, until tomorrow
  culvert token create laptop --uses 1 --description "the spare one"
  culvert token ls
  culvert token revoke rack-7                          machines that joined with it stay
  culvert token revoke rack-7 --undo
  culvert token default rack-8

A token is a secret: only create and show print it. ls also reads what a gateway stored when it is down.`,
  );
  const add = (name: string, summary: string): Command =>
    addAdminFlags(command.command(name).summary(summary).description(summary));

  add('create', 'make a join token and print how to join with it')
    .argument('<name>', 'at most 16 characters')
    .option('--expires <when>', 'a duration such as 24h or 7d, or a time such as 2030-01-01T00:00Z')
    .option('--uses <n>', 'most machines that may join with it')
    .option('--description <text>', 'what it is for')
    .option('--default', 'make it the default token')
    .action(async (name: string, flags: CreateFlags) => {
      const join = await adminClient(flags).call('tokens.create', {
        name,
        ...(flags.description === undefined ? {} : { description: flags.description }),
        ...(flags.expires === undefined ? {} : { expiresAtMs: readExpiry(flags.expires, Date.now()) }),
        ...(flags.uses === undefined
          ? {}
          : { useLimit: wholeNumber('--uses', flags.uses, 1, 1_000_000_000) }),
        isDefault: flags.default === true,
      });
      print(flags, join, formatJoin);
    });

  add('ls', 'list join tokens').action(async (flags: AdminFlags) => {
    const tokens = await askOrRead(
      flags,
      (client) => client.call('tokens.list', {}),
      (reader) => reader.tokens(),
    );
    print(flags, tokens, formatTokens);
  });

  add('show', 'print how to join with a token, the default one unless named')
    .argument('[name]')
    .option('--grpc-tunnel', 'the machine asks for WireGuard inside the gRPC stream')
    .action(async (name: string | undefined, flags: AdminFlags & { readonly grpcTunnel?: true }) => {
      const join = await adminClient(flags).call('tokens.join', {
        ...(name === undefined ? {} : { name }),
        wantsTunnel: flags.grpcTunnel === true,
      });
      print(flags, join, formatJoin);
    });

  add('revoke', 'let nobody join with a token any more; machines that have joined stay')
    .argument('<name>')
    .option('--undo', 'let it be used again')
    .action(async (name: string, flags: AdminFlags & { readonly undo?: true }) => {
      const isRevoked = flags.undo !== true;
      const view = await adminClient(flags).call('tokens.revoke', { name, isRevoked });
      print(flags, view, (token) => `token "${token.name}" is ${token.status}\n`);
    });

  add('default', 'make a token the default one')
    .argument('<name>')
    .action(async (name: string, flags: AdminFlags) => {
      const view = await adminClient(flags).call('tokens.default', { name });
      print(flags, view, (token) => `token "${token.name}" is the default\n`);
    });

  add('rm', 'forget a token; machines that have joined stay')
    .argument('<name>')
    .action(async (name: string, flags: AdminFlags) => {
      await adminClient(flags).call('tokens.remove', { name });
      print(flags, { removed: name }, () => `removed token "${name}"\n`);
    });
}

/** A duration from now, or a time. */
export function readExpiry(text: string, nowMs: number): number {
  if (/^\d+[a-z]$/.test(text)) return nowMs + duration('--expires', text);
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(time)) {
    throw configError(
      '--expires',
      `${JSON.stringify(text)} is neither a duration nor a time`,
      'for example 24h or 2030-01-31T12:00Z',
    );
  }
  return time;
}
