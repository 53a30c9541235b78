/** Whether and where a device shows its status page: a flag of `culvert up`, and its twin in the environment. */
import { type Command, Option } from 'commander';
import { type ListenAddress, parseListenAddress } from '../http/listen-address.ts';

/** As the flag or the environment has it; absent = default. */
export interface PageFlag {
  readonly http?: string;
}

/** Undefined when no page is wanted. Throws usage errors. */
export function readPageFlag({ http = '' }: PageFlag): ListenAddress | undefined {
  return http === '' || http === 'none' ? undefined : parseListenAddress(http, 'address of the status page');
}

/** The environment twin of the flag. */
export function pageFlagOf({ CULVERT_HTTP }: Readonly<Record<string, string | undefined>>): PageFlag {
  return CULVERT_HTTP ? { http: CULVERT_HTTP } : {};
}

export function addPageFlag(command: Command): Command {
  return command.addOption(
    new Option(
      '--http <address>',
      'serve a status page there: 127.0.0.1:9587, or a port on loopback; "culvert page" prints its address',
    ).env('CULVERT_HTTP'),
  );
}
