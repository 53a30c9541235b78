/** Files that others can read although there are secrets in them. */
import { statSync } from 'node:fs';
import type { ConfigDocument } from '../../link/config-documents.ts';
import { redactLinkSecrets } from '../../link/siderolink-config.ts';
import type { SettingTable } from './setting.ts';

/** A sentence for the user, or undefined. `tables`: of the kinds that are ours. */
export function exposedSecret(
  path: string,
  documents: readonly ConfigDocument[],
  tables: Readonly<Record<string, SettingTable>>,
): string | undefined {
  const secrets = documents.flatMap(({ kind, entries }) =>
    entries
      .filter(({ key, texts }) => {
        const redact = tables[kind]?.[key]?.redact ?? redactLinkSecrets;
        return key === 'uniqueToken' || texts.some((text) => redact(text) !== text);
      })
      .map(({ key }) => key),
  );
  if (secrets.length === 0 || ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) === 0)
    return undefined;
  return `${path}: others can read ${[...new Set(secrets)].join(', ')} in it; chmod 600 it`;
}
