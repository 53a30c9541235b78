/** Where the settings of a command come from, to be read at its start and again when it reloads. */
import type { Command } from 'commander';
import { configError } from '../../core/errors.ts';
import { type ConfigDocument, type DocumentKinds, readDocuments } from '../../link/config-documents.ts';
import { ownSurroundings } from '../state-directory.ts';
import { type ConfigFile, findConfigFile, readConfigText } from './config-file.ts';
import {
  documentOf,
  type Environment,
  givenByDocument,
  givenByEnvironment,
  givenByFlags,
  type Givens,
  mergeGivens,
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

/** Documents of these kinds in the file. Throws AppError: what is wrong first. */
export function fileDocuments(file: ConfigFile | undefined, kinds: DocumentKinds): readonly ConfigDocument[] {
  if (!file) return [];
  const { documents, problems } = readDocuments(readConfigText(file.path), file.path, kinds);
  if (problems[0]) throw problems[0];
  return documents;
}

/** Flags before environment before the document of this kind. */
export function gather(
  { flags, env }: Sources,
  table: SettingTable,
  documents: readonly ConfigDocument[],
  kind: string,
): Givens {
  const document = documentOf(documents, kind);
  return mergeGivens(flags, givenByEnvironment(env, table), document ? givenByDocument(document) : new Map());
}

export function missingDocument({ path }: ConfigFile, kind: string): Error {
  return configError(path, `has no document of kind ${kind}`, 'examples/config.yaml has one');
}
