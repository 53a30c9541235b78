/** Machines that wait to be let in, and who is turned away. */
import { call } from '../api.js';
import { confirm } from '../dialogs.js';
import { h, Live, toast } from '../dom.js';
import { date } from '../format.js';
import { card, labelText, PENDING_WORDS, titleBar } from '../parts.js';

/** @import { Context, View } from '../parts.js' */
/** @import { MachineView } from '../../src/app/gateway/admin-views.ts' */

/** More are told as a number: nobody decides about hundreds one by one. */
const MAX_SHOWN = 200;

/**
 * @param {Context} context
 * @returns {View}
 */
export function waiting({ state, act }) {
  const live = new Live();
  const pending = () =>
    [...state.machines.values()].map(({ view }) => view).filter((view) => view.state === 'pending');
  const list = live.children(
    h('div', { class: 'stack' }),
    () => `${state.version}`,
    () => {
      const all = pending();
      if (all.length === 0) return [h('p', { class: 'quiet' }, 'Nobody waits.')];
      return [
        h('ul', { class: 'people' }, ...all.slice(0, MAX_SHOWN).map((view) => row(view, act))),
        ...(all.length > MAX_SHOWN ? [h('p', { class: 'quiet' }, `and ${all.length - MAX_SHOWN} more`)] : []),
      ];
    },
  );
  const denied = live.children(
    h('div', { class: 'stack' }),
    () => state.denied.join(),
    () =>
      state.denied.length === 0
        ? [h('p', { class: 'quiet' }, 'Nobody.')]
        : [
            h(
              'ul',
              { class: 'people' },
              ...state.denied.map((subject) =>
                h(
                  'li',
                  {},
                  h('span', { class: 'mono clip' }, subject),
                  h(
                    'button',
                    {
                      class: 'button small',
                      'aria-label': `Allow again ${subject}`,
                      onclick: () =>
                        act(async () => {
                          await call('POST', `/machines/${encodeURIComponent(subject)}/accept`);
                          toast('It may ask again');
                        }),
                    },
                    'Allow again',
                  ),
                ),
              ),
            ),
          ],
  );
  const element = h(
    'div',
    { class: 'view' },
    titleBar(['Waiting'], 'They have an address, but the services of the gateway refuse them.'),
    card('To be let in', list),
    card('Turned away', denied),
  );
  return { title: 'Waiting', element, update: () => live.update() };
}

/**
 * @param {MachineView} view
 * @param {Context['act']} act
 * @returns {HTMLElement}
 */
function row(view, act) {
  const path = `/machines/${encodeURIComponent(view.publicKey)}`;
  const accept = () =>
    act(async () => {
      await call('POST', `${path}/accept`);
      toast('It is in');
    });
  const deny = () =>
    act(async () => {
      if (!(await confirm('Turn this machine away?', 'For good, whatever token it has.', 'Deny'))) return;
      await call('POST', `${path}/deny`);
    });
  return h(
    'li',
    {},
    h(
      'div',
      { class: 'who' },
      h('strong', { class: 'mono' }, view.uuid),
      h(
        'span',
        { class: 'quiet' },
        [view.pendingReason ? PENDING_WORDS[view.pendingReason] : '', view.talosVersion, labelText(view)]
          .filter(Boolean)
          .join(' · '),
      ),
      h('span', { class: 'quiet' }, `key ${view.publicKey}, since ${date(view.since)} UTC`),
    ),
    h(
      'div',
      { class: 'buttons' },
      h(
        'button',
        { class: 'button primary', onclick: accept, 'aria-label': `Accept ${view.uuid}` },
        'Accept',
      ),
      h('button', { class: 'button danger', onclick: deny, 'aria-label': `Deny ${view.uuid}` }, 'Deny'),
    ),
  );
}
