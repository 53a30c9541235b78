/**
 * The WireGuard cross-platform configuration protocol (wireguard.com/xplatform), served to one client at a time over
 * whatever carries the bytes. Any number of requests may follow on one connection, pipelined or not.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AppError, SystemError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Configurable } from './config.ts';
import type { Zones } from './uapi-change.ts';
import { UAPI_ERRNO, type UapiErrno } from './uapi-errno.ts';
import { printState } from './uapi-reply.ts';
import { UapiReader, type UapiRequest } from './uapi-request.ts';

export interface UapiService {
  readonly device: Configurable;
  readonly zones: Zones;
  readonly logger: Logger;
}

export interface UapiConnection {
  /** Ends when the client closed its side; throws when the connection broke. The server wipes what it read. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Resolves when the bytes are out of the way, so that a slow client holds back only itself. Rejects when broken. */
  write(bytes: Uint8Array): Promise<void>;
}

/** Serves a client until it ends or sends something that is no operation. Rejects only when the connection breaks. */
export async function serveUapi(connection: UapiConnection, service: UapiService): Promise<void> {
  const reader = new UapiReader(service.zones);
  for await (const chunk of connection.input) {
    for (const request of reader.read(chunk)) {
      if (request.kind === 'unknown') {
        service.logger.log('error', 'uapi_request_refused', { reason: request.problem });
        return;
      }
      await answer(request, connection, service);
    }
  }
  const last = reader.end();
  if (last && last.kind !== 'unknown') await answer(last, connection, service);
}

async function answer(
  request: Exclude<UapiRequest, { kind: 'unknown' }>,
  connection: UapiConnection,
  service: UapiService,
): Promise<void> {
  let errno: UapiErrno = UAPI_ERRNO.none;
  switch (request.kind) {
    case 'get':
      // A snapshot, so that the slices agree with each other whatever is configured between them.
      for (const slice of printState(service.device.state(), service.zones)) {
        await connection.write(slice);
        slice.fill(0);
        await nextTurn();
      }
      break;
    case 'set':
      errno = await apply(request, service);
      break;
    case 'refused':
      service.logger.log('error', 'uapi_request_refused', { reason: request.problem, errno: request.errno });
      errno = request.errno;
      break;
    default:
      request satisfies never;
  }
  await connection.write(Buffer.from(`errno=${errno}\n\n`, 'latin1'));
}

async function apply(
  request: Extract<UapiRequest, { kind: 'set' }>,
  { device, logger }: UapiService,
): Promise<UapiErrno> {
  try {
    await device.configure(request.change);
    logger.log('debug', 'uapi_set', { peers: request.change.peers.length });
    return UAPI_ERRNO.none;
  } catch (error) {
    const errno = errnoOf(error);
    const reason = error instanceof Error ? error.message : String(error);
    logger.log('error', 'uapi_set_failed', { reason, errno });
    return errno;
  } finally {
    // The device has copies of its own.
    request.change.privateKey?.zero();
    for (const peer of request.change.peers) peer.presharedKey?.zero();
  }
}

function errnoOf(error: unknown): UapiErrno {
  if (error instanceof SystemError) return -Math.abs(error.errno);
  if (!(error instanceof AppError)) return UAPI_ERRNO.unknown;
  switch (error.code) {
    case 'in_use':
      return UAPI_ERRNO.portInUse;
    case 'usage':
    case 'config':
      return UAPI_ERRNO.invalid;
    case 'protocol':
      return UAPI_ERRNO.protocol;
    case 'io':
    case 'permission':
    case 'unavailable':
    case 'not_found':
    case 'corrupt':
      return UAPI_ERRNO.io;
    case 'internal':
      return UAPI_ERRNO.unknown;
    default:
      return error.code satisfies never;
  }
}
