/** A table of any length: rows that are not in sight are not in the page. */
import { h } from './dom.js';

const ROW_HEIGHT = 44;
/** Rows above and below the ones in sight. */
const OVERSCAN = 6;

/**
 * @template Row
 * @typedef {object} Column
 * @property {string} title
 * @property {(cell: HTMLElement) => (row: Row) => void} make what shows a row in a cell
 * @property {(a: Row, b: Row) => number} [compare]
 * @property {boolean} [isRight]
 */

/** @template Row */
export class Grid {
  /** @type {readonly Column<Row>[]} */
  #columns;
  /** @type {(row: Row) => void} */
  #open;
  /** @type {readonly Row[]} */
  #rows = [];
  /** @type {{ element: HTMLElement, show: (row: Row) => void, index: number }[]} */
  #pool = [];
  #active = 0;
  #isScheduled = false;
  #sorted = -1;
  #isDescending = false;
  #canvas = h('div', { class: 'canvas', role: 'rowgroup' });
  /** @type {HTMLElement[]} */
  #titles;

  /**
   * @param {{ label: string, class: string, columns: readonly Column<Row>[], open: (row: Row) => void, onSort: () => void }} options
   */
  constructor({ label, class: name, columns, open, onSort }) {
    this.#columns = columns;
    this.#open = open;
    this.#titles = columns.map((column, i) => this.#makeTitle(column, i, onSort));
    this.element = h(
      'div',
      {
        class: `grid ${name}`,
        role: 'grid',
        tabindex: 0,
        'aria-label': label,
        'aria-colcount': columns.length,
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
        onscroll: () => this.#schedule(),
        onfocus: () => this.#mark(),
      },
      h(
        'div',
        { role: 'rowgroup', class: 'head' },
        h('div', { class: 'row', role: 'row', 'aria-rowindex': 1 }, ...this.#titles),
      ),
      this.#canvas,
    );
    new ResizeObserver(() => this.#schedule()).observe(this.element);
  }

  /** Compares as the user wants it sorted; undefined: as it is. */
  get compare() {
    const compare = this.#columns[this.#sorted]?.compare;
    if (!compare) return undefined;
    return this.#isDescending ? (/** @type {Row} */ a, /** @type {Row} */ b) => compare(b, a) : compare;
  }

  /** @param {readonly Row[]} rows */
  setRows(rows) {
    this.#rows = rows;
    this.#active = Math.min(this.#active, Math.max(0, rows.length - 1));
    this.element.setAttribute('aria-rowcount', String(rows.length + 1));
    this.#canvas.style.setProperty('height', `${rows.length * ROW_HEIGHT}px`);
    for (const each of this.#pool) each.index = -1;
    this.#draw();
  }

  /** Shows what has become of the rows in sight. */
  update() {
    for (const { index, show } of this.#pool) {
      const row = this.#rows[index];
      if (row !== undefined) show(row);
    }
  }

  /** All layout is read here, once a frame. */
  #schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      this.#draw();
    });
  }

  #draw() {
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - OVERSCAN);
    const wanted = Math.ceil(clientHeight / ROW_HEIGHT) + 2 * OVERSCAN;
    while (this.#pool.length < wanted) this.#grow();
    for (let index = first; index < first + this.#pool.length; index++) {
      const slot = this.#pool[index % this.#pool.length];
      if (!slot || slot.index === index) continue;
      const row = this.#rows[index];
      slot.index = row === undefined ? -1 : index;
      slot.element.hidden = row === undefined;
      if (row === undefined) continue;
      slot.element.style.setProperty('transform', `translateY(${index * ROW_HEIGHT}px)`);
      slot.element.setAttribute('aria-rowindex', String(index + 2));
      slot.show(row);
    }
    this.#mark();
  }

  #grow() {
    const cells = this.#columns.map(({ isRight }) =>
      h('div', { role: 'gridcell', class: isRight ? 'cell right' : 'cell' }),
    );
    const shows = this.#columns.map(({ make }, i) => make(cells[i]));
    const element = h(
      'div',
      { class: 'row', role: 'row', id: `row-${this.#pool.length}`, hidden: true },
      ...cells,
    );
    const slot = {
      element,
      index: -1,
      show: (/** @type {Row} */ row) => {
        for (const show of shows) show(row);
      },
    };
    element.addEventListener('click', (/** @type {MouseEvent} */ event) => {
      // Links know what to do with a click; so do people who select text.
      if (/** @type {Element} */ (event.target).closest('a') || String(getSelection()) !== '') return;
      const row = this.#rows[slot.index];
      if (row !== undefined) this.#open(row);
    });
    // Slots are found by index modulo the size of the pool, so all have to be placed again.
    for (const each of this.#pool) each.index = -1;
    this.#pool.push(slot);
    this.#canvas.append(element);
  }

  #mark() {
    let active = null;
    for (const { element, index } of this.#pool) {
      const isActive = index === this.#active;
      element.classList.toggle('active', isActive);
      if (isActive) active = element.id;
    }
    if (active === null) this.element.removeAttribute('aria-activedescendant');
    else this.element.setAttribute('aria-activedescendant', active);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.target !== this.element) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW_HEIGHT) - 2);
    const last = this.#rows.length - 1;
    /** @type {Record<string, number>} */
    const moves = {
      ArrowDown: this.#active + 1,
      ArrowUp: this.#active - 1,
      PageDown: this.#active + page,
      PageUp: this.#active - page,
      Home: 0,
      End: last,
    };
    const row = this.#rows[this.#active];
    if (event.key === 'Enter' && row !== undefined) this.#open(row);
    else if (event.key in moves) this.#activate(Math.max(0, Math.min(last, moves[event.key] ?? 0)));
    else return;
    event.preventDefault();
  }

  /** @param {number} index */
  #activate(index) {
    this.#active = index;
    const top = index * ROW_HEIGHT;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    // The head covers one row.
    else if (top + 2 * ROW_HEIGHT > scrollTop + clientHeight)
      this.element.scrollTop = top + 2 * ROW_HEIGHT - clientHeight;
    this.#draw();
  }

  /**
   * @param {Column<Row>} column
   * @param {number} i
   * @param {() => void} onSort
   * @returns {HTMLElement}
   */
  #makeTitle({ title, compare, isRight }, i, onSort) {
    const sort = () => {
      this.#isDescending = this.#sorted === i && !this.#isDescending;
      this.#sorted = i;
      for (const [at, element] of this.#titles.entries()) {
        if (at === i) element.setAttribute('aria-sort', this.#isDescending ? 'descending' : 'ascending');
        else element.removeAttribute('aria-sort');
      }
      onSort();
    };
    return h(
      'div',
      { role: 'columnheader', class: isRight ? 'cell right' : 'cell' },
      compare ? h('button', { onclick: sort }, title) : title,
    );
  }
}
