/** `sidero.link.ProvisionService` for a @grpc/grpc-js server behind a GrpcFront. */
import type { handleUnaryCall, Server } from '@grpc/grpc-js';
import {
  type ProvisionRequest,
  type ProvisionResponse,
  ProvisionServiceService,
} from '../gen/siderolink/provision.ts';
import type { Gateway } from './gateway.ts';
import { callerOf } from './grpc-handoff.ts';
import { STATUS } from './grpc-status.ts';

export function addProvisionService(server: Server, gateway: Gateway): void {
  const provision: handleUnaryCall<ProvisionRequest, ProvisionResponse> = (call, callback) => {
    const caller = callerOf(call.metadata);
    if (!caller) {
      callback({ code: STATUS.INTERNAL, details: 'internal server error' });
      return;
    }
    gateway.provision(call.request, caller.address).then(
      (answer) => {
        if ('code' in answer) callback({ code: answer.code, details: answer.message });
        else callback(null, answer);
      },
      () => callback({ code: STATUS.INTERNAL, details: 'internal server error' }),
    );
  };
  server.addService(ProvisionServiceService, { provision });
}
