/** One machine: what is known, what it says, what can be done with it. */
import { call, watch } from '../api.js';
import { totals, trafficCard } from '../cards.js';
import { confirm } from '../dialogs.js';
import { h, Live, toast } from '../dom.js';
import { date, short, time } from '../format.js';
import {
  card,
  factList,
  handshakeAge,
  labelText,
  PENDING_WORDS,
  stateText,
  stateTone,
  titleBar,
} from '../parts.js';

/** @import { Context, View } from '../parts.js' */
/** @import { EntryView } from '../../src/app/gateway/admin-views.ts' */

/** Lines kept on the page; the gateway has more. */
const MAX_LINES = 500;

/**
 * @param {Context} context
 * @param {string} id
 * @returns {View}
 */
export function machine(context, id) {
  const { state, act } = context;
  const live = new Live();
  const found = () => state.findMachine(id);
  const read = (
    /** @type {(view: import('../../src/app/gateway/admin-views.ts').MachineView) => string} */ text,
  ) =>
    live.text(() => {
      const view = found()?.view;
      return view ? text(view) : '–';
    });
  const badge = h('span', { class: 'badge' });
  live.each(() => {
    const view = found()?.view;
    badge.className = `badge ${view ? stateTone(view) : 'quiet'}`;
    badge.textContent = view ? stateText(view) : 'Gone';
  });
  const path = `/machines/${encodeURIComponent(id)}`;
  const leave = async () => {
    location.hash = '#/machines';
  };
  const tunnel = h(
    'select',
    {
      'aria-label': 'Transport',
      onchange: () =>
        act(async () => {
          await call('PUT', `${path}/tunnel`, { tunnel: tunnel.value });
          toast('Takes effect when the machine provisions next');
        }),
    },
    h('option', { value: 'auto' }, 'as it asks'),
    h('option', { value: 'on' }, 'gRPC'),
    h('option', { value: 'off' }, 'UDP'),
  );
  live.each(() => {
    const view = found()?.view;
    if (view && document.activeElement !== tunnel) tunnel.value = view.tunnel;
  });
  const button = (
    /** @type {string} */ text,
    /** @type {string} */ tone,
    /** @type {() => Promise<void>} */ action,
  ) => h('button', { class: `button ${tone}`, onclick: () => act(action) }, text);
  const member = h(
    'div',
    { class: 'buttons' },
    h('label', { class: 'inline' }, h('span', { class: 'quiet' }, 'Transport'), tunnel),
    button('Reset unique token', '', async () => {
      const text = 'The machine may come back with another unique token, after it was wiped for instance.';
      if (!(await confirm('Reset the unique token?', text, 'Reset'))) return;
      await call('POST', `${path}/reset-token`);
      toast('It may come back with another unique token');
    }),
    button('Remove', 'danger', async () => {
      const text =
        'Its address, its peer and its logs are forgotten. With a valid token it may join again as a new machine.';
      if (!(await confirm('Remove this machine?', text, 'Remove'))) return;
      await call('DELETE', path);
      await leave();
    }),
    button('Deny', 'danger', async () => {
      const text = 'It is removed, and turned away for good, whatever token it has.';
      if (!(await confirm('Deny this machine?', text, 'Deny'))) return;
      await call('POST', `${path}/deny`);
      await leave();
    }),
  );
  const entries = new Entries(path);
  const element = h(
    'div',
    { class: 'view' },
    h('p', { class: 'crumbs' }, h('a', { href: '#/machines' }, 'Machines')),
    titleBar(
      [
        h(
          'span',
          { class: 'mono' },
          read(({ id: name }) => short(name)),
        ),
        ' ',
        badge,
      ],
      read(labelText),
      live.attribute(member, 'hidden', () => found()?.view.state === 'pending' || !found()),
    ),
    live.attribute(
      h(
        'p',
        { class: 'note' },
        'It waits: ',
        read(({ pendingReason }) => (pendingReason ? PENDING_WORDS[pendingReason] : '')),
        '. ',
        h('a', { href: '#/waiting' }, 'Let it in or turn it away'),
      ),
      'hidden',
      () => found()?.view.state !== 'pending',
    ),
    h(
      'div',
      { class: 'columns' },
      card(
        'Facts',
        factList([
          [
            'Id',
            h(
              'span',
              { class: 'mono' },
              read(({ id: name }) => name),
            ),
          ],
          [
            'Overlay address',
            h(
              'span',
              { class: 'mono' },
              read(({ address }) => address),
            ),
          ],
          [
            'Public key',
            h(
              'span',
              { class: 'mono' },
              read(({ publicKey }) => publicKey),
            ),
          ],
          [
            'Endpoint',
            h(
              'span',
              { class: 'mono' },
              read(({ endpoint }) => endpoint ?? '–'),
            ),
          ],
          [
            'Last handshake',
            live.text(() => {
              const view = found()?.view;
              return view?.lastHandshake ? `${handshakeAge(view, state).text} ago` : 'never';
            }),
          ],
          ['Talos version', read(({ talosVersion }) => talosVersion || '–')],
          ['Since', read(({ since }) => `${date(since)} UTC`)],
        ]),
      ),
      trafficCard(live, 'Traffic of this machine in the last two minutes', found, () => {
        const view = found()?.view;
        return view ? `Since the gateway started: ${totals(view)}` : '';
      }),
    ),
    entries.element,
  );
  let isFollowing = false;
  live.each(() => {
    const view = found()?.view;
    if (isFollowing || !view || view.state === 'pending') return;
    isFollowing = true;
    entries.follow();
  });
  return { title: short(id), element, update: () => live.update(), end: () => entries.end() };
}

class Entries {
  #abort = new AbortController();
  /** Of each kind, the newest shown. */
  #last = { log: 0, event: 0 };
  #logs = h('ol', { class: 'log' });
  #events = h('ol', { class: 'log' });
  #logBox = h('div', { class: 'logs', tabindex: 0, role: 'region', 'aria-label': 'Kernel log' }, this.#logs);
  #eventBox = h('div', { class: 'logs', tabindex: 0, role: 'region', 'aria-label': 'Events' }, this.#events);
  element = h('div', { class: 'columns' }, card('Kernel log', this.#logBox), card('Events', this.#eventBox));

  /** @param {string} path */
  constructor(path) {
    this.path = path;
    for (const [list, text] of /** @type {const} */ ([
      [this.#logs, 'No line yet.'],
      [this.#events, 'No event yet.'],
    ])) {
      list.append(h('li', { class: 'quiet' }, text));
    }
  }

  follow() {
    const path = () => {
      const after = Math.min(this.#last.log, this.#last.event);
      return `${this.path}/entries/live?count=200${after === 0 ? '' : `&after=${after}`}`;
    };
    void watch(
      path,
      {
        onEvent: (_name, entry) => this.#add(entry),
        // The list of machines says why.
        onRefused: () => {},
      },
      this.#abort.signal,
    );
  }

  end() {
    this.#abort.abort();
  }

  /** @param {EntryView} entry */
  #add(entry) {
    const isLog = entry.kind === 'log';
    // Each kind comes in order, both together do not: after a failure the lines of one kind come again.
    const kind = isLog ? 'log' : 'event';
    if (entry.sequence <= this.#last[kind]) return;
    this.#last[kind] = entry.sequence;
    const [list, box] = isLog ? [this.#logs, this.#logBox] : [this.#events, this.#eventBox];
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    if (list.firstElementChild?.classList.contains('quiet') && list.dataset['isUsed'] === undefined)
      list.replaceChildren();
    list.dataset['isUsed'] = '';
    const { level, text } = isLog
      ? logLine(entry.line)
      : { level: '', text: `${entry.type} ${entry.actorId}` };
    list.append(
      h('li', { class: level }, h('time', { datetime: entry.at, class: 'quiet' }, time(entry.at)), ' ', text),
    );
    if (list.childElementCount > MAX_LINES) list.firstElementChild?.remove();
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  }
}

/**
 * Talos sends JSON with `msg` and `talos-level`; whatever else comes is shown as it is.
 * @param {string} line
 * @returns {{ level: string, text: string }}
 */
function logLine(line) {
  try {
    const { msg, 'talos-level': level } = JSON.parse(line);
    if (typeof msg === 'string') {
      return {
        level: /err|crit|alert|emerg/.test(level) ? 'bad' : /warn/.test(level) ? 'warn' : '',
        text: msg,
      };
    }
  } catch {
    // Not JSON.
  }
  return { level: '', text: line };
}
