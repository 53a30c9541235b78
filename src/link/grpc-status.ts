/** gRPC status codes and their form in HTTP/2 trailers. */

/** https://grpc.io/docs/guides/status-codes/ */
export const STATUS = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type StatusCode = (typeof STATUS)[keyof typeof STATUS];

/** How a call ended. Peers match some pairs of code and text exactly, so both are part of the protocol. */
export interface Status {
  readonly code: StatusCode;
  readonly message: string;
}

const NAMES = new Map<number, string>(Object.entries(STATUS).map(([name, code]) => [code, name]));

/** `PERMISSION_DENIED`; the metric label. */
export function statusName(code: number): string {
  return NAMES.get(code) ?? `CODE_${code}`;
}

export function statusEquals(a: Status, b: Status): boolean {
  return a.code === b.code && a.message === b.message;
}

/** The two trailers of a status. */
export function statusTrailers(status: Status): Record<string, string> {
  const trailers: Record<string, string> = { 'grpc-status': String(status.code) };
  if (status.message !== '') trailers['grpc-message'] = percentEncode(status.message);
  return trailers;
}

/** Reads `grpc-status` and `grpc-message` out of headers or trailers; undefined when there is no status. */
export function readStatus(headers: Readonly<Record<string, unknown>>): Status | undefined {
  const text = headers['grpc-status'];
  if (typeof text !== 'string' || !/^\d{1,3}$/.test(text)) return undefined;
  const message = headers['grpc-message'];
  const code = Number(text);
  return {
    // Unknown codes count as UNKNOWN (gRPC over HTTP/2, "Responses").
    code: NAMES.has(code) ? (code as StatusCode) : STATUS.UNKNOWN,
    message: typeof message === 'string' ? percentDecode(message) : '',
  };
}

/** The status of a response that came without one, by its HTTP status (gRPC's http-grpc-status-mapping). */
export function statusOfHttp(httpStatus: number): Status {
  const message = `unexpected HTTP status ${httpStatus}`;
  switch (httpStatus) {
    case 400:
      return { code: STATUS.INTERNAL, message };
    case 401:
      return { code: STATUS.UNAUTHENTICATED, message };
    case 403:
      return { code: STATUS.PERMISSION_DENIED, message };
    case 404:
      return { code: STATUS.UNIMPLEMENTED, message };
    case 429:
    case 502:
    case 503:
    case 504:
      return { code: STATUS.UNAVAILABLE, message };
    default:
      return { code: STATUS.UNKNOWN, message };
  }
}

/** `grpc-message`: UTF-8, every byte outside of space..tilde and the percent sign as `%XX`. */
export function percentEncode(text: string): string {
  if (/^[ -$&-~]*$/.test(text)) return text;
  let encoded = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** Malformed escapes stay as they are, as gRPC demands. */
export function percentDecode(text: string): string {
  if (!text.includes('%')) return text;
  const encoded = Buffer.from(text, 'utf8');
  const bytes: number[] = [];
  for (let i = 0; i < encoded.length; i++) {
    const escape = encoded[i] === 0x25 ? encoded.toString('latin1', i + 1, i + 3) : '';
    if (/^[0-9a-fA-F]{2}$/.test(escape)) {
      bytes.push(Number.parseInt(escape, 16));
      i += 2;
    } else {
      bytes.push(encoded[i] as number);
    }
  }
  return Buffer.from(bytes).toString('utf8');
}
