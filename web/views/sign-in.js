/** Asks for the admin token. */
import { call, Refusal, setToken } from '../api.js';
import { h } from '../dom.js';

/** @import { View } from '../parts.js' */

/**
 * @param {() => void} onDone
 * @returns {View}
 */
export function signIn(onDone) {
  const problem = h('p', { class: 'problem', role: 'alert' });
  const token = h('input', {
    type: 'password',
    autocomplete: 'off',
    required: true,
    autofocus: true,
    name: 'token',
  });
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    setToken(token.value.trim());
    try {
      await call('GET', '/status');
      onDone();
    } catch (error) {
      setToken(null);
      problem.textContent =
        error instanceof Refusal && error.status === 401 ? 'That is not the admin token.' : 'Nobody answers.';
    }
  };
  const element = h(
    'div',
    { class: 'view narrow' },
    h('img', { src: '/icon.svg', alt: '', width: 48, height: 48 }),
    h('h1', {}, 'Culvert'),
    h(
      'p',
      {},
      'On the machine where it runs, ',
      h('code', {}, 'culvert page'),
      ' prints an address that signs in, for a device ',
      h('code', {}, 'culvert page wg0'),
      '. Or give the token behind its “#” here:',
    ),
    h(
      'form',
      { onsubmit: submit },
      h('label', { class: 'field' }, h('span', {}, 'Admin token'), token),
      problem,
      h('div', { class: 'buttons' }, h('button', { class: 'button primary', type: 'submit' }, 'Sign in')),
    ),
    h(
      'p',
      { class: 'quiet' },
      'A gateway has it in the file ',
      h('code', {}, 'http-token'),
      ' of the state directory. It stays in this tab.',
    ),
  );
  return { title: 'Sign in', element, update: () => {} };
}
