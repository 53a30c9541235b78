/** What @grpc/grpc-js lacks to face strangers. */
import type { Server } from '@grpc/grpc-js';
import type { ServerHttp2Stream } from 'node:http2';
import { AppError } from '../core/errors.ts';

type Refusal = (...args: unknown[]) => unknown;

/** Where each of the library's methods that refuse a call has its stream. */
const REFUSALS: readonly (readonly [name: string, streamAt: number])[] = [
  ['_verifyContentType', 0],
  ['_respondWithError', 1],
];

/**
 * A call of no known method or content type is refused by the library without a look at whether the client has reset it
 * meanwhile; the exception would end the process. Such calls are passed over instead. Idempotent.
 */
export function guardRefusals(server: Server): void {
  const methods = server as unknown as Record<string, Refusal | undefined>;
  for (const [name, streamAt] of REFUSALS) {
    const refuse = methods[name];
    if (!refuse) throw new AppError('internal', `@grpc/grpc-js has no ${name} any more: see grpc-guard.ts`);
    if (Object.hasOwn(methods, name)) continue;
    methods[name] = (...args) => {
      const stream = args[streamAt] as ServerHttp2Stream;
      return stream.destroyed || stream.closed ? false : refuse.apply(server, args);
    };
  }
}
