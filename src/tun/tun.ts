/**
 * A TUN device in two halves. `Tun` is the control half: name, MTU, life cycle; it lives on the control thread.
 * `PacketPort` is the data half: it moves IP packets between the device and the arena and belongs to one lane host.
 */
export interface Tun {
  /** The interface name the operating system gave. */
  readonly name: string;
  /** Current MTU in bytes. */
  readonly mtu: number;
  /** The data half. */
  readonly packets: PacketPort;
  /** Starts watching the link. Reports the present state at once. Called once. */
  watch(events: TunEvents): void;
  /** Idempotent. Closes the descriptor; a device that is not persistent vanishes. No event comes after. */
  close(): void;
}

export interface TunEvents {
  /** The interface went up or down. Repeated only on change. */
  onLink(up: boolean): void;
  /** The MTU changed; `mtu` has the new value already. */
  onMtu(mtu: number): void;
  /** The interface is gone (deleted, namespace destroyed). Final. */
  onGone(reason: string): void;
}

/** `read` and `write` results below zero. */
export const PORT_GONE = -1;
/** A write that the device refused (EIO while down, ENOBUFS, EINVAL); the packet is lost, the port goes on. */
export const PORT_REFUSED = -2;

export interface PacketPort {
  /** Reads that were dropped since they contradict themselves or are too long. Monotonic; absent where that cannot be. */
  readonly malformed?: number;
  /**
   * Reads the next IP packet to arena offset `at`. Returns its length in bytes, 0 when none waits, PORT_GONE when the
   * device is closed. Never throws, never blocks.
   */
  read(at: number, capacity: number): number;
  /** The packet read last has followers that came with it: the next read needs no look into the kernel. */
  readonly holdsMore?: boolean;
  /**
   * Writes one IP packet that lies at `at`. Returns `length`, PORT_REFUSED or PORT_GONE. Never throws, never blocks.
   * A port that coalesces may hold the packet back until `flush`; the bytes must stay untouched until then, and the ten
   * bytes before `at` may be overwritten.
   */
  write(at: number, length: number): number;
  /** Writes what was held back. Returns how many packets the device refused of those that `write` had taken. */
  flush(): number;
  /**
   * Calls `ready` on the control thread whenever packets may wait, until `close` or until called with undefined. Several
   * packets may wait per call: read until 0. A hosted lane does not use this; it polls the descriptor itself.
   */
  onReadable(ready: (() => void) | undefined): void;
}
