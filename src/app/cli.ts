/** `culvert VERB ...`: the table of commands. Only the file of the verb in use is loaded. */
import { Command, CommanderError } from 'commander';
import { type AppError, nearest, usageError } from '../core/errors.ts';
import { reportError } from './report-error.ts';
import { version } from './version.ts';

/** Adds arguments, options, examples and the action of one verb. */
export type ConfigureCommand = (command: Command) => void;

interface CommandEntry {
  readonly summary: string;
  readonly load: () => Promise<ConfigureCommand>;
}

/** In the order of `culvert --help`. */
const COMMANDS: ReadonlyMap<string, CommandEntry> = new Map([
  [
    'up',
    {
      summary: 'bring up an interface from a wg-quick file',
      load: async () => (await import('./commands/up.ts')).configureUp,
    },
  ],
  [
    'down',
    {
      summary: 'take an interface down',
      load: async () => (await import('./commands/down.ts')).configureDown,
    },
  ],
  [
    'show',
    {
      summary: 'show userspace WireGuard devices, as "wg show" does',
      load: async () => (await import('./commands/show.ts')).configureShow,
    },
  ],
  [
    'serve',
    {
      summary: 'run a SideroLink gateway',
      load: async () => (await import('./commands/serve.ts')).configureServe,
    },
  ],
  [
    'join',
    {
      summary: 'join a SideroLink gateway as a machine, over UDP or through a gRPC stream',
      load: async () => (await import('./commands/join.ts')).configureJoin,
    },
  ],
  [
    'status',
    {
      summary: 'show the links of "culvert join"',
      load: async () => (await import('./commands/status.ts')).configureStatus,
    },
  ],
  [
    'relay',
    {
      summary: 'carry the UDP of any WireGuard client to a gateway in a gRPC stream',
      load: async () => (await import('./commands/relay.ts')).configureRelay,
    },
  ],
  [
    'machines',
    {
      summary: 'list and manage the machines of a gateway, read their logs and events',
      load: async () => (await import('./commands/machines.ts')).configureMachines,
    },
  ],
  [
    'token',
    {
      summary: 'manage the join tokens of a gateway',
      load: async () => (await import('./commands/token.ts')).configureToken,
    },
  ],
  [
    'page',
    {
      summary: 'print the address of the status page, signed in',
      load: async () => (await import('./commands/page.ts')).configurePage,
    },
  ],
  [
    'siderolink-agent',
    {
      summary: 'run a gateway with the flags and manners of siderolink-agent',
      load: async () => (await import('./commands/siderolink-agent.ts')).configureSiderolinkAgent,
    },
  ],
  [
    'demo',
    {
      summary: 'show a tunnel between two devices of its own',
      load: async () => (await import('./commands/demo.ts')).configureDemo,
    },
  ],
  [
    'doctor',
    {
      summary: 'say whether a device can run here, and what would slow it down',
      load: async () => (await import('./commands/doctor.ts')).configureDoctor,
    },
  ],
  [
    'bench',
    {
      summary: 'measure what this machine makes of it',
      load: async () => (await import('./commands/bench.ts')).configureBench,
    },
  ],
  [
    'genkey',
    {
      summary: 'print a new private key',
      load: async () => (await import('./commands/genkey.ts')).configureGenkey,
    },
  ],
  [
    'genpsk',
    {
      summary: 'print a new preshared key',
      load: async () => (await import('./commands/genpsk.ts')).configureGenpsk,
    },
  ],
  [
    'pubkey',
    {
      summary: 'read a private key and print its public key',
      load: async () => (await import('./commands/pubkey.ts')).configurePubkey,
    },
  ],
  [
    'check',
    {
      summary: 'say what is wrong with a configuration file, or what is in effect with it',
      load: async () => (await import('./commands/check.ts')).configureCheck,
    },
  ],
  [
    'reload',
    {
      summary: 'apply what has changed in a configuration file, with every session kept',
      load: async () => (await import('./commands/reload.ts')).configureReload,
    },
  ],
  [
    'qr',
    {
      summary: 'print a configuration file as a QR code for a phone',
      load: async () => (await import('./commands/qr.ts')).configureQr,
    },
  ],
  [
    'completions',
    {
      summary: 'print a completion script for a shell',
      load: async () => (await import('./commands/completions.ts')).configureCompletions,
    },
  ],
]);

const EXAMPLES = `
Examples:
  culvert genkey | tee private.key | culvert pubkey
  culvert check /etc/wireguard/wg0.conf
  culvert up wg0 --detach
  culvert show wg0
  culvert down wg0
  culvert serve
  culvert machines ls

Every command has examples of its own: culvert help COMMAND`;

/** Runs one command line and returns the exit code: 0 done, 1 failed, 2 wrong usage or configuration. */
export async function main(args: readonly string[]): Promise<number> {
  // `culvert show | head` closes the pipe early; that is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  process.stderr.on('error', () => {});
  try {
    const program = await buildProgram(args);
    if (args.length === 0) {
      program.outputHelp({ error: true });
      return 2;
    }
    await program.parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    // `culvert machines`: its help has been printed.
    if (error instanceof CommanderError && error.code === 'commander.help') return 2;
    const { text, exitCode } = reportError(asUsageError(error), 'culvert', process.env);
    process.stderr.write(text);
    return exitCode;
  }
}

async function buildProgram(args: readonly string[]): Promise<Command> {
  const words = args.filter((word) => !word.startsWith('-'));
  const chosen = words[0] === 'help' ? words[1] : words[0];
  if (chosen !== undefined && !COMMANDS.has(chosen)) throw unknownCommand(chosen);
  return loadProgram((name) => name === chosen);
}

/** The program with every command in full, for what is made from the table. */
export function allCommands(): Promise<Command> {
  return loadProgram(() => true);
}

async function loadProgram(isLoaded: (name: string) => boolean): Promise<Command> {
  const program = quiet(new Command('culvert'))
    .description('Userspace WireGuard, and WireGuard through gRPC where UDP is blocked')
    .version(`culvert ${version()}`, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .usage('COMMAND [options]')
    .addHelpText('after', EXAMPLES);
  for (const [name, { summary, load }] of COMMANDS) {
    const command = quiet(program.command(name)).summary(summary).description(summary);
    command.helpOption('-h, --help', 'print help');
    if (isLoaded(name)) (await load())(command);
  }
  return program;
}

function unknownCommand(word: string): AppError {
  const near = nearest(word, [...COMMANDS.keys(), 'help']);
  return usageError(
    `unknown command ${JSON.stringify(word)}`,
    near === undefined ? '"culvert --help" lists the commands' : `did you mean ${near}?`,
  );
}

/** Errors are ours to print. */
function quiet(command: Command): Command {
  return command.exitOverride().configureOutput({ outputError: () => {} });
}

/** `error: unknown option '--jsn'\n(Did you mean --json?)` of commander, in our words. */
function asUsageError(error: unknown): unknown {
  if (!(error instanceof CommanderError)) return error;
  const [problem = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
  const near = suggestion?.replace(/^\(Did you mean (.*)\)$/, 'did you mean $1');
  return usageError(problem, near ?? 'add --help to see how the command is used');
}
