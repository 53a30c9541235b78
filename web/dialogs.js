/** Questions and answers that lie over the page. */
import { call, picture, Refusal } from './api.js';
import { copyable, h, toast } from './dom.js';

/** @import { JoinView } from '../src/app/gateway/admin-views.ts' */

let count = 0;

/**
 * Shows a modal dialog; resolves when it is closed.
 * @param {string} title
 * @param {(close: () => void) => readonly (Node | string)[]} make
 * @returns {Promise<void>}
 */
export function showDialog(title, make) {
  return new Promise((resolve) => {
    const id = `dialog-${++count}`;
    const close = () => dialog.close();
    const dialog = h(
      'dialog',
      {
        'aria-labelledby': id,
        onclose: () => {
          dialog.remove();
          resolve();
        },
      },
      h('h2', { id }, title),
    );
    dialog.append(...make(close));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * @param {string} title
 * @param {string} text what will happen
 * @param {string} verb
 * @returns {Promise<boolean>}
 */
export async function confirm(title, text, verb) {
  let isSure = false;
  await showDialog(title, (close) => [
    h('p', {}, text),
    h(
      'div',
      { class: 'buttons' },
      h('button', { class: 'button', onclick: close, autofocus: true }, 'Cancel'),
      h(
        'button',
        {
          class: 'button danger',
          onclick: () => {
            isSure = true;
            close();
          },
        },
        verb,
      ),
    ),
  ]);
  return isSure;
}

/**
 * How to join with a token: all forms, each to copy, and a picture.
 * @param {JoinView} join
 */
export async function showJoin({ name, command, joinUrl, kernelArguments, documents }) {
  const image = h('img', {
    class: 'qr',
    alt: `QR code of the join URL of token ${name}`,
    width: 180,
    height: 180,
  });
  let url = '';
  picture(`/join/qr?name=${encodeURIComponent(name)}`)
    .then((blob) => {
      url = URL.createObjectURL(blob);
      image.src = url;
    })
    .catch((error) => toast(String(error.message ?? error), 'bad'));
  await showDialog(`Join with “${name}”`, (close) => [
    h(
      'div',
      { class: 'join' },
      h(
        'div',
        { class: 'stack' },
        h('p', { class: 'quiet' }, 'A token is a secret: whoever has it may join.'),
        h('h3', {}, 'On a Linux host'),
        copyable('join command', command),
        h('h3', {}, 'Talos Linux, kernel arguments'),
        copyable('kernel arguments', kernelArguments.join(' ')),
        h('h3', {}, 'Talos Linux, machine configuration'),
        copyable('machine configuration', documents.trimEnd()),
      ),
      h(
        'figure',
        {},
        image,
        h('figcaption', { class: 'quiet' }, 'The join URL, for cameras'),
        copyable('join URL', joinUrl),
      ),
    ),
    h('div', { class: 'buttons' }, h('button', { class: 'button', onclick: close, autofocus: true }, 'Done')),
  ]);
  URL.revokeObjectURL(url);
}

/** Asks for a new token and shows how to join with it. */
export async function createToken() {
  /** @type {JoinView | undefined} */
  let made;
  await showDialog('New join token', (close) => {
    const problem = h('p', { class: 'problem', role: 'alert' });
    const field = (
      /** @type {string} */ label,
      /** @type {Record<string, unknown>} */ attributes,
      /** @type {string} */ hint = '',
    ) => {
      const input = h('input', attributes);
      return {
        input,
        row: h(
          'label',
          { class: 'field' },
          h('span', {}, label),
          input,
          hint === '' ? null : h('small', { class: 'quiet' }, hint),
        ),
      };
    };
    const name = field(
      'Name',
      { required: true, maxlength: 16, autocomplete: 'off', autofocus: true, name: 'name' },
      'At most 16 characters',
    );
    const description = field('What it is for', { maxlength: 256, autocomplete: 'off', name: 'description' });
    const uses = field('Machines that may join', {
      type: 'number',
      min: 1,
      step: 1,
      placeholder: 'no limit',
      name: 'uses',
    });
    const expires = h(
      'select',
      { name: 'expires' },
      ...EXPIRIES.map(([text, hours]) => h('option', { value: hours }, text)),
    );
    const submit = async (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const hours = Number(expires.value);
      try {
        made = await call('POST', '/tokens', {
          name: name.input.value.trim(),
          ...(description.input.value === '' ? {} : { description: description.input.value }),
          ...(uses.input.value === '' ? {} : { useLimit: Number(uses.input.value) }),
          ...(hours === 0 ? {} : { expires: new Date(Date.now() + hours * 3_600_000).toISOString() }),
        });
        close();
      } catch (error) {
        problem.textContent = error instanceof Refusal ? error.message : 'The gateway does not answer.';
      }
    };
    return [
      h(
        'form',
        { onsubmit: submit },
        name.row,
        description.row,
        uses.row,
        h('label', { class: 'field' }, h('span', {}, 'Expires'), expires),
        problem,
        h(
          'div',
          { class: 'buttons' },
          h('button', { class: 'button', type: 'button', onclick: close }, 'Cancel'),
          h('button', { class: 'button primary', type: 'submit' }, 'Create token'),
        ),
      ),
    ];
  });
  if (made) await showJoin(made);
}

const EXPIRIES = /** @type {const} */ ([
  ['never', 0],
  ['in an hour', 1],
  ['in a day', 24],
  ['in a week', 168],
  ['in 30 days', 720],
]);
