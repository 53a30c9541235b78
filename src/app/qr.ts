/** A configuration as a QR code, for the WireGuard apps of phones: "add a tunnel", "scan from QR code". */
import encodeQr from 'qr';
import { AppError } from '../core/errors.ts';
import type { WgConf } from './wg-conf.ts';
import { printWgConf } from './wg-conf-print.ts';

/** A QR code of version 40 with the least error correction. */
const MAX_BYTES = 2_953;
/** What the standard asks for around the code, in modules. */
const QUIET_ZONE = 4;

export interface PhoneConf {
  readonly text: string;
  /** Keys of the file that the apps do not know and refuse; they are left out. */
  readonly omitted: readonly string[];
}

/** The file as an app takes it. It holds the keys. */
export function phoneConf({ device, peers }: WgConf): PhoneConf {
  const { table, saveConfig, fwmark, preUp, postUp, preDown, postDown, ...kept } = device;
  const hooks = { PreUp: preUp, PostUp: postUp, PreDown: preDown, PostDown: postDown };
  const omitted = [
    ...(table === undefined ? [] : ['Table']),
    ...(saveConfig === undefined ? [] : ['SaveConfig']),
    ...(fwmark === undefined ? [] : ['FwMark']),
    ...Object.entries(hooks).flatMap(([name, commands]) => (commands.length === 0 ? [] : [name])),
  ];
  const none = { preUp: [], postUp: [], preDown: [], postDown: [] };
  // A name is a comment, and every byte makes the code harder to scan.
  const nameless = peers.map(({ name: _name, ...peer }) => peer);
  return { text: printWgConf({ device: { ...kept, ...none }, peers: nameless }), omitted };
}

/** The modules of the code with its quiet zone, true = dark. Throws AppError when it is too much for one code. */
export function qrModules(text: string): readonly (readonly boolean[])[] {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_BYTES)
    throw new AppError('config', `${bytes} bytes are more than the ${MAX_BYTES} of a QR code`, {
      hint: 'give the phone fewer allowed IPs or peers',
    });
  return encodeQr(text, 'raw', { ecc: 'low', border: QUIET_ZONE });
}

/**
 * Two rows of modules a line. Light modules are drawn: on a dark terminal the code is then dark on light, as scanners
 * want it; with colours it is so on any terminal.
 */
export function qrText(modules: readonly (readonly boolean[])[], isColoured: boolean): string {
  const lines: string[] = [];
  for (let y = 0; y < modules.length; y += 2) {
    const upper = modules[y] ?? [];
    const lower = modules[y + 1];
    const line = upper.map((isDark, x) => BLOCKS[Number(!isDark)]?.[Number(lower?.[x] === false)]).join('');
    lines.push(isColoured ? `\x1b[97;40m${line}\x1b[0m` : line);
  }
  return `${lines.join('\n')}\n`;
}

/** By whether the upper and the lower module are light. */
const BLOCKS: readonly (readonly [string, string])[] = [
  [' ', '▄'],
  ['▀', '█'],
];

/** An SVG image of one path. */
export function qrSvg(modules: readonly (readonly boolean[])[]): string {
  const size = modules.length;
  const path = modules
    .flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : '')))
    .join('');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size}v${size}H0z"/><path d="${path}"/></svg>\n`;
}
