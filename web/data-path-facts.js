/** Facts about the data path that stand below its map. */
import { h } from './dom.js';
import { bytes, count, words } from './format.js';
import { factList } from './parts.js';

/** @import { Live } from './dom.js' */
/** @import { DeviceView, StreamsView } from '../src/app/api/datapath-view.ts' */
/** @import { State } from './state.js' */

/** @type {Readonly<Record<DeviceView['lanes'], string>>} */
const LANES = {
  inline: 'on the main thread',
  worker: 'on a thread of their own',
  workers: 'on two threads of their own, one each way',
};

/** @type {Readonly<Record<string, string>>} */
export const TUN_WORDS = {
  tcp_and_udp: 'TCP and UDP in batches',
  tcp: 'TCP in batches',
  plain: 'packet by packet',
};
export const OFFLOAD_WORDS = { on: 'on', off: 'off', failed: 'failed, switched off' };

/**
 * @param {State} state
 * @param {(device: DeviceView) => string} read
 */
export function of({ datapath }, read) {
  return datapath ? read(datapath.device) : '';
}

/**
 * @param {Live} live
 * @param {State} state
 */
export function handshakeFacts(live, state) {
  const text = (/** @type {(device: DeviceView) => string} */ read) => live.text(() => of(state, read));
  return factList([
    ['Completed, peer began', text(({ handshakes }) => count(handshakes.completedAsResponder))],
    ['Completed, begun here', text(({ handshakes }) => count(handshakes.completedAsInitiator))],
    ['Initiations received', text(({ handshakes }) => count(handshakes.initiationsReceived))],
    ['Initiations sent', text(({ handshakes }) => count(handshakes.initiationsSent))],
    ['Given up after 90 s', text(({ handshakes }) => count(handshakes.gaveUp))],
    ['Under load', text(({ isUnderLoad }) => (isUnderLoad ? 'yes: cookies are demanded first' : 'no'))],
  ]);
}

/**
 * @param {Live} live
 * @param {State} state
 */
export function backendFacts(live, state) {
  const text = (/** @type {(device: DeviceView) => string} */ read) => live.text(() => of(state, read));
  return factList([
    ['Packets are moved', text(({ lanes }) => LANES[lanes])],
    [
      'ChaCha20-Poly1305',
      live.children(
        h('ul', {}),
        () => JSON.stringify(state.datapath?.device.backends.transportBySize),
        () => sizedBackends(state).map((line) => h('li', {}, line)),
      ),
    ],
    ['X25519', text(({ backends }) => backends.x25519)],
    ['BLAKE2s', text(({ backends }) => backends.blake2s)],
    ['TUN', text(({ tun }) => TUN_WORDS[tun] ?? words(tun))],
    ['UDP, to send (GSO)', text(({ offloads }) => OFFLOAD_WORDS[offloads.gso])],
    ['UDP, received (GRO)', text(({ offloads }) => OFFLOAD_WORDS[offloads.gro])],
  ]);
}

/** @param {State} state */
function sizedBackends({ datapath }) {
  const sized = datapath?.device.backends.transportBySize ?? [];
  if (sized.length === 0) return ['choosing …'];
  return sized.map(({ backend, longest }) =>
    longest === null
      ? sized.length === 1
        ? `${backend}, all sizes`
        : `${backend}, longer ones`
      : `${backend}, up to ${count(longest)} bytes`,
  );
}

/**
 * @param {Live} live
 * @param {State} state
 */
export function streamFacts(live, state) {
  const streams = (/** @type {(streams: StreamsView) => string} */ read) =>
    live.text(() => (state.datapath?.streams ? read(state.datapath.streams) : '–'));
  return factList([
    ['Opened, refused', streams(({ opened, refused }) => `${count(opened)}, ${count(refused)}`)],
    [
      'Received',
      streams(
        ({ receivedBytes, receivedDatagrams }) =>
          `${bytes(receivedBytes)} in ${count(receivedDatagrams)} datagrams`,
      ),
    ],
    [
      'Sent',
      streams(({ sentBytes, sentDatagrams }) => `${bytes(sentBytes)} in ${count(sentDatagrams)} datagrams`),
    ],
    ['Dropped', streams((view) => counts(view.drops))],
    ['Ended', streams((view) => counts(view.ends))],
  ]);
}

/** @param {Readonly<Record<string, number>>} values */
function counts(values) {
  const parts = Object.entries(values).filter(([, value]) => value > 0);
  return parts.length === 0
    ? 'none'
    : parts.map(([name, value]) => `${count(value)} ${words(name)}`).join(', ');
}
