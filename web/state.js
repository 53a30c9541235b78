/** What a gateway or a device tells, and what follows from it: rates, counts, histories. */
import { watch } from './api.js';

/** @import { MachineView, StatusView, TokenView } from '../src/app/gateway/admin-views.ts' */
/** @import { DeviceStatusView, PeerView } from '../src/app/api/device-views.ts' */
/** @import { DatapathView } from '../src/app/api/datapath-view.ts' */
/** @import { RowsChange } from '../src/app/api/live-feed.ts' */
/** @import { Refusal } from './api.js' */

/** Turns that a sparkline shows: two minutes. */
export const HISTORY = 60;

const MIN_MEASURE_MS = 1_500;

/** The latest values of something that is measured every turn. */
export class Ring {
  #values = new Float32Array(HISTORY);
  #next = 0;

  /** @param {number} value */
  push(value) {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % HISTORY;
  }

  /** Oldest first. */
  values() {
    return [...this.#values.subarray(this.#next), ...this.#values.subarray(0, this.#next)];
  }

  get last() {
    return this.#values[(this.#next + HISTORY - 1) % HISTORY] ?? 0;
  }
}

/**
 * A machine or a peer with what it did lately.
 * @template {MachineView | PeerView} View
 */
export class Row {
  /** Received from it and sent to it, bytes a second. */
  rx = new Ring();
  tx = new Ring();
  #seenRx = -1;
  #seenTx = -1;

  /** @param {View} view */
  constructor(view) {
    this.view = view;
  }

  get rate() {
    return this.rx.last + this.tx.last;
  }

  /** Both directions, oldest first. */
  sum() {
    const sent = this.tx.values();
    return this.rx.values().map((value, i) => value + (sent[i] ?? 0));
  }

  /** @param {number} seconds since the turn before */
  turn(seconds) {
    const { rxBytes, txBytes } = this.view;
    this.rx.push(rate(rxBytes, this.#seenRx, seconds));
    this.tx.push(rate(txBytes, this.#seenTx, seconds));
    this.#seenRx = rxBytes ?? -1;
    this.#seenTx = txBytes ?? -1;
  }
}

/**
 * @param {number | null} now
 * @param {number} before -1: unknown
 * @param {number} seconds
 */
function rate(now, before, seconds) {
  return now === null || before < 0 || seconds <= 0 ? 0 : Math.max(0, now - before) / seconds;
}

export class State {
  /** Machines or peers by public key. @type {Map<string, Row<any>>} */
  rows = new Map();
  /** @type {StatusView | DeviceStatusView | undefined} */
  status;
  /** @type {DatapathView | undefined} */
  datapath;
  /** @type {readonly TokenView[]} */
  tokens = [];
  /** @type {readonly string[]} */
  denied = [];
  isConnected = false;
  /** Everything that was there has come. */
  isReady = false;
  /** Grows when rows come, go or change their state: lists are made anew. */
  version = 0;
  rx = new Ring();
  tx = new Ring();
  /** Share of a core that each thread took lately. @type {Map<string, number>} */
  loads = new Map();
  /** @type {Map<string, number>} */
  #cpuSeconds = new Map();
  #measuredMs = 0;
  #atMs = 0;
  #heardMs = 0;
  /** Keys of rows since the stream was opened: what is not among them is gone. @type {Set<string> | undefined} */
  #fresh;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
  }

  /** @returns {Map<string, Row<MachineView>>} */
  get machines() {
    return this.rows;
  }

  /** @returns {Map<string, Row<PeerView>>} */
  get peers() {
    return this.rows;
  }

  /** When it is a gateway. */
  get gateway() {
    return this.status?.kind === 'gateway' ? this.status : undefined;
  }

  /** When it is a device. */
  get device() {
    return this.status?.kind === 'device' ? this.status : undefined;
  }

  /** The clock over there, milliseconds. */
  get now() {
    return this.#atMs + (performance.now() - this.#heardMs);
  }

  /**
   * @param {AbortSignal} signal
   * @param {(refusal: Refusal) => void} onRefused
   */
  follow(signal, onRefused) {
    const handlers = {
      onOpen: () => (this.#fresh = new Set()),
      onLost: () => {
        this.isConnected = false;
        this.onChange();
      },
      /** @type {(name: string, data: any) => void} */
      onEvent: (name, data) => this.#take(name, data),
      onRefused,
    };
    return watch(() => '/live', handlers, signal);
  }

  /** @param {string} state */
  countOf(state) {
    /** @type {Readonly<Record<string, number>> | undefined} */
    const counts = this.status?.kind === 'device' ? this.status.peers : this.status?.machines;
    return counts?.[state] ?? 0;
  }

  /** @param {string} text an id of a machine, or a key */
  findMachine(text) {
    const known = this.machines.get(text);
    if (known) return known;
    for (const machine of this.machines.values()) {
      if (machine.view.id === text && machine.view.state !== 'pending') return machine;
    }
    return undefined;
  }

  /**
   * @param {string} name
   * @param {any} data
   */
  #take(name, data) {
    switch (name) {
      case 'status':
        this.status = data;
        break;
      case 'datapath':
        this.datapath = data;
        break;
      case 'tokens':
        this.tokens = data.tokens;
        break;
      case 'denied':
        this.denied = data.denied;
        break;
      case 'machines':
      case 'peers':
        this.#change(data);
        break;
      case 'tick':
        this.#turn(Date.parse(data.at));
        break;
    }
  }

  /** @param {RowsChange<MachineView | PeerView>} change */
  #change({ changed, removed }) {
    for (const key of removed) this.rows.delete(key);
    if (removed.length > 0) this.version++;
    for (const change of changed) {
      this.#fresh?.add(change.publicKey);
      const known = this.rows.get(change.publicKey);
      if (!known) {
        // A row that is not known comes whole.
        this.rows.set(change.publicKey, new Row(/** @type {any} */ (change)));
        this.version++;
        continue;
      }
      if (change.state !== undefined && change.state !== known.view.state) this.version++;
      known.view = { ...known.view, ...change };
    }
  }

  /** @param {number} atMs */
  #turn(atMs) {
    this.#atMs = atMs;
    this.#heardMs = performance.now();
    if (this.#fresh) {
      for (const key of this.rows.keys()) {
        if (this.#fresh.has(key)) continue;
        this.rows.delete(key);
        this.version++;
      }
      this.#fresh = undefined;
    }
    // Something was done, and the server did not wait for the next turn: too short to tell a rate.
    if (atMs - this.#measuredMs >= MIN_MEASURE_MS) this.#measure(atMs);
    this.isConnected = true;
    this.isReady = true;
    this.onChange();
  }

  /** @param {number} atMs */
  #measure(atMs) {
    const seconds = this.#measuredMs === 0 ? 0 : (atMs - this.#measuredMs) / 1000;
    this.#measuredMs = atMs;
    let rx = 0;
    let tx = 0;
    for (const row of this.rows.values()) {
      row.turn(seconds);
      rx += row.rx.last;
      tx += row.tx.last;
    }
    this.rx.push(rx);
    this.tx.push(tx);
    const threads = this.datapath?.device.threads ?? [];
    for (const { name, cpuSeconds } of threads) {
      const before = this.#cpuSeconds.get(name);
      this.loads.set(name, before === undefined || seconds <= 0 ? 0 : (cpuSeconds - before) / seconds);
      this.#cpuSeconds.set(name, cpuSeconds);
    }
  }
}
