/** Reading the configuration of a running program again, and applying what is another than before. */
import { AppError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { differences, type Effective, readSettings, type SettingChange } from './effective.ts';
import type { SettingTable } from './setting.ts';

/** Also the answer of the admin socket and of NAME.reload: members are added, never renamed. */
export interface ReloadReport {
  readonly changed: readonly SettingChange[];
  /** Left as it was. */
  readonly needsRestart: readonly SettingChange[];
  /** Could not be applied, and was left as it was. */
  readonly failed: readonly ReloadFailure[];
}

export interface ReloadFailure {
  /** Settings that are meant. */
  readonly keys: readonly string[];
  readonly reason: string;
}

/** One after the other, and told to the log. Rejects with AppError when `task` does: then nothing has changed. */
export function reloading(task: () => Promise<ReloadReport>, logger: Logger): () => Promise<ReloadReport> {
  let last: Promise<unknown> = Promise.resolve();
  return () => {
    const reloaded = last.then(() => told(task, logger));
    last = reloaded.catch(() => {});
    return reloaded;
  };
}

async function told(task: () => Promise<ReloadReport>, logger: Logger): Promise<ReloadReport> {
  try {
    const report = await task();
    logger.log('info', 'config_reloaded', {
      changed: names(report.changed),
      needs_restart: names(report.needsRestart),
    });
    for (const { keys, reason } of report.failed) {
      logger.log('error', 'setting_not_applied', { setting: keys.join(', '), reason });
    }
    return report;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    logger.log('error', 'config_not_reloaded', { reason });
    throw error instanceof AppError ? error : new AppError('internal', reason, { cause: error });
  }
}

export interface SettingsReloadOptions<Table extends SettingTable> {
  readonly running: Effective<Table>;
  /** Reads flags, environment and file again. Throws AppError when they are wrong. */
  readonly read: () => Effective<Table>;
  /** Settings that for once need a restart. */
  readonly frozen?: (before: Effective<Table>, after: Effective<Table>) => readonly string[];
  /** Throws AppError when settings contradict each other, and then nothing has been applied. */
  readonly apply: (effective: Effective<Table>) => Promise<readonly ReloadFailure[]>;
  readonly logger: Logger;
}

export function settingsReload<Table extends SettingTable>(
  options: SettingsReloadOptions<Table>,
): () => Promise<ReloadReport> {
  const { read, apply, frozen, logger } = options;
  let { running } = options;
  return reloading(async () => {
    const before = running;
    const wanted = read();
    const stuck = new Set(frozen?.(before, wanted));
    const isLive = (key: string) => before.table[key]?.change === 'live' && !stuck.has(key);
    const all = differences(before, wanted);
    const live = all.filter(({ key }) => isLive(key));
    const needsRestart = all.filter(({ key }) => !isLive(key) && before.table[key]?.change !== 'first start');
    const next = keeping(before, wanted, (key) => !isLive(key));
    const failed = live.length > 0 ? await apply(next) : [];
    const unapplied = new Set(failed.flatMap(({ keys }) => keys));
    running = keeping(before, next, (key) => unapplied.has(key));
    return {
      changed: live.filter(({ key }) => !unapplied.has(key)),
      needsRestart,
      failed: failed.map(({ keys, reason }) => ({
        keys: keys.filter((key) => live.some((change) => change.key === key)),
        reason,
      })),
    };
  }, logger);
}

/** `after` but for settings that stay as they were. */
function keeping<Table extends SettingTable>(
  before: Effective<Table>,
  after: Effective<Table>,
  stays: (key: string) => boolean,
): Effective<Table> {
  const merge = <Value>(was: ReadonlyMap<string, Value>, is: ReadonlyMap<string, Value>) =>
    new Map([...[...was].filter(([key]) => stays(key)), ...[...is].filter(([key]) => !stays(key))]);
  const givens = merge(before.givens, after.givens);
  return { ...readSettings(after.table, givens), contents: merge(before.contents, after.contents) };
}

function names(changes: readonly SettingChange[]): string | undefined {
  return changes.length === 0 ? undefined : changes.map(({ key }) => key).join(', ');
}

/** For people, one line each. */
export function formatReload({ changed, needsRestart, failed }: ReloadReport): string {
  const change = ({ key, before = 'not set', after = 'not set' }: SettingChange) =>
    before === after ? `${key}: changed` : `${key}: ${before} -> ${after}`;
  const lines = [
    ...changed.map(change),
    ...needsRestart.map((one) => `${change(one)}: needs a restart, left as it was`),
    ...failed.map(({ keys, reason }) => `${keys.join(', ')}: ${reason}; left as it was`),
  ];
  return `${lines.length === 0 ? 'nothing has changed' : lines.join('\n')}\n`;
}
