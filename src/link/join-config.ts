/** What the gateway prints for a machine to join with: kernel arguments and configuration documents. */
import { formatAddress } from '../core/ip.ts';
import { stringify } from 'yaml';
import { SERVER_ADDRESS } from './addresses.ts';
import { formatJoinUrl, type JoinUrlParts } from './join-url.ts';

export interface JoinConfig extends JoinUrlParts {
  /** Ports on the gateway's overlay address; left out when the service is off. */
  readonly eventSinkPort?: number | undefined;
  readonly logReceiverPort?: number | undefined;
}

/** For the kernel command line of a Talos machine, in the order that Omni prints. */
export function kernelArguments(config: JoinConfig): string[] {
  const { eventSink, kernelLog } = targets(config);
  return [
    `siderolink.api=${formatJoinUrl(config)}`,
    ...(eventSink === undefined ? [] : [`talos.events.sink=${eventSink}`]),
    ...(kernelLog === undefined ? [] : [`talos.logging.kernel=${kernelLog}`]),
  ];
}

/** The same as a multi-document YAML text. */
export function joinDocuments(config: JoinConfig): string {
  const { eventSink, kernelLog } = targets(config);
  const head = (kind: string) => ({ apiVersion: 'v1alpha1', kind });
  const documents: object[] = [{ ...head('SideroLinkConfig'), apiUrl: formatJoinUrl(config) }];
  if (eventSink !== undefined) documents.push({ ...head('EventSinkConfig'), endpoint: eventSink });
  if (kernelLog !== undefined)
    documents.push({ ...head('KmsgLogConfig'), name: 'omni-kmsg', url: kernelLog });
  return documents.map((document) => stringify(document, { lineWidth: 0 })).join('---\n');
}

function targets(config: JoinConfig): { eventSink: string | undefined; kernelLog: string | undefined } {
  const host = `[${formatAddress(SERVER_ADDRESS)}]`;
  return {
    eventSink: config.eventSinkPort === undefined ? undefined : `${host}:${config.eventSinkPort}`,
    kernelLog: config.logReceiverPort === undefined ? undefined : `tcp://${host}:${config.logReceiverPort}`,
  };
}
