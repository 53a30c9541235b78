/** Tables for people: columns aligned, no borders, so that they can be cut and grepped. */
import { palette } from './show-values.ts';

export interface Column<Row> {
  readonly title: string;
  readonly text: (row: Row) => string;
  /** Numbers line up on the right. */
  readonly isRight?: boolean;
  /** An escape sequence, or an empty string. */
  readonly colour?: (row: Row) => string;
}

const RESET = palette(true).reset;
const painted = (text: string, colour: string): string => (colour === '' ? text : `${colour}${text}${RESET}`);

/** Every line ends with a newline. Only the title line when there are no rows. */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const lines: (readonly { readonly text: string; readonly colour: string }[])[] = [
    columns.map(({ title }) => ({ text: title, colour: '' })),
    ...rows.map((row) =>
      columns.map(({ text, colour }) => ({ text: printable(text(row)), colour: colour?.(row) ?? '' })),
    ),
  ];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]?.text.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map(({ text, colour }, i) => {
          const gap = ' '.repeat((widths[i] as number) - text.length);
          return columns[i]?.isRight ? gap + painted(text, colour) : painted(text, colour) + gap;
        })
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

/** A label and its value on each line, values aligned; the third member is the colour of the value. */
export function formatPairs(pairs: readonly (readonly [string, string, string?])[]): string {
  const width = Math.max(...pairs.map(([label]) => label.length));
  return pairs
    .map(([label, value, colour = '']) => `${label.padEnd(width)}  ${painted(printable(value), colour)}\n`)
    .join('');
}

/** What machines say about themselves must not move the cursor of the operator's terminal. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\u2028\u2029]/gu,
    (character) => `\\u${(character.codePointAt(0) as number).toString(16).padStart(4, '0')}`,
  );
}
