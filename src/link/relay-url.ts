/** Where `culvert relay` goes: `https://gateway.example/?token=…`, `grpc://10.0.0.1:4000/?token=…` without TLS. */
import type { DialTarget } from './dial.ts';
import { parseGatewayUrl } from './join-url.ts';

export interface RelayUrl extends DialTarget {
  /** Secret. */
  readonly token: string;
}

/** `place` is put before error messages, which never show the token. */
export function parseRelayUrl(text: string, place: string): RelayUrl {
  const { isPlaintext, host, port, values, fail } = parseGatewayUrl(text, place, {
    parameters: ['token'],
    token: 'token',
    example: 'write it like https://gateway.example/?token=TOKEN',
  });
  const token = values.get('token') ?? '';
  if (token === '')
    throw fail('has no token', 'the gateway printed it: https://gateway.example/?token=TOKEN');
  return { isPlaintext, host, port, token };
}
