/** The gateway's WireGuard device as the rest of the gateway sees it. */
import type { DeviceView } from '../api/datapath-view.ts';
import type { OverlayDevice } from '../../link/gateway.ts';
import type { DatagramSink, StreamTable } from '../../link/stream-table.ts';
import type { BandwidthLimits } from '../../tunnel/lane/bandwidth.ts';

export interface PeerTraffic {
  /** Bytes of WireGuard messages. */
  readonly rxBytes: number;
  readonly txBytes: number;
}

export interface Overlay {
  /** Its interface, as the operating system named it. */
  readonly name: string;
  /** Base64. */
  readonly publicKey: string;
  readonly device: OverlayDevice;
  /** Where datagrams from streams go. */
  readonly sink: DatagramSink;
  /** From here on datagrams for virtual endpoints go there. */
  connect(streams: StreamTable): void;
  /** By public key, since the start. */
  traffic(): ReadonlyMap<string, PeerTraffic>;
  /** Its figures for Prometheus, as pieces of text. */
  metrics(): Promise<readonly Buffer[]>;
  /** How packets fare in it. */
  view(): DeviceView;
  /** Its sockets are open: nobody has set the interface down. */
  isUp(): boolean;
  /** From now on; without members there are none. */
  limitBandwidth(limits: BandwidthLimits): void;
  /** Resolves with the reason when the device has ended: by `close`, or because its interface is gone. */
  readonly closed: Promise<string>;
  close(reason: string): Promise<void>;
}
