/**
 * The closed catalogue of errors of the control path. Codes are stable and listed in docs/ERRORS.md; a test keeps
 * both equal. The data path never throws: it counts a DropReason.
 */
export const ERROR_CODES = {
  /** A flag, argument or configuration value is wrong. */
  usage: 2,
  config: 2,
  /** Rights are missing (root, CAP_NET_ADMIN). */
  permission: 1,
  /** The machine lacks something (/dev/net/tun, a program). */
  unavailable: 1,
  /** Something else has it already: a port, an interface, a socket. */
  in_use: 1,
  /** The named thing does not exist. */
  not_found: 1,
  /** A system call or a remote side failed. */
  io: 1,
  /** The other side speaks another protocol than expected. */
  protocol: 1,
  /** A broken invariant: our bug. */
  internal: 1,
  /** A file of ours is not what was written: starting again does not help. */
  corrupt: 3,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  /** What the user can do about it; printed on a line of its own. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }

  get exitCode(): number {
    return ERROR_CODES[this.code];
  }
}

/** `place` is file and line, flag, or key: `wg0.conf:7`. */
export function configError(place: string, problem: string, hint?: string): AppError {
  return new AppError('config', `${place}: ${problem}`, hint === undefined ? {} : { hint });
}

export function usageError(problem: string, hint?: string): AppError {
  return new AppError('usage', problem, hint === undefined ? {} : { hint });
}

/** A failed system call. `errno` keeps the number so that UAPI can pass it on. */
export class SystemError extends AppError {
  readonly errno: number;
  readonly errnoName: string;

  constructor(code: ErrorCode, what: string, errno: number, errnoName: string, hint?: string) {
    super(code, `${what}: ${errnoName}`, hint === undefined ? {} : { hint });
    this.errno = errno;
    this.errnoName = errnoName;
  }
}

/**
 * A value for a message, as JSON. What looks like a key, in base64 or hexadecimal, stays hidden wherever it stands: a
 * missing line break or a slip of the hand puts a secret into the value of any setting.
 */
export function quote(text: string): string {
  return JSON.stringify(text.replaceAll(/[A-Za-z0-9+/]{32,}={0,2}/g, '(hidden)'));
}

/** The candidate nearest to `word` (at most two edits away), for "did you mean". */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.min(3, Math.ceil(word.length / 2) + 1);
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] as number;
}
