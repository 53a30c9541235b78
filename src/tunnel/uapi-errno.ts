/** The `errno=` values of UAPI answers: negative Linux numbers, as wireguard-go sends and `wg` prints them. */
export const UAPI_ERRNO = {
  none: 0,
  /** Reading or writing failed half-way. */
  io: -5,
  /** E2BIG: the request is larger than UAPI_LIMITS allows. */
  tooBig: -7,
  /** EINVAL: unknown key or bad value. */
  invalid: -22,
  /** Anything that should not happen. */
  unknown: -55,
  /** EPROTO: a line without `=`, or cut off. */
  protocol: -71,
  /** EADDRINUSE: the listen port is taken. */
  portInUse: -98,
} as const;

export type UapiErrno = number;

export const UAPI_LIMITS = {
  /** The longest valid line, a preshared key, has 78 bytes. */
  lineBytes: 1024,
  /** 65,536 peers with all their keys and three allowed IPs each take about 24 MB. */
  requestBytes: 64 * 1024 * 1024,
} as const;
