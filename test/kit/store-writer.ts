// A process to be killed: joins machines one after the other and prints the id of each one that was acknowledged.
// Arguments: state directory, number of the first machine.
import { writeSync } from 'node:fs';
import { SqliteStore } from '../../src/link/sqlite-store.ts';
import { machineRecord, tokenRecord } from '../contracts/store.ts';

const [directory = '', first = '0'] = process.argv.slice(2);
const store = SqliteStore.open(directory);
await store.commit([{ kind: 'put_token', record: tokenRecord('t'), before: undefined }]);
for (let n = Number(first); ; n++) {
  const id = String(n);
  const conflict = await store.commit([
    { kind: 'put_machine', record: machineRecord(id), before: undefined },
    { kind: 'use_token', token: 't', subject: `machine:${id}` },
  ]);
  if (conflict !== undefined) throw new Error(`machine ${id}: ${conflict}`);
  acknowledge(`${id}\n`);
}

/** At once and not through a stream's buffer; the pipe does not block. */
function acknowledge(line: string): void {
  for (;;) {
    try {
      writeSync(1, line);
      return;
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'EAGAIN') throw error;
    }
  }
}
