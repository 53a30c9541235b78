/** What operators can look at: of a running gateway, or of the state it left behind. */
import type { Clock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import type { EntryKind, Journal } from '../../link/journal.ts';
import type { MachineRecord, PendingRecord } from '../../link/records.ts';
import type { Registry } from '../../link/registry.ts';
import {
  type EntryView,
  entryView,
  isMember,
  type LiveLookup,
  type MachineView,
  machineView,
  type TokenView,
  tokenView,
} from './admin-views.ts';

export interface AdminReaderParts {
  readonly registry: () => Registry;
  /** What is so at this moment; undefined while the gateway does not run. */
  readonly live: (() => LiveLookup) | undefined;
  readonly journal: Pick<Journal, 'tail'>;
  readonly clock: Clock;
}

/** Shorter beginnings of an id match by accident. */
const MIN_PREFIX = 4;

export class AdminReader {
  readonly #parts: AdminReaderParts;

  constructor(parts: AdminReaderParts) {
    this.#parts = parts;
  }

  /** Members, oldest first, then those that wait. */
  machines(): MachineView[] {
    const { registry, live, clock } = this.#parts;
    const known = registry();
    const lookup = live?.();
    return [...known.machines(), ...known.pendingRecords()].map((record) =>
      machineView(record, lookup, known, clock.wall()),
    );
  }

  machine(text: string): MachineView {
    const { registry, live, clock } = this.#parts;
    return machineView(this.find(text), live?.(), registry(), clock.wall());
  }

  tokens(): TokenView[] {
    const registry = this.#parts.registry();
    return registry.tokenRecords().map((record) => tokenView(record, registry, this.#parts.clock.wall()));
  }

  /** UUIDs and public keys that are turned away. */
  denied(): readonly string[] {
    return this.#parts.registry().contents().denied;
  }

  /** The newest `count` entries, oldest of them first, only those after the sequence number `after` when given. */
  entries(text: string, kind: EntryKind, count: number, after?: number): EntryView[] {
    return this.#parts.journal.tail(this.member(text).id, kind, count, after).map(entryView);
  }

  /**
   * By id, UUID, overlay address or public key, or by the beginning of an id or key that nobody else's has. Throws
   * AppError `not_found`, or `usage` when several match.
   */
  find(text: string): MachineRecord | PendingRecord {
    const registry = this.#parts.registry();
    const all = [...registry.machines(), ...registry.pendingRecords()];
    const exact = all.filter(
      (record) =>
        record.publicKey === text ||
        record.nodeAddress === text ||
        nameOf(record) === text.toLowerCase() ||
        nameOf(record) === text,
    );
    const [found, ...others] =
      exact.length > 0 || text.length < MIN_PREFIX
        ? exact
        : all.filter(
            (record) => nameOf(record).startsWith(text.toLowerCase()) || record.publicKey.startsWith(text),
          );
    if (!found) {
      throw new AppError('not_found', `no machine is called ${JSON.stringify(text)}`, {
        hint: 'culvert machines ls shows all; the beginning of an id is enough',
      });
    }
    if (others.length > 0) {
      const keys = [found, ...others].map((record) => `${nameOf(record)} with key ${record.publicKey}`);
      throw new AppError('usage', `${JSON.stringify(text)} is the name of ${keys.length} machines`, {
        hint: `name one by its key: ${keys.join(', ')}`,
      });
    }
    return found;
  }

  /** As `find`, and it has been accepted. */
  member(text: string): MachineRecord {
    const record = this.find(text);
    if (isMember(record)) return record;
    throw new AppError('usage', `machine ${record.uuid} waits for acceptance`, {
      hint: `culvert machines accept ${record.uuid}`,
    });
  }
}

function nameOf(record: MachineRecord | PendingRecord): string {
  return isMember(record) ? record.id : record.uuid;
}
