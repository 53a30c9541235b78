/** Machines and what they report, for people. */
import { readLogLine } from '../../link/log-line.ts';
import { formatAmount } from '../demo/figures.ts';
import { ageColour, palette, type Palette } from '../show-values.ts';
import { type Column, formatPairs, formatTable, printable } from '../table.ts';
import type { EntryView, MachineView } from './admin-views.ts';

export function formatMachines(
  { machines, denied }: { readonly machines: readonly MachineView[]; readonly denied: readonly string[] },
  nowMs: number,
  isColoured = false,
): string {
  const c = palette(isColoured);
  const columns: Column<MachineView>[] = [
    { title: 'ID', text: ({ id }) => id },
    { title: 'STATE', text: describeState, colour: (view) => stateColour(view, c) },
    { title: 'VIA', text: ({ transport }) => transport ?? '-' },
    { title: 'ADDRESS', text: ({ address }) => address },
    {
      title: 'HANDSHAKE',
      text: ({ lastHandshake }) => formatAgo(lastHandshake, nowMs),
      colour: ({ lastHandshake }) => handshakeColour(lastHandshake, nowMs, c),
    },
    { title: 'RECEIVED', text: ({ rxBytes }) => formatBytes(rxBytes), isRight: true },
    { title: 'SENT', text: ({ txBytes }) => formatBytes(txBytes), isRight: true },
    { title: 'VERSION', text: ({ talosVersion }) => talosVersion || '-' },
  ];
  // Keys are long, and needed only where they tell two machines apart.
  const waiting = machines.filter(({ state }) => state === 'pending');
  if (new Set(waiting.map(({ uuid }) => uuid)).size < waiting.length) {
    columns.push({ title: 'KEY', text: ({ publicKey }) => publicKey });
  }
  const none = machines.length === 0 ? 'No machine has joined yet: "culvert token show" prints how.\n' : '';
  const lines = denied.map((subject) => `denied: ${subject}\n`).join('');
  return none === '' ? formatTable(columns, machines) + lines : none + lines;
}

function describeState({ state, pendingReason }: MachineView): string {
  return pendingReason === null ? state : `${state} (${pendingReason})`;
}

function stateColour({ state }: MachineView, c: Palette): string {
  if (state === 'connected') return c.green;
  return state === 'pending' ? c.yellow : state === 'down' ? c.red : '';
}

function handshakeColour(iso: string | null, nowMs: number, c: Palette): string {
  return iso === null ? '' : ageColour(secondsSince(iso, nowMs), c);
}

function secondsSince(iso: string, nowMs: number): number {
  return Math.max(0, Math.floor((nowMs - Date.parse(iso)) / 1_000));
}

export function formatMachine(view: MachineView, nowMs: number, isColoured = false): string {
  const c = palette(isColoured);
  const labels = Object.entries(view.labels).map(([name, value]) => `${name}=${value}`);
  return formatPairs([
    ['id', view.id],
    ['state', describeState(view), stateColour(view, c)],
    ['transport', view.transport ?? '-'],
    ['address', view.address],
    ['public key', view.publicKey],
    ['endpoint', view.endpoint ?? '-'],
    ['handshake', formatAgo(view.lastHandshake, nowMs), handshakeColour(view.lastHandshake, nowMs, c)],
    ['received', formatBytes(view.rxBytes)],
    ['sent', formatBytes(view.txBytes)],
    ['tunnel', view.tunnel],
    ['version', view.talosVersion || '-'],
    ['labels', labels.length === 0 ? '-' : labels.join(', ')],
    [view.state === 'pending' ? 'waits since' : 'joined', view.since],
  ]);
}

function formatBytes(bytes: number | null): string {
  return bytes === null ? '-' : formatAmount(bytes);
}

const UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
];

/** `12 s ago`, in the largest unit that fits. */
export function formatAgo(iso: string | null, nowMs: number): string {
  if (iso === null) return '-';
  const seconds = secondsSince(iso, nowMs);
  const [unit, size] = UNITS.find(([, each]) => seconds >= each) ?? ['s', 1];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** One line. */
export function formatEntry(entry: EntryView): string {
  if (entry.kind === 'event') {
    const { at, type, id, actorId, value } = entry;
    const actor = actorId === '' ? '' : ` actor=${actorId}`;
    const size = Buffer.byteLength(value, 'base64');
    return `${printable(`${at} ${type || '(no type)'} id=${id || '-'}${actor} ${size} bytes`)}\n`;
  }
  const { time, level, facility, message } = readLogLine(entry.line);
  const head = [time || entry.at, level, facility].filter((part) => part !== '').join(' ');
  return `${printable(`${head}: ${message.trimEnd()}`)}\n`;
}
