/** `culvert reload INTERFACE`: running programs read their configuration again when somebody connects to NAME.reload. */
import { join } from 'node:path';
import { AppError, ERROR_CODES, type ErrorCode } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { askStatus, serveAnswers } from './agent/status-socket.ts';
import type { ReloadReport } from './config/reload.ts';
import { STATE_DIRECTORY } from './undo-store.ts';

/** Servers are closed and opened, names looked up. */
const ANSWER_TIMEOUT_MS = 60_000;

interface Refusal {
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string };
}

export interface ReloadSocketOptions {
  readonly ended: Promise<unknown>;
  readonly logger: Logger;
  readonly directory?: string;
}

export function reloadPath(name: string, directory: string = STATE_DIRECTORY): string {
  return join(directory, `${name}.reload`);
}

/** Until the program has `ended`. Only root can connect. Without the socket SIGHUP is still heard. */
export async function serveReload(
  name: string,
  reload: () => Promise<ReloadReport>,
  { ended, logger, directory }: ReloadSocketOptions,
): Promise<void> {
  try {
    const socket = await serveAnswers(reloadPath(name, directory), () =>
      reload().catch((error: unknown): Refusal => {
        if (!(error instanceof AppError)) return { error: { code: 'internal', message: String(error) } };
        const { code, message, hint } = error;
        return { error: { code, message, ...(hint === undefined ? {} : { hint }) } };
      }),
    );
    void ended.then(() => socket.close());
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    logger.log('warn', 'reload_socket_not_opened', { reason });
  }
}

/** Rejects with the AppError of the program, `not_found` when none runs. */
export async function askReload(name: string, directory?: string): Promise<ReloadReport> {
  const answer = (await askStatus(reloadPath(name, directory), ANSWER_TIMEOUT_MS)) as ReloadReport | Refusal;
  if (!('error' in answer)) return answer;
  const { code, message, hint } = answer.error;
  const known = Object.hasOwn(ERROR_CODES, code) ? code : 'io';
  throw new AppError(known, message, hint === undefined ? {} : { hint });
}
