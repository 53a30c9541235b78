import { type Command, Option } from 'commander';
import { AppError } from '../../core/errors.ts';
import { AdminToken } from '../api/access.ts';
import { adminClient, type AdminFlags, addAdminFlags, print } from '../gateway/session.ts';
import { SERVE_SETTINGS } from '../gateway/settings.ts';
import { ownSurroundings, stateDirectory } from '../state-directory.ts';

interface PageFlags extends AdminFlags {
  readonly httpTokenFile?: string;
}

/** `culvert page`. */
export function configurePage(command: Command): void {
  addAdminFlags(command)
    .addOption(
      new Option('--http-token-file <file>', 'the file of "culvert serve --http-token-file"').env(
        SERVE_SETTINGS.httpTokenFile.env,
      ),
    )
    .addHelpText(
      'after',
      `
Examples:
  culvert page                     open what it prints in a browser on this machine
  ssh -L 9587:127.0.0.1:9587 gateway.example, then open it on yours

The address holds the admin token behind its "#", which browsers keep to themselves. Whoever has it may do everything.
docs/STATUS-PAGE.md has the rest.`,
    )
    .action(async (flags: PageFlags) => {
      const { page } = await adminClient(flags).call('status', {});
      if (page === null) {
        throw new AppError('unavailable', 'the gateway serves no status page', {
          hint: 'start it with --http 127.0.0.1:9587',
        });
      }
      const { httpTokenFile = '' } = flags;
      const token =
        httpTokenFile === ''
          ? AdminToken.read(stateDirectory(flags.state, ownSurroundings()))
          : AdminToken.ofFile(httpTokenFile, '--http-token-file');
      print(flags, { url: signInUrl(page, token) }, ({ url }) => `${url}\n`);
    });
}

/** The fragment is not sent to the server, and in no log on the way. */
export function signInUrl(page: string, token: AdminToken): string {
  return `${page}#token=${token.reveal()}`;
}
