import type { Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { cliLogger } from '../cli-log.ts';
import { AGENT_DEFAULTS, readAgentFlags } from '../gateway/agent-flags.ts';
import { startAgentMode } from '../gateway/agent-mode.ts';
import { ENDING_SIGNALS, stopOnSignals } from '../signals.ts';
import { printable } from '../table.ts';

/** `culvert siderolink-agent`: takes the place of siderolink-agent and of `talosctl siderolink-launch`. */
export function configureSiderolinkAgent(command: Command): void {
  command
    .usage('[flags]')
    .argument('[flags...]')
    .allowUnknownOption()
    .helpOption('-h, --help', 'print help')
    .addHelpText(
      'after',
      `
Flags, with one dash or two, as "-name value" or "-name=value":
  -sidero-link-wireguard-endpoint IP:PORT  advertised, and the port to listen on (${AGENT_DEFAULTS.wireGuardEndpoint})
  -sidero-link-api-endpoint ADDRESS        gRPC API (${AGENT_DEFAULTS.apiEndpoint})
  -sidero-link-api-cert, -sidero-link-api-key FILE   TLS; without them plain HTTP/2
  -sidero-link-join-token TOKEN            without it everybody may join
  -sidero-link-force-userspace             accepted; WireGuard runs in userspace in any case
  -event-sink-endpoint ADDRESS             acknowledges events and forgets them (${AGENT_DEFAULTS.eventSink}; empty: off)
  -log-receiver-endpoint ADDRESS           prints kernel logs (${AGENT_DEFAULTS.logReceiver}; empty: off)
  -predefined-pairs UUID=IPv6              address of a machine; may be repeated (also -predefined-pair)

Examples:
  sudo culvert siderolink-agent -sidero-link-wireguard-endpoint 192.0.2.1:51821 -sidero-link-join-token foo
  sudo culvert siderolink-agent --sidero-link-api-endpoint=:4000 --predefined-pair=UUID=fdae:41e4:649b:9303::7

Keeps its state in memory. For a gateway that survives a restart: culvert serve`,
    )
    .action(async (args: readonly string[]) => {
      const logger = cliLogger({}, 'siderolink');
      const running = await startAgentMode(readAgentFlags(args), logger, (line) =>
        process.stdout.write(`${printable(line)}\n`),
      );
      stopOnSignals(running);
      logger.log('info', 'siderolink_agent_started', { api_port: running.apiPort });
      const reason = await running.ended;
      if (!ENDING_SIGNALS.some((signal) => signal === reason))
        throw new AppError('io', `the gateway ended: ${reason}`);
    });
}
