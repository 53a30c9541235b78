import type { Command } from 'commander';
import { once } from 'node:events';
import { systemClock } from '../../core/clock.ts';
import { systemRandom } from '../../core/random.ts';
import { Http2Dialer } from '../../link/http2-dialer.ts';
import { readProxySettings } from '../../link/proxy.ts';
import { parseRelayTarget, RELAY_PATH, RELAY_TOKEN_HEADER } from '../../link/relay-server.ts';
import { parseRelayUrl } from '../../link/relay-url.ts';
import { TrustStore, trustingDialOptions } from '../agent/trust.ts';
import { addLogFlags, cliLogger, type LogFlags } from '../cli-log.ts';
import { RelayClient } from '../relay/relay-client.ts';

interface RelayFlags extends LogFlags {
  readonly listen: string;
  readonly to: string;
  readonly ca?: readonly string[];
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** `culvert relay`: any WireGuard client through a site that lets no UDP pass. */
export function configureRelay(command: Command): void {
  addLogFlags(command)
    .requiredOption('--to <url>', 'what the gateway printed: https://gateway.example/?token=TOKEN')
    .option('--listen <udp://address:port>', 'where WireGuard clients send to', 'udp://127.0.0.1:51820')
    .option('--ca <file>', 'trust the certificates of this PEM file too; may be repeated', collect)
    .addHelpText(
      'after',
      `
Carries the datagrams of a stock WireGuard client in a gRPC stream to "culvert serve --relay-to udp://HOST:PORT", which
sends them on to that server. Keys stay with the client and the server: the relay sees encrypted packets only.

Examples:
  culvert relay --to "https://gateway.example/?token=TOKEN"
  wg set wg0 peer SERVER_KEY endpoint 127.0.0.1:51820 persistent-keepalive 25
  culvert relay --listen udp://192.168.1.1:51820 --to URL      for the phones of a whole house
  HTTPS_PROXY=socks5://proxy.example:1080 culvert relay --to URL

A client that sends everything into its tunnel must leave the gateway's address out of it. MTU 1420 and below will do.
Environment: HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, WG_LOG_FILE`,
    )
    .action((flags: RelayFlags) => relay(flags));
}

async function relay(flags: RelayFlags): Promise<void> {
  const { token, ...target } = parseRelayUrl(flags.to, '--to');
  const { host, port } = parseRelayTarget(flags.listen, '--listen');
  const trust = new TrustStore(flags.ca ?? [], process.env);
  const logger = cliLogger(flags, 'relay');
  const call = { path: RELAY_PATH, metadata: { [RELAY_TOKEN_HEADER]: token } };
  const client = await RelayClient.open({
    host,
    port,
    dialer: new Http2Dialer(target, call, trustingDialOptions(trust, readProxySettings(process.env))),
    clock: systemClock,
    random: systemRandom,
    logger,
  });
  logger.log('info', 'relay_listens', { address: host, port: client.port, gateway: target.host });
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), once(process, 'SIGHUP')]);
  await client.close();
}
