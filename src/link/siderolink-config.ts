/**
 * The documents of a Talos machine configuration that concern the link, and where the join URL comes from: an argument,
 * a document, the kernel command line.
 */
import { configError } from '../core/errors.ts';
import {
  type ConfigDocument,
  type ConfigEntry,
  type DocumentKinds,
  readDocuments,
} from './config-documents.ts';
import { type JoinUrl, parseJoinUrl, redactJoinUrl } from './join-url.ts';

export interface SideroLinkConfig {
  /** As written; with the token. */
  readonly apiUrl: string;
  readonly url: JoinUrl;
  /** JSON, see unique-token.ts. Secret. */
  readonly uniqueToken: string | undefined;
}

export interface LinkDocuments {
  readonly sideroLink: SideroLinkConfig | undefined;
  /** `host:port` of EventSinkConfig. */
  readonly eventSink: string | undefined;
  /** Targets of all KmsgLogConfig documents, each once, in order. */
  readonly kernelLogs: readonly string[];
}

export const LINK_DOCUMENT_KEYS = {
  SideroLinkConfig: ['apiUrl', 'uniqueToken'],
  EventSinkConfig: ['endpoint'],
  KmsgLogConfig: ['name', 'url'],
} as const satisfies DocumentKinds;

interface LinkDocument {
  readonly kind: string;
  readonly fields: Readonly<Record<string, string>>;
  /** `file:line`. */
  readonly place: string;
}

/** Reads a multi-document YAML text; documents of other kinds are left alone, so a whole Talos config works as it is. */
export function parseLinkDocuments(text: string, file: string): LinkDocuments {
  const { documents, problems } = readDocuments(text, file, LINK_DOCUMENT_KEYS);
  if (problems[0]) throw problems[0];
  return linkDocuments(documents);
}

/** Of documents that were read with LINK_DOCUMENT_KEYS; others are left alone. */
export function linkDocuments(documents: readonly ConfigDocument[]): LinkDocuments {
  const found = documents
    .filter(({ kind }) => Object.hasOwn(LINK_DOCUMENT_KEYS, kind))
    .map(({ kind, place, entries }) => ({ kind, place, fields: Object.fromEntries(entries.map(field)) }));
  return {
    sideroLink: sideroLinkOf(single(found, 'SideroLinkConfig')),
    eventSink: eventSinkOf(single(found, 'EventSinkConfig')),
    kernelLogs: kernelLogsOf(found.filter(({ kind }) => kind === 'KmsgLogConfig')),
  };
}

function field({ key, place, texts, form }: ConfigEntry): [string, string] {
  if (form !== 'text') throw configError(place, `${key} must be a text`);
  return [key, texts[0] as string];
}

function single(documents: readonly LinkDocument[], kind: string): LinkDocument | undefined {
  const [first, second] = documents.filter((document) => document.kind === kind);
  if (second) throw configError(second.place, `duplicate document: ${kind}/`);
  return first;
}

function sideroLinkOf(document: LinkDocument | undefined): SideroLinkConfig | undefined {
  if (!document) return undefined;
  const apiUrl = document.fields['apiUrl'] ?? '';
  const { place } = document;
  if (apiUrl === '') throw configError(place, 'apiUrl is required');
  // Without a scheme a kernel argument means grpc://, but a document is refused.
  if (!/^(?:https|grpc):\/\//i.test(apiUrl)) {
    throw configError(place, 'apiUrl scheme must be https:// or grpc://', 'put the scheme in front');
  }
  return {
    apiUrl,
    url: parseJoinUrl(apiUrl, `${place}: apiUrl`),
    uniqueToken: document.fields['uniqueToken'] || undefined,
  };
}

function eventSinkOf(document: LinkDocument | undefined): string | undefined {
  if (!document) return undefined;
  const endpoint = document.fields['endpoint'] ?? '';
  if (!/:\d{1,5}$/.test(endpoint)) {
    throw configError(document.place, `endpoint must be host:port, got "${endpoint}"`);
  }
  return endpoint;
}

function kernelLogsOf(documents: readonly LinkDocument[]): readonly string[] {
  const urls = documents.map(({ fields, place }) => {
    if (!fields['name']) throw configError(place, 'name is required');
    const url = fields['url'] ?? '';
    if (!/^(?:tcp|udp):\/\/[^/?#]+:\d{1,5}\/?$/.test(url)) {
      throw configError(place, `url must be tcp://host:port or udp://host:port, got "${url}"`);
    }
    return url;
  });
  return [...new Set(urls)];
}

/** The first value of `name=` on a kernel command line; values may be quoted whole or in part. */
export function kernelArgument(commandLine: string, name: string): string | undefined {
  for (const [word] of commandLine.matchAll(/(?:[^\s"]|"[^"]*"?)+/g)) {
    const plain = word.replaceAll('"', '');
    if (plain.startsWith(`${name}=`)) return plain.slice(name.length + 1);
  }
  return undefined;
}

export interface JoinSources {
  /** Given on the command line of this program. */
  readonly argument?: string | undefined;
  readonly document?: SideroLinkConfig | undefined;
  /** The text of /proc/cmdline. */
  readonly kernelCommandLine?: string | undefined;
}

export interface JoinSource {
  readonly from: 'argument' | 'document' | 'kernel';
  readonly url: JoinUrl;
  readonly uniqueToken: string | undefined;
}

/** The argument wins over the document, the document over the kernel command line. Undefined when none names a URL. */
export function chooseJoinSource(sources: JoinSources): JoinSource | undefined {
  const uniqueToken = sources.document?.uniqueToken;
  if (sources.argument !== undefined) {
    return { from: 'argument', url: parseJoinUrl(sources.argument, 'join URL'), uniqueToken };
  }
  if (sources.document) return { from: 'document', url: sources.document.url, uniqueToken };
  const argument = kernelArgument(sources.kernelCommandLine ?? '', 'siderolink.api');
  if (argument === undefined || argument === '') return undefined;
  return { from: 'kernel', url: parseJoinUrl(argument, 'kernel argument siderolink.api'), uniqueToken };
}

/** A configuration text or command line fit for logs and terminals: quoted, plain and block values are hidden. */
export function redactLinkSecrets(text: string): string {
  return redactJoinUrl(text)
    .replace(/("?uniqueToken"?\s*:[ \t]*)(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')/g, '$1(hidden)')
    .replace(
      /^([ \t]*)(uniqueToken[ \t]*:[ \t]*)(?!\(hidden\))[^\n]*(?:\n\1[ \t]+[^\n]*)*/gm,
      '$1$2(hidden)',
    );
}
