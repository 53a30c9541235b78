// Where an instance keeps its working state. There is no static data and no heap: everything lies at fixed offsets from
// SCRATCH, so that several instances (one per thread) can share one memory.

/** First byte of this instance's working area, in the region that the arena reserves for kernels. */
@external('env', 'scratch')
export declare const SCRATCH: usize;

/** First byte behind the region reserved for kernels: no packet lies below it. */
@external('env', 'reserved')
export declare const RESERVED: usize;

// A batch descriptor: AEAD_DESCRIPTOR of src/noise/aead.ts.
export const AT: usize = 0;
export const LENGTH: usize = 4;
export const COUNTER_LOW: usize = 8;
export const COUNTER_HIGH: usize = 12;
export const KEY: usize = 16;
export const STATUS: usize = 20;
export const DESCRIPTOR_SIZE: usize = 32;
export const OK: u32 = 1;
export const FORGED: u32 = 0;

// A key slot, filled by src/wasm/key-table.ts: 32 bytes of key, then a word that says that the slot is in use.
export const KEY_LIVE: usize = 32;
export const LIVE: u32 = 0x6c697665;
export const KEY_SLOT_SIZE: usize = 64;

// Offsets from SCRATCH. The part from 0 to AEAD_END holds key material during a batch and is wiped at its end.
// ChaCha20 keeps 16 words of 8 lanes (512 bytes) as 16 rows of 32 bytes: lane L of word W is the u32 at 32 * W + 4 * L.
export const APART: usize = 0; // ChaCha20 input, eight blocks of up to eight packets
export const ALONG: usize = 512; // ChaCha20 input, eight consecutive blocks of one packet
export const STATE: usize = 1024; // ChaCha20 working state
export const BLOCKS: usize = 1536; // eight keystream blocks of 64 bytes, for partial blocks
export const ONE_TIME_KEYS: usize = 2048; // Poly1305 keys (r, s): 8 words of 8 lanes, lane = packet of the group
export const LIMBS: usize = 2304; // ten vectors of 13-bit limbs
export const HASH: usize = 2464; // Poly1305 accumulators: five packed vectors
export const FACTOR: usize = 2544; // multiplier table of 18 vectors for each step
export const POWERS: usize = 2832; // multiplier table of 18 vectors for the last multiplication of a lone packet
export const TAILS: usize = 3120; // last two Poly1305 blocks of four packets
export const TAGS: usize = 3248; // eight computed tags
export const AEAD_END: usize = 3376;

// Not secret.
export const ZERO: usize = 3376; // 16 bytes that stay zero
export const LANE_KEY: usize = 3392; // eight u32: the key that lies in each lane of APART, 0 = none
export const LANE_TO: usize = 3424; // eight u32: where each lane's keystream goes
export const LANE_TEXT: usize = 3456; // eight u32: the text of a partial block
export const LANE_SIZE: usize = 3488; // eight u32: its size; 0 for a whole block
export const BODIES: usize = 3520; // four i32: whole Poly1305 blocks before the tail of each lane's packet
export const FROM: usize = 3536; // four u32: next Poly1305 block of each lane
export const STEPS: usize = 3552; // four u32: distance between blocks of each lane
export const BITS: usize = 3568; // four i32: BLOCK_BIT, or 0 in a lane whose packet has not begun
export const GROUP: usize = 3584; // eight u32: descriptors of the group

export const BLAKE2S_HASH: usize = 3616; // chain value h, 32 bytes, and at the end the digest
export const BLAKE2S_ROWS: usize = 3648; // working vector v, 64 bytes
export const BLAKE2S_IN: usize = 3712; // BLAKE2S_IN_SIZE bytes of message
export const BLAKE2S_IN_SIZE: usize = 1024;

/** Size of the working area; behind it lie the first key slots. */
export const WORK_SIZE: usize = 8192;
