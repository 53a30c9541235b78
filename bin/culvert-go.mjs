// The program behind bin/culvert-go.
import { load } from '../scripts/launch.mjs';

const { main } = await load('culvert-go.js');
process.exit(await main(process.argv.slice(2)));
