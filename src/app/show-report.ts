/** The arguments of `wg show` and what they ask for. */
import { AppError, nearest, usageError } from '../core/errors.ts';
import type { PrivateKey, PublicKey } from '../noise/keys.ts';
import type { UapiDevice } from '../tunnel/uapi-reply.ts';
import {
  SHOW_FIELDS,
  type ShowField,
  type ShowStyle,
  type ShownDevice,
  formatDevice,
  formatField,
  shownDevice,
  toJson,
} from './show.ts';

/** Where devices come from. */
export interface DeviceSource {
  list(): Promise<string[]>;
  get(name: string): Promise<UapiDevice>;
  publicKeyOf(privateKey: PrivateKey): PublicKey;
}

export interface ShowRequest {
  /** An interface, `all` or `interfaces`. */
  readonly target: string;
  readonly field: ShowField | undefined;
  readonly isJson: boolean;
}

export interface ShowReport {
  /** For standard output, as `wg show` writes it. */
  readonly text: string;
  /** Interfaces that vanished or refused while all were asked. */
  readonly failures: readonly AppError[];
}

/** Throws usage errors with the nearest field. */
export function parseShowRequest(target: string, field: string | undefined, isJson: boolean): ShowRequest {
  const known = SHOW_FIELDS.find((one) => one === field);
  if (field !== undefined && known === undefined) {
    const near = nearest(field, SHOW_FIELDS);
    throw usageError(
      `show knows no field ${JSON.stringify(field)}`,
      near === undefined ? `use one of ${SHOW_FIELDS.join(', ')}` : `did you mean ${near}?`,
    );
  }
  if (known !== undefined && (isJson || target === 'interfaces'))
    throw usageError(`show ${isJson ? '--json' : 'interfaces'} takes no field`);
  return { target, field: known, isJson };
}

export async function showReport(
  request: ShowRequest,
  source: DeviceSource,
  style: ShowStyle,
): Promise<ShowReport> {
  const { target, field, isJson } = request;
  if (target === 'interfaces') {
    const names = await source.list();
    if (isJson) return { text: `${JSON.stringify(names)}\n`, failures: [] };
    return { text: names.length === 0 ? '' : `${names.join(' ')}\n`, failures: [] };
  }
  const devices: ShownDevice[] = [];
  const failures: AppError[] = [];
  const fetch = async (name: string) =>
    shownDevice(name, await source.get(name), (privateKey) => source.publicKeyOf(privateKey));
  if (target === 'all') {
    for (const name of await source.list()) {
      try {
        devices.push(await fetch(name));
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        failures.push(error);
      }
    }
  } else {
    devices.push(await fetch(target));
  }
  const withName = target === 'all';
  if (isJson)
    return { text: `${JSON.stringify(toJson(devices, style.showsKeys), undefined, 2)}\n`, failures };
  if (field !== undefined)
    return { text: devices.map((device) => formatField(device, field, withName)).join(''), failures };
  return { text: devices.map((device) => formatDevice(device, style)).join('\n'), failures };
}
