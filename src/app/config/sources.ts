/** Where the settings of a command come from, to be read at its start and again when it reloads. */
import type { Command } from 'commander';
import { configError } from '../../core/errors.ts';
import { type ConfigDocument, type DocumentKinds, readDocuments } from '../../link/config-documents.ts';
import { ownSurroundings } from '../state-directory.ts';
import { type ConfigFile, findConfigFile, readConfigText } from './config-file.ts';
import { type Effective, readSettings } from './effective.ts';
import { exposedSecret } from './exposed.ts';
import {
  documentOf,
  type Environment,
  givenByDocument,
  givenByEnvironment,
  givenByFlags,
  type Givens,
  mergeGivens,
  unknownVariables,
} from './given.ts';
import type { SettingTable } from './setting.ts';

export interface Sources {
  readonly flags: Givens;
  readonly env: Environment;
  /** Looked for anew at each reading. */
  readonly file: () => ConfigFile | undefined;
}

/** Of this process. `config` is the value of `--config`. */
export function ownSources(command: Command, table: SettingTable, config: string | undefined): Sources {
  return {
    flags: givenByFlags(command, table),
    env: process.env,
    file: () => findConfigFile(config, ownSurroundings()),
  };
}

export interface CommandSettings<Table extends SettingTable> {
  /** `culvert COMMAND` is told by them. */
  readonly command: string;
  /** Of the document with them. */
  readonly kind: string;
  readonly table: Table;
  /** Kinds of Talos that say something to the command, too, and their keys. */
  readonly others: DocumentKinds;
}

export interface ReadSources<Table extends SettingTable> {
  readonly settings: Effective<Table>;
  /** Of its kind and the others. */
  readonly documents: readonly ConfigDocument[];
  readonly file: ConfigFile | undefined;
}

/**
 * Flags before environment before file, as they are now. Throws AppError: what is wrong first. `warn` hears of a file that
 * others should not read and of variables that are none.
 */
export function readSources<Table extends SettingTable>(
  { flags, env, file: find }: Sources,
  { command, kind, table, others }: CommandSettings<Table>,
  warn?: (text: string) => void,
): ReadSources<Table> {
  const file = find();
  const documents = fileDocuments(file, { [kind]: Object.keys(table), ...others });
  if (file?.isNamed && documents.length === 0)
    throw configError(file.path, `has no document of kind ${kind}`, 'examples/config.yaml has one');
  if (warn) {
    const exposed = file && exposedSecret(file.path, documents, { [kind]: table });
    if (exposed !== undefined) warn(exposed);
    for (const sentence of unknownVariables(env, table, command)) warn(sentence);
  }
  const own = documentOf(documents, kind);
  const givens = mergeGivens(flags, givenByEnvironment(env, table), own ? givenByDocument(own) : new Map());
  return { settings: readSettings(table, givens), documents, file };
}

function fileDocuments(file: ConfigFile | undefined, kinds: DocumentKinds): readonly ConfigDocument[] {
  if (!file) return [];
  const { documents, problems } = readDocuments(readConfigText(file.path), file.path, kinds);
  if (problems[0]) throw problems[0];
  return documents;
}
