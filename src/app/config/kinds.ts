/** Every kind of document that this program has of its own. */
import type { ConfigDocument } from '../../link/config-documents.ts';
import { joinSettings } from '../agent/join-settings.ts';
import { JOIN, joinOrder, type JoinTable } from '../agent/settings.ts';
import { firstToken, gatewayConfig } from '../gateway/config.ts';
import { ownAddress } from '../gateway/own-address.ts';
import { SERVE, type ServeTable } from '../gateway/settings.ts';
import type { Effective } from './effective.ts';
import type { SettingTable } from './setting.ts';
import type { CommandSettings } from './sources.ts';

export interface ConfigKind<Table extends SettingTable = SettingTable> extends CommandSettings<Table> {
  /** Throws AppError when settings that are right each for itself do not go together. */
  readonly check: (effective: Effective<Table>, documents: readonly ConfigDocument[], path: string) => void;
}

export const SERVE_CONFIG: ConfigKind<ServeTable> = {
  ...SERVE,
  check: (effective) => {
    gatewayConfig(effective, ownAddress);
    firstToken(effective);
  },
};

export const JOIN_CONFIG: ConfigKind<JoinTable> = {
  ...JOIN,
  check: (effective, documents, path) => {
    const isGatewayNamed =
      effective.values.url !== undefined || documents.some(({ kind }) => kind === 'SideroLinkConfig');
    // The command line may name it.
    const order = joinOrder(isGatewayNamed ? effective : withUrl(effective), documents, path);
    joinSettings(order.settings, order.inputs.source.url.wantsTunnel);
  },
};

function withUrl(effective: Effective<JoinTable>): Effective<JoinTable> {
  return { ...effective, values: { ...effective.values, url: 'https://gateway.example' } };
}
