/**
 * Fenced blocks of a Markdown page, with what the comments right above them ask of the test that runs them:
 *
 *     <!-- not run: REASON -->         is only looked at
 *     <!-- before: COMMANDS -->        run first, in bash; they set the scene that the page takes for granted
 *     <!-- after: COMMANDS -->         run afterwards: whether it did what the page promises
 *     <!-- on: NAME -->                run in this network namespace, which `before` made
 *     <!-- here: TEXT = OTHER -->      from here on OTHER stands for TEXT, a name that readers replace
 *
 * A block of another language with `file=PATH` behind its name is written to that file.
 */
export interface DocBlock {
  readonly language: string;
  /** Of a block that is a file; a path. */
  readonly file: string | undefined;
  readonly text: string;
  /** In the page, from 1. */
  readonly line: number;
  /** Why it is not run. */
  readonly excuse: string | undefined;
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly namespace: string | undefined;
  readonly replacements: readonly (readonly [string, string])[];
}

const BLOCK = /((?:^<!--.*?-->\n+)*)^```([^\n]*)\n(.*?)^```$/gms;
const DIRECTIVE = /<!--\s*(not run|before|after|on|here):\s*(.*?)\s*-->/gs;

export function docBlocks(page: string): DocBlock[] {
  return Array.from(page.matchAll(BLOCK), (match) => {
    const [, comments = '', info = '', text = ''] = match;
    const directives = Array.from(comments.matchAll(DIRECTIVE), ([, name, value = '']) => ({ name, value }));
    const of = (name: string): string[] =>
      directives.filter((one) => one.name === name).map(({ value }) => value);
    const [language = '', ...more] = info.split(' ');
    return {
      language,
      file: more.find((word) => word.startsWith('file='))?.slice('file='.length),
      text,
      line: page.slice(0, match.index + comments.length).split('\n').length,
      excuse: of('not run')[0],
      before: of('before'),
      after: of('after'),
      namespace: of('on')[0],
      replacements: of('here').map((value) => {
        const at = value.indexOf(' = ');
        return [value.slice(0, at), value.slice(at + 3)] as const;
      }),
    };
  });
}
