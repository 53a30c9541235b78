/** Join tokens: made, shown, revoked. */
import { call } from '../api.js';
import { confirm, createToken, showJoin } from '../dialogs.js';
import { h, Live, toast } from '../dom.js';
import { count, date, words } from '../format.js';

/** @import { Context, View } from '../parts.js' */
/** @import { TokenView } from '../../src/app/gateway/admin-views.ts' */
import { titleBar } from '../parts.js';

/**
 * @param {Context} context
 * @returns {View}
 */
export function tokens({ state, act }) {
  const live = new Live();
  const list = live.children(
    h('tbody', {}),
    () => JSON.stringify(state.tokens),
    () => state.tokens.map((token) => row(token, act)),
  );
  const element = h(
    'div',
    { class: 'view' },
    titleBar(
      ['Join tokens'],
      'Machines that joined with a token stay when it is revoked.',
      h('button', { class: 'button primary', onclick: () => act(createToken) }, 'New token'),
    ),
    h(
      'div',
      { class: 'card table', tabindex: 0, role: 'region', 'aria-label': 'Join tokens' },
      h(
        'table',
        {},
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            ...['Name', 'Status', 'Joined', 'Expires', 'Created'].map((title) =>
              h('th', { scope: 'col' }, title),
            ),
            h('th', { scope: 'col' }, h('span', { class: 'hidden' }, 'Actions')),
          ),
        ),
        list,
      ),
    ),
  );
  return { title: 'Join tokens', element, update: () => live.update() };
}

const TONES = { active: 'good', revoked: 'quiet', expired: 'quiet', used_up: 'warn' };

/**
 * @param {TokenView} token
 * @param {Context['act']} act
 * @returns {HTMLElement}
 */
function row(token, act) {
  const { name, status, isDefault, uses, useLimit, expires, created, provider, description } = token;
  const path = `/tokens/${encodeURIComponent(name)}`;
  const button = (/** @type {string} */ text, /** @type {() => Promise<void>} */ action, tone = '') =>
    h(
      'button',
      { class: `button small ${tone}`, 'aria-label': `${text} ${name}`, onclick: () => act(action) },
      text,
    );
  const actions = [
    button('How to join', async () => showJoin(await call('GET', `/join?name=${encodeURIComponent(name)}`))),
    ...(isDefault || status !== 'active'
      ? []
      : [button('Make default', () => call('POST', `${path}/default`))]),
    ...(provider !== null
      ? []
      : status === 'revoked'
        ? [button('Restore', () => call('POST', `${path}/restore`))]
        : [
            button(
              'Revoke',
              async () => {
                if (
                  !(await confirm(
                    `Revoke “${name}”?`,
                    'Nobody joins with it any more. Who has joined stays.',
                    'Revoke',
                  ))
                )
                  return;
                await call('POST', `${path}/revoke`);
                toast('Revoked');
              },
              'danger',
            ),
          ]),
    ...(isDefault || provider !== null
      ? []
      : [
          button(
            'Delete',
            async () => {
              if (
                !(await confirm(`Delete “${name}”?`, 'It is gone for good. Who has joined stays.', 'Delete'))
              )
                return;
              await call('DELETE', path);
            },
            'danger',
          ),
        ]),
  ];
  return h(
    'tr',
    {},
    h(
      'th',
      { scope: 'row' },
      name,
      isDefault ? h('span', { class: 'badge plain' }, 'default') : null,
      description === '' ? null : h('span', { class: 'quiet block' }, description),
    ),
    h('td', {}, h('span', { class: `badge ${TONES[status]}` }, words(status))),
    h('td', {}, useLimit === null ? count(uses) : `${count(uses)} of ${count(useLimit)}`),
    h('td', {}, expires === null ? 'never' : date(expires)),
    h('td', {}, date(created)),
    h('td', {}, h('div', { class: 'buttons' }, ...actions)),
  );
}
