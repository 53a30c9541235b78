/** How this program is called from here, for what it tells its user to do next. */
import { relative } from 'node:path';
import { hasProgram } from './programs.ts';

/** By its name where PATH has it, else by its file. */
export function invocation(file: string = process.argv[1] ?? 'culvert'): string {
  return hasProgram('culvert') ? 'culvert' : relative(process.cwd(), file);
}
