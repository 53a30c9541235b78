/** The instructions of a Containerfile, as far as ours needs it. */
export interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** Throws for a line that is none. */
export function containerInstructions(text: string): Instruction[] {
  return text
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, name, rest] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
      if (name === undefined || rest === undefined) throw new Error(`no instruction: ${line}`);
      return { name, rest };
    });
}
