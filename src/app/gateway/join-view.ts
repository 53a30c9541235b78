/** What a machine can be joined with, in all the forms it is wanted in. */
import { joinDocuments, kernelArguments } from '../../link/join-config.ts';
import { formatJoinUrl } from '../../link/join-url.ts';
import type { TokenRecord } from '../../link/tokens.ts';
import type { JoinView } from './admin-views.ts';

/** The same for every token. */
export interface JoinBase {
  readonly apiUrl: string;
  readonly eventPort: number | undefined;
  readonly logPort: number | undefined;
}

/** `wantsTunnel`: the machine asks for WireGuard inside the gRPC stream. */
export function joinView(
  { token, name }: TokenRecord,
  { apiUrl, eventPort, logPort }: JoinBase,
  wantsTunnel: boolean,
): JoinView {
  const config = {
    apiUrl,
    joinToken: token,
    wantsTunnel,
    eventSinkPort: eventPort,
    logReceiverPort: logPort,
  };
  const joinUrl = formatJoinUrl(config);
  return {
    name,
    joinUrl,
    kernelArguments: kernelArguments(config),
    documents: joinDocuments(config),
    command: `culvert join '${joinUrl}'`,
  };
}
