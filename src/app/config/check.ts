/** `culvert check` for YAML files: everything that is wrong with one, or what is in effect with it. */
import { AppError } from '../../core/errors.ts';
import { type ConfigDocument, readDocuments } from '../../link/config-documents.ts';
import { redactLinkSecrets } from '../../link/siderolink-config.ts';
import { checkSettings, type Effective, shown } from './effective.ts';
import {
  documentOf,
  type Environment,
  givenByDocument,
  givenByEnvironment,
  mergeGivens,
  unknownVariables,
} from './given.ts';
import { type ConfigKind, JOIN_CONFIG, SERVE_CONFIG } from './kinds.ts';
import type { SettingTable } from './setting.ts';
import { formatEntry } from './yaml-text.ts';

/** Also the JSON of `culvert check --json`: members are added, never renamed. */
export interface ConfigCheck {
  readonly file: string;
  readonly problems: readonly { readonly message: string; readonly hint?: string }[];
  readonly warnings: readonly string[];
  /** What is in effect; empty when there are problems. */
  readonly documents: readonly ShownDocument[];
}

export interface ShownDocument {
  readonly kind: string;
  /** `culvert COMMAND` is told by it. */
  readonly command: string;
  readonly settings: readonly ShownSetting[];
}

export interface ShownSetting {
  readonly key: string;
  /** Secrets are hidden. */
  readonly value: string | readonly string[];
  /** `default`, the variable, or `file:line`. */
  readonly from: string;
}

/** `name`: of the file, for messages. */
export function checkConfig(text: string, name: string, env: Environment): ConfigCheck {
  const ours = {
    [SERVE_CONFIG.kind]: Object.keys(SERVE_CONFIG.table),
    [JOIN_CONFIG.kind]: Object.keys(JOIN_CONFIG.table),
  };
  const { documents, problems } = readDocuments(text, name, { ...ours, ...JOIN_CONFIG.others });
  const checker = new Checker(documents, name, env, [...problems]);
  const shownDocuments = [...checker.check(SERVE_CONFIG), ...checker.check(JOIN_CONFIG)];
  if (documents.length === 0 && checker.problems.length === 0) {
    checker.problems.push(
      new AppError('config', `${name}: no document of a kind that is known here`, {
        hint: `kind: ${SERVE_CONFIG.kind} or ${JOIN_CONFIG.kind}; examples/config.yaml has both`,
      }),
    );
  }
  return {
    file: name,
    // A variable that is wrong may be so for both commands.
    problems: [...new Map(checker.problems.map((problem) => [problem.message, problem])).values()].map(
      ({ message, hint }) => ({
        message,
        ...(hint === undefined ? {} : { hint }),
      }),
    ),
    warnings: checker.warnings,
    documents: checker.problems.length > 0 ? [] : shownDocuments,
  };
}

class Checker {
  readonly #documents: readonly ConfigDocument[];
  readonly #name: string;
  readonly #env: Environment;
  readonly problems: AppError[];
  readonly warnings: string[] = [];

  constructor(documents: readonly ConfigDocument[], name: string, env: Environment, problems: AppError[]) {
    this.#documents = documents;
    this.#name = name;
    this.#env = env;
    this.problems = problems;
  }

  check<Table extends SettingTable>(kind: ConfigKind<Table>): ShownDocument[] {
    const others = this.#documents.filter((document) => Object.hasOwn(kind.others, document.kind));
    const own = this.#attempt(() => documentOf(this.#documents, kind.kind));
    if (!own && others.length === 0) return [];
    this.warnings.push(...unknownVariables(this.#env, kind.table, kind.command));
    const givens = mergeGivens(
      givenByEnvironment(this.#env, kind.table),
      own ? givenByDocument(own) : new Map(),
    );
    const { effective, problems } = checkSettings(kind.table, givens);
    this.problems.push(...problems);
    if (!effective) return [];
    this.#attempt(() => kind.check(effective, this.#documents, this.#name));
    return [showEffective(kind, effective), ...others.map((document) => showOther(document, kind.command))];
  }

  #attempt<Result>(task: () => Result): Result | undefined {
    try {
      return task();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      this.problems.push(error);
      return undefined;
    }
  }
}

function showEffective(
  { kind, command }: { kind: string; command: string },
  effective: Effective<SettingTable>,
): ShownDocument {
  const settings = Object.entries(effective.table).flatMap(([key, { form }]): ShownSetting[] => {
    const texts = shown(effective, key);
    if (texts.length === 0) return [];
    const from = effective.givens.get(key)?.place.replace(`: ${key}`, '') ?? 'default';
    return [{ key, value: form === 'list' ? texts : (texts[0] as string), from }];
  });
  return { kind, command, settings };
}

function showOther({ kind, entries }: ConfigDocument, command: string): ShownDocument {
  const settings = entries.map(({ key, texts, place }) => ({
    key,
    value: key === 'uniqueToken' ? '(hidden)' : redactLinkSecrets(texts.join(', ')),
    from: place,
  }));
  return { kind, command, settings };
}

/** YAML again, with a comment where each value comes from. */
export function formatConfigCheck({ documents }: ConfigCheck): string {
  return documents
    .map(({ kind, command, settings }) => {
      const lines = settings.map(({ key, value, from }) => [formatEntry(key, value), from] as const);
      const width = Math.max(0, ...lines.map(([line]) => line.length));
      return [
        `# culvert ${command}`,
        'apiVersion: v1alpha1',
        `kind: ${kind}`,
        ...lines.map(([line, from]) => `${line.padEnd(width)}  # ${from}`),
        '',
      ].join('\n');
    })
    .join('---\n');
}
