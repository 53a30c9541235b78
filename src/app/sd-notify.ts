/** What a service of Type=notify tells systemd (sd_notify(3)): that it serves, that it lives, that it ends. */
import { UnixDatagramSender } from '../sys/unix-datagram.ts';

export interface ServiceManager {
  /** It serves. Also starts the pulse that WatchdogSec= waits for. */
  ready(status: string): void;
  /** It has begun to end. */
  stopping(): void;
}

/** What is told when nobody asked to be told. */
export const noServiceManager: ServiceManager = { ready: () => {}, stopping: () => {} };

type Environment = Record<string, string | undefined>;

/** That of this process. Child processes will not take it for theirs. A socket that is gone is no reason to fail. */
export function serviceManager(env: Environment, pid: number = process.pid): ServiceManager {
  const path = env['NOTIFY_SOCKET'] ?? '';
  const watchdogMs = watchdogInterval(env, pid);
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name];
  if (!path.startsWith('/') && !path.startsWith('@')) return noServiceManager;
  let sender: UnixDatagramSender;
  try {
    sender = new UnixDatagramSender(path);
  } catch {
    return noServiceManager;
  }
  const tell = (text: string) => {
    try {
      sender.send(text);
    } catch {
      // systemd notices by itself that it hears nothing.
    }
  };
  return {
    ready: (status) => {
      tell(`READY=1\nSTATUS=${status}\nMAINPID=${pid}`);
      // Fires only while the event loop turns, which is what the watchdog is to find out.
      if (watchdogMs !== undefined) setInterval(() => tell('WATCHDOG=1'), watchdogMs).unref();
    },
    stopping: () => tell('STOPPING=1'),
  };
}

/** Half of what the unit allows, as sd_watchdog_enabled(3) recommends. Undefined when there is no watchdog for us. */
function watchdogInterval(env: Environment, pid: number): number | undefined {
  const micros = Number(env['WATCHDOG_USEC'] ?? 0);
  const whose = env['WATCHDOG_PID'] ?? '';
  if (!Number.isInteger(micros) || micros <= 0 || (whose !== '' && Number(whose) !== pid)) return undefined;
  return Math.max(1, Math.floor(micros / 2_000));
}

/** Tells `manager` that all is up, and that it ends when one of the usual signals comes. */
export function announce(manager: ServiceManager, status: string): void {
  manager.ready(status);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => manager.stopping());
}
