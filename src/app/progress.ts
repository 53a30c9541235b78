/** A bar for work that takes its time: one line on standard error that is rewritten, and nothing where that is no terminal. */
export interface Progress {
  /** `done` of `all` steps are over, `label` is the one that runs now. */
  readonly show: (label: string, done: number, all: number) => void;
  /** Takes the bar away, so that lines can be written. */
  readonly clear: () => void;
}

const BAR_COLUMNS = 20;
const ERASE_LINE = '\r\x1b[K';

export type ProgressStream = Pick<NodeJS.WriteStream, 'isTTY' | 'write'> & { readonly columns?: number };

export function progressBar(
  stream: ProgressStream = process.stderr,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Progress {
  if (!stream.isTTY || env['TERM'] === 'dumb') return { show: () => {}, clear: () => {} };
  return {
    show: (label, done, all) => {
      const filled = Math.round((done / all) * BAR_COLUMNS);
      const bar = `${'='.repeat(filled)}${' '.repeat(BAR_COLUMNS - filled)}`;
      const line = `[${bar}] ${String(Math.round((done / all) * 100)).padStart(3)} %  ${label}`;
      // One column stays free: some terminals wrap as soon as the last one is written to.
      stream.write(ERASE_LINE + line.slice(0, Math.max(0, (stream.columns || 80) - 1)));
    },
    clear: () => void stream.write(ERASE_LINE),
  };
}
