import type { Command } from 'commander';
import type { EntryKind } from '../../link/journal.ts';
import { oneOf, wholeNumber } from '../flag-values.ts';
import { MAX_ENTRIES } from '../gateway/admin-operations.ts';
import { type EntryView, TUNNEL_CHOICES } from '../gateway/admin-views.ts';
import { formatEntry, formatMachine, formatMachines } from '../gateway/machine-text.ts';
import { addAdminFlags, adminClient, type AdminFlags, askOrRead, print, toText } from '../gateway/session.ts';
import { wantsColour } from '../show-values.ts';
import { addWatchFlag, watch, type WatchFlags } from '../watch.ts';

const MACHINE = 'id, overlay address or public key, or the beginning of an id or key';

/** `culvert machines ls|show|rm|accept|deny|tunnel|reset-token|logs|events`. */
export function configureMachines(command: Command): void {
  command.usage('COMMAND [options]').addHelpText(
    'after',
    `
Examples:
  culvert machines ls
  culvert machines ls --watch           a screen that follows
  culvert machines show 6f2c            the beginning of an id is enough
  culvert machines accept 6f2c          lets a machine in that waits (serve --accept manual)
  culvert machines tunnel 6f2c on       WireGuard inside the gRPC stream, whatever the machine asks for
  culvert machines logs 6f2c --follow
  culvert machines ls --json

They talk to the running gateway; ls, show, logs and events also read what it stored when it is down. On a terminal
the age of a handshake is green up to 180 s, yellow up to 275 s and red beyond. Environment: NO_COLOR`,
  );
  const add = (name: string, summary: string): Command =>
    addAdminFlags(command.command(name).summary(summary).description(summary));

  addWatchFlag(add('ls', 'list machines and those that wait')).action(
    async (flags: AdminFlags & WatchFlags) => {
      const list = async (say?: (line: string) => void) =>
        toText(
          flags,
          await askOrRead(
            flags,
            (client) => client.call('machines.list', {}),
            (reader) => ({ machines: reader.machines(), denied: reader.denied() }),
            say,
          ),
          (value) => formatMachines(value, Date.now(), isColoured()),
        );
      if (flags.watch === undefined) {
        process.stdout.write(await list());
        return undefined;
      }
      return watch(flags.watch, async () => {
        let notes = '';
        const text = await list((line) => (notes += line));
        return notes + text;
      });
    },
  );

  add('show', 'show everything about a machine')
    .argument('<machine>', MACHINE)
    .action(async (machine: string, flags: AdminFlags) => {
      const view = await askOrRead(
        flags,
        (client) => client.call('machines.show', { machine }),
        (reader) => reader.machine(machine),
      );
      print(flags, view, (value) => formatMachine(value, Date.now(), isColoured()));
    });

  add('rm', 'forget a machine; with a valid token it may join again as a new one')
    .argument('<machine>', MACHINE)
    .action(async (machine: string, flags: AdminFlags) => {
      const view = await adminClient(flags).call('machines.remove', { machine });
      print(flags, view, ({ id }) => `removed ${id}\n`);
    });

  add('accept', 'let a waiting machine in, or take back a deny')
    .argument('<machine>', `${MACHINE}; or what was denied`)
    .action(async (machine: string, flags: AdminFlags) => {
      const view = await adminClient(flags).call('machines.accept', { machine });
      print(flags, view, (value) =>
        value ? `accepted ${value.id}, ${value.address}\n` : `${machine} may ask again\n`,
      );
    });

  add('deny', 'turn a machine away for good, and remove it if it has joined')
    .argument('<machine>', MACHINE)
    .action(async (machine: string, flags: AdminFlags) => {
      const result = await adminClient(flags).call('machines.deny', { machine });
      print(
        flags,
        result,
        ({ denied }) => `denied ${denied}; "culvert machines accept ${denied}" takes it back\n`,
      );
    });

  add('tunnel', 'choose UDP or the gRPC tunnel for a machine, from its next Provision on')
    .argument('<machine>', MACHINE)
    .argument('<choice>', 'on, off, or auto: what the machine asks for')
    .action(async (machine: string, choice: string, flags: AdminFlags) => {
      const tunnel = oneOf('tunnel', choice, TUNNEL_CHOICES);
      const view = await adminClient(flags).call('machines.tunnel', { machine, tunnel });
      print(flags, view, ({ id }) => `tunnel ${tunnel} for ${id}, from its next Provision on\n`);
    });

  add('reset-token', 'let a machine come back with another unique token, for instance after it was wiped')
    .argument('<machine>', MACHINE)
    .action(async (machine: string, flags: AdminFlags) => {
      const view = await adminClient(flags).call('machines.reset-token', { machine });
      print(flags, view, ({ id }) => `${id} may come with another unique token\n`);
    });

  addEntries(add('logs', 'print kernel log lines of a machine'), 'log');
  addEntries(add('events', 'print events of a machine'), 'event');
}

const isColoured = (): boolean => wantsColour(process.env, process.stdout.isTTY);

interface EntryFlags extends AdminFlags {
  readonly follow?: true;
  readonly lines: string;
}

function addEntries(command: Command, kind: EntryKind): void {
  command
    .argument('<machine>', MACHINE)
    .option('-f, --follow', 'go on with what comes')
    .option('-n, --lines <n>', 'the newest n', '100')
    .action(async (machine: string, flags: EntryFlags) => {
      const count = wholeNumber('--lines', flags.lines, 0, MAX_ENTRIES);
      const write = (entry: EntryView) =>
        process.stdout.write(flags.json === true ? `${JSON.stringify(entry)}\n` : formatEntry(entry));
      if (flags.follow === true) {
        for await (const entry of adminClient(flags).follow({ machine, kind, count })) write(entry);
        return;
      }
      const entries = await askOrRead(
        flags,
        (client) => client.call('machines.entries', { machine, kind, count }),
        (reader) => reader.entries(machine, kind, count),
      );
      for (const entry of entries) write(entry);
    });
}
