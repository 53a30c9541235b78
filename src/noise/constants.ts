/**
 * The numbers of the protocol, in the order of the WireGuard whitepaper. All times are milliseconds.
 * What the paper leaves to the implementation comes last.
 */

// Section 5.4: labels and sizes.
export const CONSTRUCTION = 'Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s';
export const IDENTIFIER = 'WireGuard v1 zx2c4 Jason@zx2c4.com';
export const LABEL_MAC1 = 'mac1----';
export const LABEL_COOKIE = 'cookie--';

export const HASH_SIZE = 32;
export const MAC_SIZE = 16;
export const COOKIE_SIZE = 16;
export const AEAD_TAG_SIZE = 16;
export const AEAD_NONCE_SIZE = 12;
export const XAEAD_NONCE_SIZE = 24;
export const TIMESTAMP_SIZE = 12;

/** Section 5.4.6: transport plaintext is zero-padded to a multiple of this. */
export const PADDING_MULTIPLE = 16;

// Section 6.1, table order.
export const REKEY_AFTER_MESSAGES: bigint = 2n ** 60n;
export const REJECT_AFTER_MESSAGES: bigint = 2n ** 64n - 2n ** 13n - 1n;
export const REKEY_AFTER_TIME = 120_000;
export const REJECT_AFTER_TIME = 180_000;
export const REKEY_ATTEMPT_TIME = 90_000;
/** Also the least time between two initiations, or between a response and an initiation, to one peer. */
export const REKEY_TIMEOUT = 5_000;
export const KEEPALIVE_TIMEOUT = 10_000;

// The message limits as u32 halves, for code that counts without BigInt.
export const REKEY_AFTER_MESSAGES_HIGH: number = Number(REKEY_AFTER_MESSAGES >> 32n);
export const REKEY_AFTER_MESSAGES_LOW: number = Number(REKEY_AFTER_MESSAGES & 0xffff_ffffn);
export const REJECT_AFTER_MESSAGES_HIGH: number = Number(REJECT_AFTER_MESSAGES >> 32n);
export const REJECT_AFTER_MESSAGES_LOW: number = Number(REJECT_AFTER_MESSAGES & 0xffff_ffffn);

// Sections 6.2 to 6.5. Derived values stay expressions so that the reader can check the sum.
/** Age at which the initiator renews a session because it received on it (section 6.2), once per session. */
export const REKEY_AFTER_TIME_RECEIVING: number = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT;
/** Data went out and nothing authenticated came back for this long: a new handshake (section 6.5). */
export const NEW_HANDSHAKE_TIMEOUT: number = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT;
/** All keys of a peer are wiped this long after its last session began (section 6.3). */
export const ZERO_KEYS_AFTER_TIME: number = REJECT_AFTER_TIME * 3;
/** Retransmissions of an initiation before giving up (section 6.4). */
export const MAX_TIMER_HANDSHAKES: number = REKEY_ATTEMPT_TIME / REKEY_TIMEOUT;
/** Timers that start handshakes wait up to this much longer, uniformly (section 6.1; the kernel's value). */
export const REKEY_TIMEOUT_JITTER_MAX = 333;

// Sections 5.3 and 5.4.7: cookies.
/** The responder draws a new cookie secret after this long, and the initiator trusts a cookie no longer. */
export const COOKIE_SECRET_MAX_AGE = 120_000;
/** A cookie's holder gives it up this much earlier, for the time its message is under way (kernel, cookie.c). */
export const COOKIE_SECRET_LATENCY = 5_000;

// Not in the paper; values of the Linux kernel and of wireguard-go.
/** Least time between two initiations accepted from one peer (kernel, INITIATIONS_PER_SECOND = 50). */
export const INITIATION_GAP: number = 1_000 / 50;
/** Counters that lie this far behind the greatest one are still told apart (kernel, COUNTER_WINDOW_SIZE). */
export const REPLAY_WINDOW = 8_128;
/** The condition "under load" lasts this long after its last cause. */
export const UNDER_LOAD_AFTER_TIME = 1_000;
/** Packets waiting for a session, per peer; the oldest is dropped. */
export const MAX_STAGED_PACKETS = 128;
