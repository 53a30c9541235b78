/** What the demonstration says at its end. */
import { DROP_REASONS } from '../../tunnel/lane/drops.ts';
import { formatAmount, formatCount, formatRate } from './figures.ts';
import type { Screen } from './screen.ts';
import type { Both, DeviceReport, DeviceFacts, Stage, Transfer } from './stage.ts';

export interface Outcome {
  readonly kind: Stage['kind'];
  readonly devices: Both<DeviceFacts>;
  readonly transfer: Transfer;
  readonly reports: Both<DeviceReport>;
}

const LANES = {
  inline: 'all on one thread',
  worker: 'one worker thread each',
  workers: 'two worker threads each',
} as const;
const OFFLOADS = {
  plain: 'no TUN offloads',
  tcp: 'TUN offloads for TCP',
  tcp_and_udp: 'TUN offloads for TCP and UDP',
} as const;

export function showSummary(screen: Screen, { kind, devices, transfer, reports }: Outcome): void {
  const { there, resent, back } = transfer.packets;
  const { mtu } = devices.alice;
  const { engine } = reports.alice;
  const { bold, reset } = screen.colours;
  screen.heading('Summary');
  const payload = kind === 'memory' ? 'full IP packets, one thread' : 'TCP payload';
  screen.item(
    'throughput',
    `${bold}${formatRate(transfer.bytes, transfer.ms)}${reset} from alice to bob (${payload})`,
  );
  screen.item(
    'packets',
    kind === 'memory'
      ? `${formatCount(there)} of ${mtu} bytes`
      : `${formatCount(there)} with data (${formatCount(resent)} sent again), ${formatCount(back)} acknowledgements`,
  );
  screen.item(
    'WireGuard',
    `alice sent ${amount(reports.alice.txBytes)} and received ${amount(reports.alice.rxBytes)}`,
    `bob sent ${amount(reports.bob.txBytes)} and received ${amount(reports.bob.rxBytes)}`,
  );
  screen.item('dropped', ...drops(transfer, reports));
  screen.item(
    'crypto',
    `ChaCha20-Poly1305 ${engine.transport}, X25519 ${engine.x25519}, BLAKE2s ${engine.blake2s}`,
  );
  screen.item('engine', `${LANES[engine.lanes]}, ${OFFLOADS[engine.tunFormat]}; MTU ${mtu}`);
}

function amount(bytes: bigint): string {
  return formatAmount(Number(bytes));
}

function drops({ packets }: Transfer, { alice, bob }: Both<DeviceReport>): string[] {
  const inside = Object.entries({ alice, bob }).flatMap(([name, report]) =>
    DROP_REASONS.flatMap((reason) => {
      const count = report.drops[reason];
      return count === undefined ? [] : [`${formatCount(count)} at ${name}: ${reason}`];
    }),
  );
  const lines = inside.length === 0 ? ['nothing in the devices'] : inside;
  const { overflowed } = packets;
  if (overflowed > 0)
    lines.push(`${formatCount(overflowed)} before them, where TCP overran the interface's queue`);
  const lost = alice.txBytes - bob.rxBytes + (bob.txBytes - alice.rxBytes);
  if (lost > 0n) lines.push(`${amount(lost)} between them, on the way by UDP`);
  return lines;
}

export function showNextSteps(screen: Screen, program: string): void {
  const steps = [
    [`${program} doctor`, 'what this machine offers and lacks for it'],
    [`${program} up wg0.conf`, 'a tunnel from a wg-quick configuration file'],
    [`${program} help`, 'all commands'],
  ] as const;
  const width = Math.max(...steps.map(([command]) => command.length));
  screen.heading('Next');
  for (const [command, what] of steps) screen.line(`  ${command.padEnd(width)}   ${what}`);
  screen.line('  README.md: tunnels with wg, with wg-quick, and with nothing else installed');
}
