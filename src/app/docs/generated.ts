/** The files that are made from the program, by their names. */
import { configReference, exampleFile } from '../config/example.ts';
import { allCommands } from '../cli.ts';
import { USAGE } from '../culvert-go.ts';
import { version } from '../version.ts';
import { specOf } from './command-spec.ts';
import { culvertGoPage, culvertPage } from './man.ts';
import { reference } from './reference.ts';

export async function generatedDocs(): Promise<ReadonlyMap<string, string>> {
  const program = specOf(await allCommands());
  return new Map([
    ['docs/man/culvert.1', culvertPage(program, version())],
    ['docs/man/culvert-go.1', culvertGoPage(USAGE, version())],
    ['docs/reference/cli.md', reference(program)],
    ['docs/reference/config.md', configReference()],
    ['examples/config.yaml', exampleFile()],
  ]);
}
