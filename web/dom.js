/** Elements without markup: text stays text, whatever machines say about themselves. */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * Makes an element. `onX` of the attributes are listeners; true and false set and leave out an attribute; children are
 * nodes or texts, and what is null or false is left out.
 * @param {string} tag
 * @param {Readonly<Record<string, unknown>>} [attributes]
 * @param {...(Node | string | number | null | false)} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/**
 * @param {string} tag
 * @param {Readonly<Record<string, unknown>>} [attributes]
 * @param {...(Node | string | number | null | false)} children
 * @returns {any}
 */
export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * @template {Element} T
 * @param {T} element
 * @param {Readonly<Record<string, unknown>>} attributes
 * @param {readonly (Node | string | number | null | false)[]} children
 * @returns {T}
 */
function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== undefined && value !== null)
      element.setAttribute(name, String(/** @type {string | number | boolean} */ (value)));
  }
  for (const child of children) {
    if (child !== null && child !== false) element.append(typeof child === 'number' ? String(child) : child);
  }
  return element;
}

/** Parts of a view that follow the state: told once, brought up to date by `update`. */
export class Live {
  /** @type {(() => void)[]} */
  #parts = [];

  /**
   * A text that changes.
   * @param {() => string | number} read
   * @returns {Text}
   */
  text(read) {
    const node = document.createTextNode('');
    this.#add(read, (value) => (node.data = String(value)));
    return node;
  }

  /**
   * An element with an attribute that changes; null takes it away.
   * @template {Element} T
   * @param {T} element
   * @param {string} name
   * @param {() => string | number | boolean | null} read
   * @returns {T}
   */
  attribute(element, name, read) {
    this.#add(read, (value) => {
      if (value === null || value === false) element.removeAttribute(name);
      else element.setAttribute(name, value === true ? '' : String(value));
    });
    return element;
  }

  /**
   * An element with children that are made anew when `read` gives another key.
   * @template {Element} T
   * @param {T} element
   * @param {() => string} key
   * @param {() => readonly (Node | string)[]} make
   * @returns {T}
   */
  children(element, key, make) {
    this.#add(key, () => element.replaceChildren(...make()));
    return element;
  }

  /** @param {() => void} task */
  each(task) {
    this.#parts.push(task);
    task();
  }

  update() {
    for (const part of this.#parts) part();
  }

  /**
   * @template V
   * @param {() => V} read
   * @param {(value: V) => void} write
   */
  #add(read, write) {
    /** @type {V | undefined} */
    let shown;
    let isFirst = true;
    this.each(() => {
      const value = read();
      if (!isFirst && value === shown) return;
      isFirst = false;
      shown = value;
      write(value);
    });
  }
}

/**
 * @param {string} message
 * @param {'good' | 'bad'} [tone]
 */
export function toast(message, tone = 'good') {
  const element = h('div', { class: `toast ${tone}` }, message);
  const place = document.getElementById('toasts');
  place?.append(element);
  // Shown anew it lies over a dialog that was opened meanwhile.
  place?.hidePopover();
  place?.showPopover();
  setTimeout(() => element.remove(), 6_000);
}

/**
 * Copies a text, or selects it where the browser does not let pages write to the clipboard (plain HTTP).
 * @param {string} text
 * @param {Element} shown
 */
export async function copy(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
    toast('Copied');
  } catch {
    getSelection()?.selectAllChildren(shown);
    toast('Selected: press Ctrl+C to copy');
  }
}

/**
 * A text with a button that copies it.
 * @param {string} label what it is, for screen readers
 * @param {string} text
 * @returns {HTMLElement}
 */
export function copyable(label, text) {
  const shown = h('code', {}, text);
  return h(
    'div',
    { class: 'copyable' },
    h('pre', { tabindex: 0, 'aria-label': label, role: 'group' }, shown),
    h(
      'button',
      { class: 'button small', onclick: () => void copy(text, shown), 'aria-label': `Copy ${label}` },
      'Copy',
    ),
  );
}
