/** `culvert reload INTERFACE`: running programs read their configuration again when somebody connects to NAME.reload. */
import { join } from 'node:path';
import { AppError, ERROR_CODES, type ErrorCode } from '../core/errors.ts';
import { askStatus, serveAnswers, type StatusSocket } from './agent/status-socket.ts';
import type { ReloadReport } from './config/reload.ts';
import { STATE_DIRECTORY } from './undo-store.ts';

/** Servers are closed and opened, names looked up. */
const ANSWER_TIMEOUT_MS = 60_000;

interface Refusal {
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string };
}

export function reloadPath(name: string, directory: string = STATE_DIRECTORY): string {
  return join(directory, `${name}.reload`);
}

/** Only root can connect. */
export function serveReload(
  name: string,
  reload: () => Promise<ReloadReport>,
  directory?: string,
): Promise<StatusSocket> {
  return serveAnswers(reloadPath(name, directory), () =>
    reload().catch((error: unknown): Refusal => {
      if (!(error instanceof AppError)) return { error: { code: 'internal', message: String(error) } };
      const { code, message, hint } = error;
      return { error: { code, message, ...(hint === undefined ? {} : { hint }) } };
    }),
  );
}

/** Rejects with the AppError of the program, `not_found` when none runs. */
export async function askReload(name: string, directory?: string): Promise<ReloadReport> {
  const answer = (await askStatus(reloadPath(name, directory), ANSWER_TIMEOUT_MS)) as ReloadReport | Refusal;
  if (!('error' in answer)) return answer;
  const { code, message, hint } = answer.error;
  const known = Object.hasOwn(ERROR_CODES, code) ? code : 'io';
  throw new AppError(known, message, hint === undefined ? {} : { hint });
}
