/** Streams without HTTP/2: what one bridge sends is delivered to another one. */
import { ENDPOINT, encodeEndpoint, GRPC_CARRIER, type Endpoint } from '../../src/tunnel/endpoint.ts';
import type { StreamBridge, StreamSource } from '../../src/tunnel/stream-bridge.ts';
import { address, type End } from './pair.ts';

/** A label as the gateway gives them. */
export function virtualEndpoint(host: string, port = 50_889): Endpoint {
  return { address: address(host), port, scope: 0, carrier: GRPC_CARRIER };
}

export interface StreamDatagram {
  readonly bytes: Uint8Array;
  readonly flow: number;
  /** What the sender's record was. */
  readonly to: Uint8Array;
}

/** One direction. */
export class MemoryStream implements StreamSource {
  readonly #target: StreamBridge;
  readonly #label = new Uint8Array(ENDPOINT.size);
  /** Everything that was sent. */
  readonly sent: StreamDatagram[] = [];
  readonly waiting: Uint8Array[] = [];
  flushes = 0;
  /** Nothing gets through. */
  isCut = false;

  /** `label` is the sender's endpoint as the target sees it. */
  constructor(target: StreamBridge, label: Endpoint) {
    this.#target = target;
    encodeEndpoint(label, this.#label, 0);
  }

  send(
    endpoint: Uint8Array,
    endpointAt: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    flow: number,
  ): void {
    const datagram = bytes.slice(at, at + length);
    this.sent.push({
      bytes: datagram,
      flow,
      to: endpoint.slice(endpointAt, endpointAt + ENDPOINT.size),
    });
    if (!this.isCut) this.waiting.push(datagram);
  }

  flush(): void {
    this.flushes++;
    this.forward();
  }

  forward(): void {
    for (;;) {
      const [datagram] = this.waiting;
      if (!datagram || !this.#target.deliver(this.#label, datagram, 0, datagram.length)) return;
      this.waiting.shift();
    }
  }

  pull(): void {}
}

/** Joins both ends' bridges. `pull` of an end continues what the other one sends. */
export function joinByStreams(
  alice: End,
  bob: End,
  labels: { readonly alice: Endpoint; readonly bob: Endpoint },
): { readonly toBob: MemoryStream; readonly toAlice: MemoryStream } {
  const { streams: a } = alice;
  const { streams: b } = bob;
  if (!a || !b) throw new Error('an end has no streams');
  const toBob = new MemoryStream(b, labels.alice);
  const toAlice = new MemoryStream(a, labels.bob);
  const source = (out: MemoryStream, back: MemoryStream): StreamSource => ({
    send: (...datagram) => out.send(...datagram),
    flush: () => out.flush(),
    pull: () => back.forward(),
  });
  a.connect(source(toBob, toAlice));
  b.connect(source(toAlice, toBob));
  return { toBob, toAlice };
}
