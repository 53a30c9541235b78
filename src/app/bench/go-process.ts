/** culvert-go as a process of the benchmark: started by file, so that it is found wherever this program lies. */
import { main } from '../culvert-go.ts';

process.exit(await main(process.argv.slice(2)));
