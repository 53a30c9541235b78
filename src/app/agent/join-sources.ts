/** Where a machine learns which gateway to join: the command line, a configuration file, the kernel's command line. */
import { readFileSync } from 'node:fs';
import { AppError, configError, usageError } from '../../core/errors.ts';
import { isEndpoint } from '../../link/endpoints.ts';
import {
  chooseJoinSource,
  type JoinSource,
  kernelArgument,
  type LinkDocuments,
  parseLinkDocuments,
} from '../../link/siderolink-config.ts';
import type { JoinFlags } from './join-settings.ts';

const KERNEL_COMMAND_LINE = '/proc/cmdline';

/** In place of a target: the usual port of the gateway's overlay address. */
export const ON_GATEWAY = 'gateway';

export interface JoinInputs {
  readonly source: JoinSource;
  /** `host:port` or ON_GATEWAY; undefined: events are not sent. */
  readonly eventSink: string | undefined;
  /** `tcp://host:port`, `udp://host:port` or ON_GATEWAY; empty: kernel log lines are not sent. */
  readonly kernelLogs: readonly string[];
}

export type ReadText = (path: string) => string;

/**
 * Reads what `url` and the flags name. With neither a URL nor a file the kernel's command line is read, as Talos does.
 * Throws configuration and usage errors, and those of reading files.
 */
export function readJoinInputs(
  url: string | undefined,
  flags: Pick<JoinFlags, 'config' | 'kernelArgs' | 'kmsg' | 'events'>,
  readText: ReadText = readFile,
): JoinInputs {
  const kernelFile =
    flags.kernelArgs === true || (flags.kernelArgs === undefined && url === undefined)
      ? KERNEL_COMMAND_LINE
      : flags.kernelArgs;
  const kernelCommandLine = kernelFile === undefined ? undefined : readText(kernelFile).trim();
  const documents =
    flags.config === undefined ? undefined : parseLinkDocuments(readText(flags.config), flags.config);
  const source = chooseJoinSource({ argument: url, document: documents?.sideroLink, kernelCommandLine });
  if (!source) throw noSource(flags, kernelFile);
  return {
    source,
    eventSink: eventSinkOf(flags.events, documents, kernelCommandLine ?? ''),
    kernelLogs: kernelLogsOf(flags.kmsg, documents, kernelCommandLine ?? ''),
  };
}

function noSource({ config }: Pick<JoinFlags, 'config'>, kernelFile: string | undefined): AppError {
  const searched = [
    ...(config === undefined ? [] : [`${config} has no SideroLinkConfig`]),
    ...(kernelFile === undefined ? [] : [`${kernelFile} has no siderolink.api=`]),
  ];
  return usageError(
    `no gateway to join: ${searched.join(', ')}`,
    'give the URL that the gateway printed: culvert join "https://gateway.example/?jointoken=TOKEN"',
  );
}

function eventSinkOf(
  flag: string | true | undefined,
  documents: LinkDocuments | undefined,
  kernelCommandLine: string,
): string | undefined {
  if (typeof flag === 'string') return checkedEndpoint(flag, '--events');
  const argument = kernelArgument(kernelCommandLine, 'talos.events.sink') || undefined;
  const configured =
    documents?.eventSink ?? (argument && checkedEndpoint(argument, 'kernel argument talos.events.sink'));
  return configured ?? (flag === true ? ON_GATEWAY : undefined);
}

function kernelLogsOf(
  flag: string | true | undefined,
  documents: LinkDocuments | undefined,
  kernelCommandLine: string,
): string[] {
  if (typeof flag === 'string') return [checkedLogUrl(flag, '--kmsg')];
  const argument = kernelArgument(kernelCommandLine, 'talos.logging.kernel') || undefined;
  const configured = [
    ...(argument === undefined ? [] : [checkedLogUrl(argument, 'kernel argument talos.logging.kernel')]),
    ...(documents?.kernelLogs ?? []),
  ];
  if (configured.length > 0) return [...new Set(configured)];
  return flag === true ? [ON_GATEWAY] : [];
}

function checkedEndpoint(text: string, place: string): string {
  if (!isEndpoint(text))
    throw configError(place, `expected HOST:PORT, got "${text}"`, 'write IPv6 addresses in brackets');
  return text;
}

function checkedLogUrl(text: string, place: string): string {
  const match = /^(tcp|udp):\/\/([^/?#]+)\/?$/.exec(text);
  if (!match || !isEndpoint(match[2] as string))
    throw configError(place, `expected tcp://HOST:PORT or udp://HOST:PORT, got "${text}"`);
  return text;
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const kind = code === 'ENOENT' ? 'not_found' : code === 'EACCES' ? 'permission' : 'io';
    throw new AppError(kind, `${path}: ${code ?? message}`, { cause: error });
  }
}
