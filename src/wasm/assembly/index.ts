// The exports of the kernels; src/wasm/kernels.ts is their typed side.
export { sealBatch, openBatch, oneTimeKeyBatch } from './aead';
export { blake2sBegin, blake2sAbsorb, blake2sEnd, blake2sMask } from './blake2s';
export { sum, copySum } from './checksum';
export { BLAKE2S_HASH, BLAKE2S_IN, BLAKE2S_IN_SIZE, KEY_LIVE, KEY_SLOT_SIZE, LIVE, WORK_SIZE } from './layout';

// Only for tests: Poly1305 under keys that ChaCha20 would never give.
export { computeTags } from './mac';
export { GROUP, ONE_TIME_KEYS, TAGS } from './layout';
