/** How an error looks to the user: one line that says what is wrong, one that says what to do. */
import { AppError } from '../core/errors.ts';

export interface ErrorReport {
  /** For standard error, newline included. */
  readonly text: string;
  readonly exitCode: number;
}

/** Stack traces are for CULVERT_DEBUG only. */
export function reportError(
  error: unknown,
  program: string,
  env: Readonly<Record<string, string | undefined>>,
): ErrorReport {
  const isDebug = (env['CULVERT_DEBUG'] ?? '') !== '';
  const stack = isDebug && error instanceof Error ? `${error.stack}\n` : '';
  if (error instanceof AppError) {
    const hint = error.hint === undefined ? '' : `hint: ${error.hint}\n`;
    return { text: `${program}: ${error.message}\n${hint}${stack}`, exitCode: error.exitCode };
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const hint = isDebug
    ? ''
    : 'hint: this is a bug; run again with CULVERT_DEBUG=1 and report what it prints\n';
  return { text: `${program}: internal error: ${message}\n${hint}${stack}`, exitCode: 1 };
}
