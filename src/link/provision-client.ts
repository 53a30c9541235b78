/** Unary calls of a machine to its gateway, each on a connection of its own. */
import { EventRequest } from '../gen/events/events.ts';
import { ProvisionRequest, ProvisionResponse } from '../gen/siderolink/provision.ts';
import { dial, type DialOptions, type DialTarget } from './dial.ts';
import { authorityOf, openSession, unaryCall } from './grpc-client.ts';

const PROVISION_PATH = '/sidero.link.ProvisionService/Provision';
const PUBLISH_PATH = '/events.EventSinkService/Publish';

/** Rejects with AppError when the gateway cannot be reached, with GrpcError when it refuses or takes too long. */
export async function callProvision(
  target: DialTarget,
  request: ProvisionRequest,
  options: DialOptions,
  signal: AbortSignal,
): Promise<ProvisionResponse> {
  const message = ProvisionRequest.encode(request).finish();
  return ProvisionResponse.decode(await call(target, PROVISION_PATH, message, options, signal));
}

/** Resolves when the sink has acknowledged the event; rejects as `callProvision` does. */
export async function publishEvent(
  target: DialTarget,
  event: EventRequest,
  options: DialOptions,
  signal: AbortSignal,
): Promise<void> {
  await call(target, PUBLISH_PATH, EventRequest.encode(event).finish(), options, signal);
}

async function call(
  target: DialTarget,
  path: string,
  message: Uint8Array,
  options: DialOptions,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const connection = await dial(target, options, signal);
  const session = openSession(connection, authorityOf(target), target.isPlaintext);
  try {
    return await unaryCall(session, path, message, signal);
  } finally {
    session.destroy();
  }
}
