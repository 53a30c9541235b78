import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blake2s } from '@noble/hashes/blake2.js';
import { toHex } from '../../../src/core/bytes.ts';
import { nobleAead, nobleBlake2s } from '../../../src/noise/crypto-noble.ts';
import { nodeAead, nodeX25519 } from '../../../src/noise/crypto-node.ts';
import { nobleX25519 } from '../../../src/noise/x25519-noble.ts';
import { aeadContract, blake2sContract, hex, x25519Contract } from '../../contracts/crypto.ts';
import { readVectors, requireVectors } from '../../kit/vectors.ts';

blake2sContract('noble', nobleBlake2s);
for (const x25519 of [nobleX25519, nodeX25519]) x25519Contract(x25519.name, x25519);
for (const aead of [nobleAead, nodeAead]) aeadContract(aead.name, aead);

const KAT = 'blake2s-kat.json';

// The protocol has no keyed BLAKE2s of 32 bytes, so no backend offers it; the oracle of the contract does.
test(
  'the BLAKE2s that keyed macs are compared with passes the 256 keyed known answers',
  { skip: requireVectors(KAT) },
  () => {
    const answers = (readVectors(KAT) as { in: string; key: string; out: string }[]).filter(
      ({ key }) => key !== '',
    );
    assert.equal(answers.length, 256);
    for (const answer of answers) {
      assert.equal(toHex(blake2s(hex(answer.in), { key: hex(answer.key) })), answer.out);
    }
  },
);
