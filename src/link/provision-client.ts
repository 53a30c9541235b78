/** One Provision call on a connection of its own, as a machine makes it. */
import { ProvisionRequest, ProvisionResponse } from '../gen/siderolink/provision.ts';
import { dial, type DialOptions, type DialTarget } from './dial.ts';
import { authorityOf, openSession, unaryCall } from './grpc-client.ts';

const PROVISION_PATH = '/sidero.link.ProvisionService/Provision';

/** Rejects with AppError when the gateway cannot be reached, with GrpcError when it refuses or takes too long. */
export async function callProvision(
  target: DialTarget,
  request: ProvisionRequest,
  options: DialOptions,
  signal: AbortSignal,
): Promise<ProvisionResponse> {
  const connection = await dial(target, options, signal);
  const session = openSession(connection, authorityOf(target), target.isPlaintext);
  try {
    const message = ProvisionRequest.encode(request).finish();
    return ProvisionResponse.decode(await unaryCall(session, PROVISION_PATH, message, signal));
  } finally {
    session.destroy();
  }
}
