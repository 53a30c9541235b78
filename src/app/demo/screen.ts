/** The demonstration as text: steps that fill in as they happen on a terminal, whole lines anywhere else. */
import { palette, wantsColour, type Palette } from '../show-values.ts';

export interface ScreenOptions {
  readonly write: (text: string) => void;
  /** Lines may be rewritten. */
  readonly isLive: boolean;
  readonly isColoured: boolean;
  /** Of the terminal; live lines are cut to it, because a wrapped line cannot be rewritten. */
  readonly columns: () => number;
}

/** Standard output as it is: live on a terminal that can do it, coloured unless NO_COLOR says otherwise. */
export function standardScreen(): Screen {
  const { stdout, env } = process;
  return new Screen({
    write: (text) => stdout.write(text),
    isLive: stdout.isTTY && env['TERM'] !== 'dumb',
    isColoured: wantsColour(env, stdout.isTTY && env['TERM'] !== 'dumb'),
    // Some pseudo-terminals say 0.
    columns: () => stdout.columns || 80,
  });
}

const LABEL_WIDTH = 11;
const ERASE_LINE = '\r\x1b[K';

export class Screen {
  readonly colours: Palette;
  readonly #options: ScreenOptions;
  #isLineOpen = false;

  constructor(options: ScreenOptions) {
    this.#options = options;
    this.colours = palette(options.isColoured);
  }

  line(text = ''): void {
    this.clear();
    this.#options.write(`${text}\n`);
  }

  heading(text: string): void {
    this.line();
    this.line(`${this.colours.bold}${text}${this.colours.reset}`);
  }

  /** A label and what there is to say about it; more lines come below, aligned. */
  item(label: string, ...lines: readonly string[]): void {
    const { green, reset } = this.colours;
    for (const [i, text] of lines.entries()) {
      const head = i === 0 ? `${green}${label.padEnd(LABEL_WIDTH)}${reset}` : ' '.repeat(LABEL_WIDTH);
      this.line(`  ${head} ${text}`);
    }
  }

  /** An item that is not final yet; the next output of any kind takes its place. Nothing where lines stay. */
  live(label: string, text: string): void {
    if (!this.#options.isLive) return;
    const { yellow, reset } = this.colours;
    // One column stays free: some terminals wrap as soon as the last one is written to.
    const room = Math.max(0, this.#options.columns() - LABEL_WIDTH - 4);
    const cut = text.length > room ? text.slice(0, room) : text;
    this.#options.write(`${ERASE_LINE}  ${yellow}${label.padEnd(LABEL_WIDTH)}${reset} ${cut}`);
    this.#isLineOpen = true;
  }

  /** Takes a live line away. */
  clear(): void {
    if (this.#isLineOpen) this.#options.write(ERASE_LINE);
    this.#isLineOpen = false;
  }
}
