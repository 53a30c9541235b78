/** A device with its UAPI socket: what every program that runs an interface has in common. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Configurable } from '../tunnel/config.ts';
import type { Zones } from '../tunnel/uapi-change.ts';
import {
  UAPI_DIRECTORY,
  type UapiSocket,
  inheritUapiSocket,
  openUapiSocket,
  uapiPath,
} from '../tunnel/uapi-socket.ts';

/** The parts of runtime.ts's RunningDevice in use here. */
export interface OpenedDevice {
  /** The interface name that the operating system gave. */
  readonly name: string;
  readonly device: Configurable;
  /** Resolves with the reason when the device has ended. */
  readonly closed: Promise<string>;
  close(reason: string): Promise<void>;
  /** Called once the device can be configured by its name, which nobody else has then. */
  readonly onServed?: () => void;
}

export interface OpenDeviceOptions {
  readonly name: string;
  readonly tunFd?: number;
  readonly mtu?: number;
  readonly logger: Logger;
}

/** runtime.ts's startDevice, or a fake. */
export type OpenDevice = (options: OpenDeviceOptions) => OpenedDevice | Promise<OpenedDevice>;

export interface ServeOptions extends OpenDeviceOptions {
  readonly openDevice: OpenDevice;
  readonly zones: Zones;
  /** An inherited listening socket (WG_UAPI_FD). */
  readonly uapiFd?: number;
  readonly uapiDirectory?: string;
  /** Resolves after so many milliseconds. */
  readonly pause?: (ms: number) => Promise<unknown>;
  /** Runs before the device is closed by `stop`, a signal or the removal of the socket; then it still works. */
  readonly beforeStop?: (device: Configurable) => Promise<void>;
}

export interface ServedDevice {
  readonly name: string;
  readonly device: Configurable;
  /** Resolves with the reason when everything is closed: the interface and the socket are gone. */
  readonly ended: Promise<string>;
  /** Ends it in good order. Idempotent. */
  stop(reason: string): Promise<void>;
  /** Ends it without `beforeStop`. */
  abort(reason: string): Promise<void>;
}

/** A device that is ending has given up its interface, but for a moment longer it may have the socket of that name. */
const TAKE_OVER_MS = 3_000;
const TAKE_OVER_STEP_MS = 50;

/**
 * Opens the device and its UAPI socket. Whatever ends one of them (the interface deleted, the socket file deleted, a
 * fatal error, `stop`) ends both. Nothing is left behind when it throws.
 */
export async function serveDevice(options: ServeOptions): Promise<ServedDevice> {
  const { logger, zones, uapiFd, uapiDirectory = UAPI_DIRECTORY } = options;
  const opened = await options.openDevice(options);
  const path = uapiPath(opened.name, uapiDirectory);
  let socket: UapiSocket;
  try {
    socket = await (uapiFd === undefined ? takeOver(path, options.pause) : inheritUapiSocket(path, uapiFd));
  } catch (error) {
    await opened.close('the UAPI socket cannot be opened');
    throw error;
  }
  try {
    opened.onServed?.();
  } catch (error) {
    await opened.close('it cannot be announced');
    await socket.close();
    throw error;
  }
  let stopping: Promise<void> | undefined;
  const stop = (reason: string) => {
    stopping ??= Promise.resolve(options.beforeStop?.(opened.device)).then(() => opened.close(reason));
    return stopping;
  };
  socket.serve({ device: opened.device, zones, logger }, () => {
    void stop('the UAPI socket was removed');
  });
  logger.log('info', 'uapi_listener_started');
  const ended = opened.closed.then(async (reason) => {
    await socket.close();
    logger.log('info', 'shutting_down', { reason });
    return reason;
  });
  return { name: opened.name, device: opened.device, ended, stop, abort: (reason) => opened.close(reason) };
}

async function takeOver(path: string, pause: (ms: number) => Promise<unknown> = sleep): Promise<UapiSocket> {
  for (let waitedMs = 0; ; waitedMs += TAKE_OVER_STEP_MS) {
    try {
      return await openUapiSocket(path);
    } catch (error) {
      const isLate = waitedMs >= TAKE_OVER_MS;
      if (!(error instanceof AppError) || error.code !== 'in_use' || isLate) throw error;
    }
    await pause(TAKE_OVER_STEP_MS);
  }
}
