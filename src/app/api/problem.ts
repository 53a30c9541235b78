/** Errors as problem details (RFC 9457). `code` is that of docs/ERRORS.md. */
import { AppError, type ErrorCode } from '../../core/errors.ts';

export interface Problem {
  /** `urn:culvert:error:CODE`. */
  readonly type: string;
  /** What kind of problem it is. */
  readonly title: string;
  readonly status: number;
  /** What is wrong this time. */
  readonly detail: string;
  readonly code: ErrorCode;
  /** What can be done about it. */
  readonly hint?: string;
}

const STATUS: Readonly<Record<ErrorCode, number>> = {
  usage: 400,
  config: 400,
  permission: 403,
  unavailable: 503,
  in_use: 409,
  not_found: 404,
  io: 500,
  corrupt: 500,
  protocol: 502,
  internal: 500,
};

const TITLE: Readonly<Record<ErrorCode, string>> = {
  usage: 'The request is wrong',
  config: 'The configuration is wrong',
  permission: 'Not allowed',
  unavailable: 'Not available',
  in_use: 'Taken already',
  not_found: 'Not found',
  io: 'Input or output failed',
  corrupt: 'Stored state is damaged',
  protocol: 'Unexpected answer',
  internal: 'Internal error',
};

/** An error whose status says more than its code: 401, 405, 413, 421. */
export class HttpError extends AppError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: ErrorCode,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    hint?: string,
  ) {
    super(code, message, hint === undefined ? {} : { hint });
    this.status = status;
    this.headers = headers;
  }
}

/** What is no AppError stays inside: the caller logs it. */
export function problemOf(error: unknown): Problem {
  const known = error instanceof AppError ? error : undefined;
  const code = known?.code ?? 'internal';
  return {
    type: `urn:culvert:error:${code}`,
    title: TITLE[code],
    status: error instanceof HttpError ? error.status : STATUS[code],
    detail: known?.message ?? 'internal error; the process logged it',
    code,
    ...(known?.hint === undefined ? {} : { hint: known.hint }),
  };
}
