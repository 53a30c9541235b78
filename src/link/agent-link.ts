/** What a ProvisionResponse means to a machine. */
import { AppError } from '../core/errors.ts';
import { parseAddress, parseSocketAddress, type SocketAddress } from '../core/ip.ts';
import type { ProvisionResponse } from '../gen/siderolink/provision.ts';
import { parseKeyBytes } from '../noise/keys.ts';
import { LINK_NAME, TUNNEL_LINK_NAME } from './constants.ts';
import { isEndpoint, swapEnds } from './endpoints.ts';

/** The gateway decides between the two, whatever was asked for. */
export type LinkKind = 'udp' | 'grpc';

export interface Link {
  readonly kind: LinkKind;
  /** Base64. */
  readonly serverPublicKey: string;
  /** Its only allowed IP, as /128. */
  readonly serverAddress: string;
  /** Of the interface: `address/64`. */
  readonly nodeAddressPrefix: string;
  /** UDP: `host:port`, preferred first. */
  readonly endpoints: readonly string[];
  /** gRPC: the machine's end of the tunnel, verbatim; empty for UDP. */
  readonly peerAddrPort: string;
}

/** A link with the endpoint that the peer gets. */
export interface ConfiguredLink {
  readonly link: Link;
  readonly endpoint: SocketAddress;
  /** How `endpoint` is reached. */
  readonly via: LinkKind;
}

/** Throws AppError `protocol` when the answer cannot be used. */
export function readLink(response: ProvisionResponse): Link {
  const fail = (problem: string) => new AppError('protocol', `the gateway's answer: ${problem}`);
  const { serverPublicKey, serverAddress, nodeAddressPrefix, grpcPeerAddrPort } = response;
  if (!parseKeyBytes(serverPublicKey)) throw fail('its public key is not a key');
  if (parseAddress(serverAddress)?.length !== 16) throw fail(`server address "${serverAddress}" is not IPv6`);
  const [address, length] = nodeAddressPrefix.split('/');
  if (parseAddress(address ?? '')?.length !== 16 || length !== '64') {
    throw fail(`node address "${nodeAddressPrefix}" is not an IPv6 /64`);
  }
  if (grpcPeerAddrPort !== '' && !parseSocketAddress(grpcPeerAddrPort)) {
    throw fail(`tunnel address "${grpcPeerAddrPort}" is not address:port`);
  }
  const endpoints = swapEnds(response.serverEndpoint);
  if (endpoints.length === 0) throw fail('host returned no endpoints');
  const odd = endpoints.find((endpoint) => !isEndpoint(endpoint));
  if (odd !== undefined) throw fail(`endpoint "${odd}" is not host:port`);
  return {
    kind: grpcPeerAddrPort === '' ? 'udp' : 'grpc',
    serverPublicKey,
    serverAddress,
    nodeAddressPrefix,
    endpoints,
    peerAddrPort: grpcPeerAddrPort,
  };
}

/** As Talos names it: it cannot turn one kind of interface into the other. */
export function linkName(kind: LinkKind): string {
  return kind === 'udp' ? LINK_NAME : TUNNEL_LINK_NAME;
}
