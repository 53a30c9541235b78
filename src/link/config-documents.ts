/** YAML files of several documents in the manner of Talos: `apiVersion`, `kind`, and one level of keys. */
import { isMap, isScalar, isSeq, LineCounter, parseAllDocuments, type Document } from 'yaml';
import { type AppError, configError, nearest } from '../core/errors.ts';

export interface ConfigEntry {
  readonly key: string;
  /** `file:line`. */
  readonly place: string;
  /** As written, each item of a list for itself. A number, true or false is the text that stands for it. */
  readonly texts: readonly string[];
  readonly form: 'text' | 'number or boolean' | 'list';
}

export interface ConfigDocument {
  readonly kind: string;
  /** `file:line`. */
  readonly place: string;
  /** In order; those without a value are left out. */
  readonly entries: readonly ConfigEntry[];
}

/** The keys that a kind of document may have. */
export type DocumentKinds = Readonly<Record<string, readonly string[]>>;

const API_VERSION = 'v1alpha1';

/** Documents of other kinds are left alone, so a whole Talos configuration may stand in the same file. */
export function readDocuments(
  text: string,
  file: string,
  kinds: DocumentKinds,
): { documents: ConfigDocument[]; problems: AppError[] } {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, strict: true, prettyErrors: false });
  const reader = new Reader((offset) => `${file}:${lines.linePos(offset ?? 0).line}`, kinds);
  const documents = ('empty' in parsed ? [] : parsed)
    .map((document) => reader.read(document))
    .filter((document) => document !== undefined);
  return { documents, problems: reader.problems };
}

class Reader {
  readonly #at: (offset: number | undefined) => string;
  readonly #kinds: DocumentKinds;
  readonly problems: AppError[] = [];

  constructor(at: (offset: number | undefined) => string, kinds: DocumentKinds) {
    this.#at = at;
    this.#kinds = kinds;
  }

  read(document: Document.Parsed): ConfigDocument | undefined {
    for (const { pos, message } of document.errors) {
      this.problems.push(configError(this.#at(pos[0]), `not YAML: ${message.split('\n')[0]}`));
    }
    const { contents } = document;
    if (document.errors.length > 0 || !isMap(contents)) return undefined;
    const kind = document.get('kind');
    const keys = typeof kind === 'string' && Object.hasOwn(this.#kinds, kind) ? this.#kinds[kind] : undefined;
    if (typeof kind !== 'string') return undefined;
    const place = this.#at(contents.range?.[0]);
    if (keys === undefined) {
      // A slip of the hand would be taken for somebody else's document.
      const near = nearest(kind, Object.keys(this.#kinds));
      if (near !== undefined) {
        this.problems.push(configError(place, `unknown kind "${kind}"`, `did you mean ${near}?`));
      }
      return undefined;
    }
    const version = document.get('apiVersion');
    if (version !== API_VERSION) {
      this.problems.push(
        configError(place, `${kind}: apiVersion must be ${API_VERSION}, got ${String(version)}`),
      );
    }
    const entries = contents.items.flatMap(({ key, value }) => {
      const name = String(key);
      return name === 'kind' || name === 'apiVersion'
        ? []
        : this.#entry(name, this.#at((key as { range?: readonly number[] }).range?.[0]), value, keys);
    });
    return { kind, place, entries };
  }

  #entry(key: string, place: string, value: unknown, keys: readonly string[]): ConfigEntry[] {
    if (!keys.includes(key)) {
      const near = nearest(key, keys);
      this.problems.push(
        configError(place, `unknown key "${key}"`, near === undefined ? undefined : `did you mean ${near}?`),
      );
      return [];
    }
    if (value === null || (isScalar(value) && value.value === null)) return [];
    if (isScalar(value)) {
      const isText = typeof value.value === 'string';
      return [{ key, place, texts: [textOf(value)], form: isText ? 'text' : 'number or boolean' }];
    }
    if (isSeq(value) && value.items.every((item) => isScalar(item) && item.value !== null)) {
      return [{ key, place, texts: value.items.map(textOf), form: 'list' }];
    }
    this.problems.push(configError(place, `${key} must be one value, or a list of values`));
    return [];
  }
}

function textOf(scalar: unknown): string {
  const { value, source } = scalar as { readonly value: unknown; readonly source?: string };
  return typeof value === 'string' ? value : (source ?? String(value));
}
