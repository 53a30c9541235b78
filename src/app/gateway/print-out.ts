/** What the gateway says about itself at its start: enough to paste, nothing to look up. */
import { formatListenAddress, isLoopback } from '../http/listen-address.ts';
import type { JoinView } from './admin-views.ts';
import { describeApi, type GatewayConfig } from './config.ts';
import type { RunningGateway } from './run.ts';

/** All forms of one join, each ready to paste. */
export function formatJoin({ name, command, kernelArguments, documents }: JoinView): string {
  return `Join with token "${name}"

On a Linux host:

  ${command}

Talos Linux, on the kernel command line:

  ${kernelArguments.join(' ')}

Talos Linux, in the machine configuration:

${indent(documents.trimEnd())}
`;
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}

export interface GatewaySummary {
  readonly version: string;
  readonly facts: readonly (readonly [string, string])[];
  readonly warnings: readonly string[];
}

const LABEL_WIDTH = 10;

export function formatSummary({ version, facts, warnings }: GatewaySummary): string {
  const lines = facts.map(([label, value]) => `  ${label.padEnd(LABEL_WIDTH)} ${value}\n`);
  const notes = warnings.map((warning) => `\n${warning}\n`);
  return `Culvert ${version} SideroLink gateway\n\n${lines.join('')}${notes.join('')}`;
}

export function gatewaySummary(
  gateway: RunningGateway,
  config: GatewayConfig,
  stateDirectory: string,
  version: string,
): GatewaySummary {
  const { address, interface: name, page } = gateway.admin.status();
  const services = [
    ...(gateway.reports.eventPort === undefined ? [] : [`events ${gateway.reports.eventPort}`]),
    ...(gateway.reports.logPort === undefined ? [] : [`kernel logs ${gateway.reports.logPort}`]),
  ];
  const metrics =
    config.metrics && formatListenAddress({ ...config.metrics, port: gateway.metricsPort ?? 0 });
  const counts = Object.entries(gateway.admin.status().machines).map(([state, count]) => `${count} ${state}`);
  return {
    version,
    facts: [
      ['overlay', `${address} on ${name}`],
      ['API', `${describeApi(config)}, advertised as ${config.apiUrl}`],
      ['WireGuard', `UDP ${config.wireGuardPort}, advertised as ${config.wireGuardEndpoints.join(', ')}`],
      ['services', services.length === 0 ? 'none' : `${services.join(', ')}, on the overlay address only`],
      ['metrics', metrics === undefined ? 'off' : `http://${metrics}/metrics`],
      ['page', page ?? 'off'],
      ['state', stateDirectory],
      ['machines', counts.length === 0 ? 'none yet' : counts.join(', ')],
    ],
    warnings: isExposed(config)
      ? [
          'Note: without TLS the join token crosses the network in the clear. Give --tls-cert\nand --tls-key, or put ' +
            'a front with TLS before the API and name it with --advertise.',
        ]
      : [],
  };
}

/** Plain, and not merely on this machine. */
function isExposed({ api, apiUrl }: GatewayConfig): boolean {
  return apiUrl.startsWith('grpc://') && !(api.host !== undefined && isLoopback(api.host));
}
