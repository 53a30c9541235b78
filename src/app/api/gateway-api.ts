/** HTTP API and status page of a gateway. */
import type { Admin } from '../gateway/admin.ts';
import type { MachineView } from '../gateway/admin-views.ts';
import type { DatapathView } from './datapath-view.ts';
import { gatewayRoutes } from './gateway-routes.ts';
import { serveApi, type ServeApiOptions, type ServedApi } from './serve-api.ts';

export interface GatewayApiOptions extends Pick<
  ServeApiOptions<MachineView>,
  'address' | 'tls' | 'token' | 'clock' | 'logger'
> {
  readonly admin: Admin;
  readonly datapath: () => DatapathView;
}

/** Rejects with AppError when it cannot listen. */
export function serveGatewayApi({ admin, datapath, ...options }: GatewayApiOptions): Promise<ServedApi> {
  return serveApi({
    ...options,
    tokenHint:
      '"culvert page" prints an address that signs in; the token is in the file http-token of the state directory',
    rowsEvent: 'machines',
    source: {
      rows: () => admin.machines(),
      topics: (machines) => ({
        status: admin.status(machines),
        datapath: datapath(),
        tokens: { tokens: admin.tokens() },
        denied: { denied: admin.denied() },
      }),
    },
    routes: (feed) => gatewayRoutes({ admin, datapath, feed }),
  });
}
