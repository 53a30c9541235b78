/** The demonstration, step by step. */
import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../../core/errors.ts';
import { version } from '../version.ts';
import { formatAmount, formatRate, formatTime } from './figures.ts';
import { MemoryStage } from './memory-stage.ts';
import { NamespaceStage } from './namespace-stage.ts';
import type { Screen } from './screen.ts';
import type { Amount, Both, DeviceFacts, Stage, Transfer } from './stage.ts';
import { showNextSteps, showSummary } from './summary.ts';

export interface DemoOptions {
  readonly screen: Screen;
  /** Of the transfer. */
  readonly durationMs: number;
  /** In memory even where namespaces could be had. */
  readonly inMemory: boolean;
  /** How the user calls this program, for the next steps. */
  readonly program: string;
  /** Ends the demonstration early: it rejects. */
  readonly signal: AbortSignal;
}

const PINGS = 10;
const PING_INTERVAL_MS = 20;
const PING_TIMEOUT_MS = 1_000;
const BAR_WIDTH = 20;

/** Rejects with AppError when a step fails. When it settles, everything that was started has ended. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { screen } = options;
  const { bold, reset } = screen.colours;
  screen.line(`${bold}Culvert ${version()}${reset}: two WireGuard devices and a tunnel between them`);
  screen.live('devices', 'starting');
  const { stage, devices } = await openBest(options);
  try {
    await play(stage, devices, options);
  } finally {
    screen.clear();
    await stage.close();
  }
  showNextSteps(screen, options.program);
}

interface OpenStage {
  readonly stage: Stage;
  readonly devices: Both<DeviceFacts>;
}

async function openBest({ screen, inMemory, signal }: DemoOptions): Promise<OpenStage> {
  let why = 'as asked';
  if (!inMemory) {
    try {
      const opened = await open(() => new NamespaceStage(), signal);
      screen.line('Each has a network namespace of its own; nothing on this machine is changed.');
      return opened;
    } catch (error) {
      const isLack =
        error instanceof AppError && (error.code === 'permission' || error.code === 'unavailable');
      if (!isLack || signal.aborted) throw error;
      why = error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
    }
  }
  screen.line(`Both run in memory: ${why}`);
  return open(() => new MemoryStage(), signal);
}

async function open(make: () => Stage, signal: AbortSignal): Promise<OpenStage> {
  const stage = make();
  signal.addEventListener('abort', () => void stage.close(), { once: true });
  try {
    return { stage, devices: await stage.open() };
  } catch (error) {
    await stage.close();
    throw error;
  }
}

async function play(stage: Stage, devices: Both<DeviceFacts>, options: DemoOptions): Promise<void> {
  const { screen, durationMs } = options;
  screen.line();
  screen.item('devices', ...Object.entries(devices).map(([name, device]) => introduce(name, device)));
  screen.live('handshake', 'waiting');
  const { ms } = await stage.connect();
  screen.item('handshake', `${formatTime(ms)} from the first message to the session`);
  await ping(stage, screen);
  const transfer = await stage.transfer(durationMs, (soFar) => showProgress(screen, soFar, durationMs));
  if (transfer.bytes === 0) throw new AppError('io', 'nothing arrived through the tunnel');
  screen.item('transfer', describe(transfer));
  showSummary(screen, { kind: stage.kind, devices, transfer, reports: await stage.report() });
}

function introduce(name: string, { address, interfaceName, endpoint }: DeviceFacts): string {
  const place = interfaceName === undefined ? '' : ` on ${interfaceName}`;
  return `${name.padEnd(5)} ${address}${place}, UDP ${endpoint}`;
}

async function ping(stage: Stage, screen: Screen): Promise<void> {
  const times: number[] = [];
  for (let i = 1; i <= PINGS; i++) {
    screen.live('ping', `${i} of ${PINGS}`);
    const ms = await stage.ping(PING_TIMEOUT_MS);
    if (ms !== undefined) times.push(ms);
    await pause(PING_INTERVAL_MS);
  }
  if (times.length === 0) throw new AppError('io', `none of ${PINGS} pings through the tunnel was answered`);
  const average = times.reduce((sum, ms) => sum + ms, 0) / times.length;
  const figures = [Math.min(...times), average, Math.max(...times)].map((ms) => ms.toFixed(2));
  screen.item('ping', `${times.length} of ${PINGS} answered, ${figures.join(' / ')} ms (min / avg / max)`);
}

function showProgress(screen: Screen, soFar: Amount, durationMs: number): void {
  const done = Math.round(Math.min(1, soFar.ms / durationMs) * BAR_WIDTH);
  const bar = `${'#'.repeat(done)}${'-'.repeat(BAR_WIDTH - done)}`;
  screen.live('transfer', `[${bar}] ${describe(soFar)}`);
}

function describe({ bytes, ms }: Amount | Transfer): string {
  return `${formatAmount(bytes)} in ${formatTime(ms)}, ${formatRate(bytes, ms)}`;
}
