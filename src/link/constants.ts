/** The numbers of SideroLink. All times are milliseconds. */
import { REJECT_AFTER_TIME, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT } from '../noise/constants.ts';

/** MTU of the overlay interface on both sides, UDP and tunnel alike. */
export const OVERLAY_MTU = 1280;
/** Persistent keepalive of every overlay peer on both sides, seconds. */
export const OVERLAY_KEEPALIVE_S = 25;
/** A peer whose last handshake is this old is down: a session, its last attempt to renew and one retry. */
export const PEER_DOWN_AFTER: number = REJECT_AFTER_TIME + REKEY_TIMEOUT + REKEY_ATTEMPT_TIME;

/** Both sides look at the handshake age this often. */
export const STATUS_INTERVAL = 30_000;
/** Deadline of the machine's Provision call. */
export const PROVISION_TIMEOUT = 30_000;

/** Names of the machine's interface; the tunnel's is another because Talos cannot turn one kind into the other. */
export const LINK_NAME = 'siderolink';
export const TUNNEL_LINK_NAME = 'siderolinktun';

/** Ports on the gateway's overlay address, as Omni has them. */
export const EVENT_SINK_PORT = 8090;
export const LOG_RECEIVER_PORT = 8092;
