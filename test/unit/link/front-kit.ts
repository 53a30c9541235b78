// A gRPC front on loopback with a stream table and an echoing service.
import { Server, type ServiceDefinition, type UntypedServiceImplementation, status } from '@grpc/grpc-js';
import {
  ProvisionServiceService,
  type ProvisionRequest,
  type ProvisionResponse,
} from '../../../src/gen/siderolink/provision.ts';
import { formatSocketAddress } from '../../../src/core/ip.ts';
import { callerOf } from '../../../src/link/grpc-handoff.ts';
import { SERVICE_OPTIONS } from '../../../src/link/grpc-limits.ts';
import { GrpcFront, type GrpcFrontOptions } from '../../../src/link/grpc-front.ts';
import { FakeClock } from '../../kit/clock.ts';
import { TestTable } from './stream-kit.ts';

export interface TestFront {
  readonly front: GrpcFront;
  readonly clock: FakeClock;
  readonly gateway: TestTable;
  readonly port: number;
  /** Calls for the UUID `hang`, which are never answered. */
  readonly hanging: { count: number };
  readonly close: () => Promise<void>;
}

export async function startFront(
  more: Partial<GrpcFrontOptions> = {},
  gateway = new TestTable(),
): Promise<TestFront> {
  const clock = new FakeClock();
  const services = new Server(SERVICE_OPTIONS);
  const hanging = { count: 0 };
  services.addService(ProvisionServiceService as ServiceDefinition, provisionService(hanging));
  const front = new GrpcFront({ clock, streams: gateway.table, services, ...more });
  const { port } = await front.listen('127.0.0.1', 0);
  return { front, clock, gateway, port, hanging, close: () => front.close(AbortSignal.abort()) };
}

/** Answers with what it was asked, or fails as the UUID says. */
function provisionService(hanging: { count: number }): UntypedServiceImplementation {
  const provision: UntypedServiceImplementation[string] = (
    call: { request: ProvisionRequest; metadata: Parameters<typeof callerOf>[0] },
    callback: (error: object | null, response?: ProvisionResponse) => void,
  ) => {
    const { nodeUuid, joinToken } = call.request;
    if (nodeUuid === 'refuse') {
      callback({ code: status.PERMISSION_DENIED, details: 'unauthorized' });
      return;
    }
    if (nodeUuid === 'hang') {
      hanging.count++;
      return;
    }
    const caller = callerOf(call.metadata);
    callback(null, {
      serverEndpoint: [caller ? formatSocketAddress(caller) : ''],
      serverPublicKey: nodeUuid,
      nodeAddressPrefix: joinToken ?? 'absent',
      serverAddress: '',
      grpcPeerAddrPort: '',
    });
  };
  return { provision };
}
