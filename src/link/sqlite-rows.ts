/** The gateway's state as rows of the state file. */
import { createHash } from 'node:crypto';
import { parseKeyBytes, PrivateKey } from '../noise/keys.ts';
import { canonicalText, type MachineRecord, type PendingRecord, type StoreChange } from './records.ts';
import { damaged, type SqliteFile, type SqlStatement } from './sqlite.ts';
import type { StoreContents, TokenUse } from './store.ts';
import type { TokenRecord } from './tokens.ts';

type Kind = 'machine' | 'pending' | 'token' | 'denied' | 'endpoint' | 'setting';

interface Row {
  readonly id: string;
  readonly body: string;
}

export class StateRows {
  readonly #file: SqliteFile;
  readonly #put: SqlStatement;
  readonly #delete: SqlStatement;
  readonly #putUse: SqlStatement;
  readonly #deleteUsesOfToken: SqlStatement;
  readonly #deleteUsesOfSubject: SqlStatement;
  readonly #tokensOfSubject: SqlStatement;

  constructor(file: SqliteFile) {
    this.#file = file;
    this.#put = file.prepare('INSERT OR REPLACE INTO records (kind, id, body, sum) VALUES (?, ?, ?, ?)');
    this.#delete = file.prepare('DELETE FROM records WHERE kind = ? AND id = ?');
    this.#putUse = file.prepare('INSERT OR REPLACE INTO token_uses (token, subject, sum) VALUES (?, ?, ?)');
    this.#deleteUsesOfToken = file.prepare('DELETE FROM token_uses WHERE token = ?');
    this.#deleteUsesOfSubject = file.prepare('DELETE FROM token_uses WHERE subject = ?');
    this.#tokensOfSubject = file.prepare('SELECT token FROM token_uses WHERE subject = ?');
  }

  /** Inside a transaction; the rules have been checked. */
  write(change: StoreChange): void {
    switch (change.kind) {
      case 'put_machine':
        return this.#putRecord('machine', change.record.id, canonicalText(change.record));
      case 'delete_machine':
        return this.#delete.run(['machine', change.before.id]);
      case 'put_pending':
        return this.#putRecord('pending', change.record.publicKey, canonicalText(change.record));
      case 'delete_pending':
        return this.#delete.run(['pending', change.before.publicKey]);
      case 'put_token':
        return this.#putRecord('token', change.record.token, canonicalText(change.record));
      case 'delete_token':
        this.#deleteUsesOfToken.run([change.before.token]);
        return this.#delete.run(['token', change.before.token]);
      case 'set_default_token':
        return this.#putRecord('setting', 'default_token', change.token);
      case 'set_server_key':
        return this.#putRecord('setting', 'server_key', change.privateKey.exposeBase64());
      case 'use_token':
        return this.#use(change.token, change.subject);
      case 'release_uses':
        return this.#deleteUsesOfSubject.run([change.subject]);
      case 'rename_uses': {
        const tokens = this.#tokensOfSubject.all([change.from]);
        this.#deleteUsesOfSubject.run([change.from]);
        for (const { token } of tokens) this.#use(String(token), change.to);
        return;
      }
      case 'deny':
        return this.#putRecord('denied', change.subject, '');
      case 'allow':
        return this.#delete.run(['denied', change.subject]);
      case 'put_endpoint':
        if (change.endpoint === undefined) return this.#delete.run(['endpoint', change.publicKey]);
        return this.#putRecord('endpoint', change.publicKey, change.endpoint);
    }
  }

  /** Throws AppError that names the row when its contents are not what was written. */
  read(): StoreContents {
    const settings = new Map(this.#rows('setting').map(({ id, body }) => [id, body]));
    return {
      serverKey: this.#serverKey(settings.get('server_key')),
      defaultToken: settings.get('default_token'),
      tokens: this.#records<TokenRecord>('token'),
      uses: this.#uses(),
      machines: this.#records<MachineRecord>('machine').toSorted((a, b) => a.joinedAtMs - b.joinedAtMs),
      pending: this.#records<PendingRecord>('pending'),
      denied: this.#rows('denied').map(({ id }) => id),
      endpoints: new Map(this.#rows('endpoint').map(({ id, body }) => [id, body])),
    };
  }

  #putRecord(kind: Kind, id: string, body: string): void {
    this.#put.run([kind, id, body, checksum(kind, id, body)]);
  }

  #use(token: string, subject: string): void {
    this.#putUse.run([token, subject, checksum('use', token, subject)]);
  }

  #rows(kind: Kind): Row[] {
    return this.#file
      .prepare('SELECT id, body, sum FROM records WHERE kind = ?')
      .all([kind])
      .map((row) => {
        const [id, body] = [String(row['id']), String(row['body'])];
        if (row['sum'] !== checksum(kind, id, body)) {
          throw damaged(
            this.#file.path,
            `${kind} ${kind === 'token' ? '(hidden)' : id} is not what was written`,
          );
        }
        return { id, body };
      });
  }

  /** The checksum says that the text is one that this program wrote, so its shape is known. */
  #records<T>(kind: Kind): T[] {
    return this.#rows(kind).map(({ body }) => JSON.parse(body) as T);
  }

  #uses(): TokenUse[] {
    const rows = this.#file.prepare('SELECT token, subject, sum FROM token_uses').all([]);
    return rows.map((row) => {
      const [token, subject] = [String(row['token']), String(row['subject'])];
      if (row['sum'] !== checksum('use', token, subject)) {
        throw damaged(this.#file.path, `the use of a token by ${subject} is not what was written`);
      }
      return { token, subject };
    });
  }

  #serverKey(text: string | undefined): PrivateKey | undefined {
    if (text === undefined) return undefined;
    const bytes = parseKeyBytes(text);
    if (!bytes) throw damaged(this.#file.path, 'the server key is not a key');
    const key = new PrivateKey(bytes);
    bytes.fill(0);
    return key;
  }
}

function checksum(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts), 'utf8').digest('hex').slice(0, 16);
}
