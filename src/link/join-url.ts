/**
 * The join URL, `siderolink.api=` on a kernel command line or `apiUrl` in a document:
 * `https://host:port/?jointoken=…&grpc_tunnel=true`. Read as Talos Linux reads it; where Talos would silently do
 * something else than the text says, this parser refuses and says what to write instead.
 */
import { isIPv6 } from 'node:net';
import { configError, nearest } from '../core/errors.ts';
import { parseAddress } from '../core/ip.ts';

export interface JoinUrl {
  /** `grpc://`: HTTP/2 without TLS. */
  readonly isPlaintext: boolean;
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Secret. */
  readonly joinToken: string | undefined;
  /** `grpc_tunnel`: ask for WireGuard inside the gRPC stream. */
  readonly wantsTunnel: boolean;
}

const HTTPS_PORT = 443;

/** `place` is put before error messages: a flag, `siderolink.api`, or file and line. */
export function parseJoinUrl(text: string, place: string): JoinUrl {
  const { isPlaintext, host, port, values, fail } = parseGatewayUrl(text, place, {
    parameters: ['jointoken', 'grpc_tunnel'],
    token: 'jointoken',
    example: EXAMPLE,
  });
  const joinToken = values.get('jointoken');
  return {
    isPlaintext,
    host,
    port,
    joinToken: joinToken === '' ? undefined : joinToken,
    wantsTunnel: readTunnel(values.get('grpc_tunnel'), fail),
  };
}

export interface GatewayUrlForm {
  /** Of the query. */
  readonly parameters: readonly string[];
  /** The one of them that holds the secret. */
  readonly token: string;
  readonly example: string;
}

/** The URL of a gRPC service of ours or of SideroLink's, whatever its query holds. */
export function parseGatewayUrl(
  text: string,
  place: string,
  form: GatewayUrlForm,
): {
  readonly isPlaintext: boolean;
  readonly host: string;
  readonly port: number;
  readonly values: ReadonlyMap<string, string>;
  readonly fail: Fail;
} {
  const fail = (problem: string, hint?: string) => configError(place, problem, hint);
  // Any scheme-like text anywhere counts for Talos, so `host/?x=a://b` would not get its grpc:// there.
  const full = /[A-z]+:\/\//.test(text) ? text : `grpc://${text}`;
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/s.exec(full);
  if (!match || /[\s\p{Cc}]/u.test(full)) throw fail('is not a URL', form.example);
  const scheme = (match[1] as string).toLowerCase();
  if (scheme !== 'https' && scheme !== 'grpc') {
    throw fail(
      `scheme must be https:// or grpc://, got ${scheme}://`,
      scheme === 'http' ? 'write grpc:// for no TLS; Talos takes http:// for TLS' : undefined,
    );
  }
  if (match[3] !== '' && match[3] !== '/') {
    throw fail(`path must be empty, got "${match[3]}"`, form.example);
  }
  if (match[5] !== undefined) throw fail('has a # part, which is not sent', 'write # inside a token as %23');
  const isPlaintext = scheme === 'grpc';
  const { host, port } = splitAuthority(match[2] as string, form, fail);
  if (isPlaintext && port === undefined) {
    throw fail(`${full.split('?')[0]} has no port`, 'name one: without it Talos dials port 443 without TLS');
  }
  return { isPlaintext, host, port: port ?? HTTPS_PORT, values: readQuery(match[4] ?? '', form, fail), fail };
}

const EXAMPLE =
  'write it like https://gateway.example/?jointoken=TOKEN or grpc://10.0.0.1:8090/?jointoken=TOKEN';

type Fail = (problem: string, hint?: string) => Error;

function splitAuthority(
  authority: string,
  { token, example }: GatewayUrlForm,
  fail: Fail,
): { host: string; port: number | undefined } {
  if (authority.includes('@')) throw fail('has a user name or password', `the token goes into ?${token}=`);
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d*))?$/.exec(authority);
  const bracketed = match?.[1];
  const host = bracketed ?? match?.[2] ?? '';
  if (!match || host === '') {
    throw fail(
      authority === '' ? 'has no host' : `host "${authority}" cannot be read`,
      isIPv6(authority) ? `write the IPv6 address in brackets: [${authority}]` : example,
    );
  }
  if (bracketed !== undefined && parseAddress(bracketed)?.length !== 16) {
    throw fail(`[${bracketed}] is not an IPv6 address`);
  }
  if (bracketed === undefined && !/^[A-Za-z0-9._-]+$/.test(host)) throw fail(`"${host}" is not a host name`);
  if (match[3] === undefined || match[3] === '') return { host, port: undefined };
  const port = Number(match[3]);
  if (port < 1 || port > 65_535) throw fail(`port must be 1-65535, got ${match[3]}`);
  return { host, port };
}

function readQuery(query: string, { parameters, token }: GatewayUrlForm, fail: Fail): Map<string, string> {
  const values = new Map<string, string>();
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    if (pair.includes(';'))
      throw fail('has a ; in its query, where Talos drops the parameter', 'write it as %3B');
    const [rawName = '', ...rest] = pair.split('=');
    const name = decodeComponent(rawName);
    const value = decodeComponent(rest.join('='));
    if (name === undefined || value === undefined) {
      throw fail(`query parameter ${name ?? 'name'} has a broken % escape`, 'write a percent sign as %25');
    }
    if (!parameters.includes(name)) {
      const near = /^(?:join)?token$/.test(name) ? token : nearest(name, parameters);
      throw fail(
        `unknown query parameter "${name}"`,
        near === undefined ? `known are ${parameters.join(' and ')}` : `did you mean ${near}?`,
      );
    }
    if (values.has(name))
      throw fail(`query parameter ${name} occurs twice`, 'keep one; Talos takes the first');
    values.set(name, value);
  }
  if (values.get(token)?.includes(' ')) throw fail(`${token} has a space in it`, 'write a plus sign as %2B');
  return values;
}

function readTunnel(value: string | undefined, fail: Fail): boolean {
  switch (value) {
    case 'true':
    case 'y':
      return true;
    case undefined:
    case '':
    case 'false':
    case 'n':
      return false;
    default:
      throw fail(
        `grpc_tunnel must be true or false, got "${value}"`,
        'Talos takes anything but true and y for false',
      );
  }
}

/** Form decoding: + is a space. Undefined for a broken escape or invalid UTF-8. */
function decodeComponent(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}

export interface JoinUrlParts {
  /** `https://host[:port]` or `grpc://host:port`, without query. */
  readonly apiUrl: string;
  readonly joinToken?: string | undefined;
  readonly wantsTunnel?: boolean;
}

/** The form that Omni prints: parameters in alphabetical order, nothing between authority and question mark. */
export function formatJoinUrl(parts: JoinUrlParts): string {
  return formatGatewayUrl(parts.apiUrl, {
    ...(parts.wantsTunnel ? { grpc_tunnel: 'true' } : {}),
    ...(parts.joinToken === undefined ? {} : { jointoken: parts.joinToken }),
  });
}

/** `apiUrl` without a query; parameters in the order given. */
export function formatGatewayUrl(apiUrl: string, parameters: Readonly<Record<string, string>>): string {
  const query = Object.entries(parameters).map(([name, value]) => `${name}=${queryEscape(value)}`);
  return query.length === 0 ? apiUrl : `${apiUrl}?${query.join('&')}`;
}

/** Everything but letters, digits and `-_.~`, as Go's url.QueryEscape leaves it. */
function queryEscape(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+');
}

/** The text with every token of a URL in it hidden; works on anything, also on what does not parse. */
export function redactJoinUrl(text: string): string {
  return text.replace(/([?&](?:join)?token=)[^&#\s]*/gi, '$1(hidden)');
}
