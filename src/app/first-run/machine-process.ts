/**
 * A machine of the guided first run: `culvert join` whose interface lies in a network namespace of its own, while its
 * datagrams and streams leave by the namespace of the gateway.
 */
import { AppError } from '../../core/errors.ts';
import { silentLogger } from '../../core/log.ts';
import { systemRandom } from '../../core/random.ts';
import { PrivateKey } from '../../noise/keys.ts';
import { NetworkNamespace } from '../../sys/namespace.ts';
import { joinGateway, type JoinedMachine } from '../agent/join.ts';
import { joinSettings } from '../agent/join-settings.ts';
import { readJoinInputs } from '../agent/join-sources.ts';
import { JOIN_SETTINGS } from '../agent/settings.ts';
import { TrustStore } from '../agent/trust.ts';
import { readSettings } from '../config/effective.ts';
import { givenTexts } from '../config/given.ts';
import { answerCalls } from '../demo/calls.ts';
import type { MachineTransport } from '../gateway/admin-views.ts';

export interface MachineCalls {
  /** Resolves when the gateway has answered. */
  join(options: {
    readonly url: string;
    readonly uuid: string;
    readonly transport: MachineTransport;
    readonly interfaceName: string;
  }): Promise<void>;
}

let machine: JoinedMachine | undefined;
let namespace: NetworkNamespace | undefined;

answerCalls<MachineCalls>(
  {
    join: async ({ url, uuid, transport, interfaceName }) => {
      const place = NetworkNamespace.create();
      namespace = place;
      machine = await joinGateway({
        inputs: readJoinInputs({ url }),
        settings: joinSettings(
          readSettings(JOIN_SETTINGS, givenTexts(JOIN_SETTINGS, { transport, interface: interfaceName })),
          false,
        ),
        identity: {
          uuid,
          // The same at every run, so that it is the same machine.
          uniqueToken: JSON.stringify({ Fingerprint: uuid, Token: uuid }),
          privateKey: PrivateKey.generate(systemRandom),
        },
        trust: new TrustStore([], process.env),
        proxies: {},
        logger: silentLogger,
        place,
      });
      const ended = machine.ended.then((reason) => {
        throw new AppError('io', `the machine has ended: ${reason}`);
      });
      await Promise.race([machine.connected, ended]);
    },
  },
  async () => {
    await machine?.stop('the first run is over');
    await machine?.ended;
    namespace?.close();
  },
);
