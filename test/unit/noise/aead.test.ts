import { NobleTransportAead } from '../../../src/noise/aead-noble.ts';
import { NodeTransportAead } from '../../../src/noise/aead-node.ts';
import { transportAeadContract } from '../../contracts/aead.ts';

transportAeadContract('noble', (arena) => new NobleTransportAead(arena));
transportAeadContract('node', (arena) => new NodeTransportAead(arena));
