import { type Command, Option } from 'commander';
import { AppError } from '../../core/errors.ts';
import { AdminToken } from '../api/access.ts';
import { type SignIn, SignInFiles } from '../api/sign-in-file.ts';
import { NoGateway } from '../gateway/admin-client.ts';
import { adminClient, type AdminFlags, addAdminFlags, print } from '../gateway/session.ts';
import { SERVE_SETTINGS } from '../gateway/settings.ts';
import { ownSurroundings, stateDirectory } from '../state-directory.ts';
import { isInterfaceName } from '../wg-conf.ts';

interface PageFlags extends AdminFlags {
  readonly httpTokenFile?: string;
}

/** `culvert page [INTERFACE]`. */
export function configurePage(command: Command): void {
  addAdminFlags(
    command.argument(
      '[interface]',
      'a device that was started with --http or CULVERT_HTTP; absent: the gateway',
    ),
  )
    .addOption(
      new Option('--http-token-file <file>', 'the file of "culvert serve --http-token-file"').env(
        SERVE_SETTINGS.httpTokenFile.env,
      ),
    )
    .addHelpText(
      'after',
      `
Examples:
  culvert page                     of the gateway: open what it prints in a browser on this machine
  culvert page wg0                 of a device: culvert up wg0 --http 9587, CULVERT_HTTP=9587 culvert-go wg0
  ssh -L 9587:127.0.0.1:9587 gateway.example, then open it on yours

The address holds the admin token behind its "#", which browsers keep to themselves. Whoever has it may do what the page does.
docs/STATUS-PAGE.md has the rest.`,
    )
    .action(async (interfaceName: string | undefined, flags: PageFlags) => {
      const files = new SignInFiles();
      const signIn =
        interfaceName === undefined ? await ofGateway(flags, files) : await ofDevice(interfaceName, files);
      print(flags, { url: signInUrl(signIn) }, ({ url }) => `${url}\n`);
    });
}

async function ofGateway(flags: PageFlags, files: SignInFiles): Promise<SignIn> {
  let page: string | null;
  try {
    ({ page } = await adminClient(flags).call('status', {}));
  } catch (error) {
    const devices = error instanceof NoGateway ? files.names() : [];
    if (devices.length === 0) throw error;
    throw new AppError('unavailable', (error as Error).message, {
      cause: error,
      hint: `of a device: ${devices.map((name) => `culvert page ${name}`).join(', ')}`,
    });
  }
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
  return { url: page, token };
}

async function ofDevice(interfaceName: string, files: SignInFiles): Promise<SignIn> {
  const signIn = isInterfaceName(interfaceName) ? files.read(interfaceName) : undefined;
  if (!signIn) {
    const names = files.names();
    throw new AppError('not_found', `${interfaceName} serves no status page`, {
      hint:
        names.length > 0
          ? `there is one of ${names.join(', ')}`
          : `start it with --http 9587 (culvert-go: CULVERT_HTTP=9587)`,
    });
  }
  try {
    await fetch(`${signIn.url}healthz`, { signal: AbortSignal.timeout(5_000) });
  } catch (error) {
    throw new AppError(
      'unavailable',
      `the status page of ${interfaceName} at ${signIn.url} does not answer`,
      {
        cause: error,
        hint: `is the device running in this network namespace? "culvert show ${interfaceName}" tells`,
      },
    );
  }
  return signIn;
}

/** The fragment is not sent to the server, and in no log on the way. */
export function signInUrl({ url, token }: SignIn): string {
  return `${url}#token=${token.reveal()}`;
}
