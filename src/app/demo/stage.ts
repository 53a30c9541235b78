/** Where the demonstration plays: two devices, Alice and Bob, and traffic between them. */
import type { DropReason } from '../../tunnel/lane/drops.ts';
import type { Engine } from '../runtime.ts';

export interface Stage {
  readonly kind: 'namespaces' | 'memory';
  /** Makes both devices, up and without peers. Rejects with AppError when something is not to be had here. */
  open(): Promise<Both<DeviceFacts>>;
  /** Alice initiates. Resolves when the session stands on her side. */
  connect(): Promise<Handshake>;
  /** One round trip from Alice to Bob's inner address and back, milliseconds; undefined when no answer came. */
  ping(timeoutMs: number): Promise<number | undefined>;
  /** As much as goes through from Alice to Bob. `onProgress` is called a few times a second. */
  transfer(durationMs: number, onProgress: (sofar: Amount) => void): Promise<Transfer>;
  report(): Promise<Both<DeviceReport>>;
  /** Ends everything that was started. Idempotent; may come in the middle of anything else, which then rejects. */
  close(): Promise<void>;
}

export interface Both<Thing> {
  readonly alice: Thing;
  readonly bob: Thing;
}

export interface DeviceFacts {
  /** Inner IPv4 address. */
  readonly address: string;
  /** Outer address with port. */
  readonly endpoint: string;
  /** Absent in memory. */
  readonly interfaceName?: string;
  /** Bytes. */
  readonly mtu: number;
}

export interface Handshake {
  /** From the initiation sent to the session derived, on the initiator's side. */
  readonly ms: number;
}

/** What has arrived. */
export interface Amount {
  readonly bytes: number;
  readonly ms: number;
}

export interface Transfer extends Amount {
  readonly packets: {
    /** From Alice: all, and those among them that TCP sent again. */
    readonly there: number;
    readonly resent: number;
    /** From Bob: acknowledgements. */
    readonly back: number;
    /** Dropped by the kernel in the full queue of Alice's interface, so that no device ever saw them. */
    readonly overflowed: number;
  };
}

export interface DeviceCounters {
  /** UDP payload, handshakes included. */
  readonly txBytes: bigint;
  readonly rxBytes: bigint;
  /** Reasons that occurred. */
  readonly drops: Readonly<Partial<Record<DropReason, bigint>>>;
}

export interface DeviceReport extends DeviceCounters {
  readonly engine: Engine;
}
