/** The status page: signs in, follows the gateway or device, shows a view for each address. */
import { hasToken, Refusal, setToken, takeTokenFromAddress } from './api.js';
import { h, Live, toast } from './dom.js';
import { count } from './format.js';
import { icon, ICONS } from './parts.js';
import { State } from './state.js';
import { dataPath } from './views/data-path.js';
import { device } from './views/device.js';
import { machine } from './views/machine.js';
import { machines } from './views/machines.js';
import { overview } from './views/overview.js';
import { peer } from './views/peer.js';
import { peers } from './views/peers.js';
import { signIn } from './views/sign-in.js';
import { tokens } from './views/tokens.js';
import { waiting } from './views/waiting.js';

/** @import { Context, View } from './parts.js' */

/**
 * What there is to see: of each view its address, its name in the head, and who makes it; then the view of one row, below
 * the address of its list.
 * @type {Readonly<Record<'gateway' | 'device', { views: readonly (readonly [string, string, (context: Context) => View])[], list: string, row: (context: Context, id: string) => View }>>}
 */
const KINDS = {
  gateway: {
    views: [
      ['#/', 'Overview', overview],
      ['#/machines', 'Machines', machines],
      ['#/waiting', 'Waiting', waiting],
      ['#/tokens', 'Tokens', tokens],
      ['#/data-path', 'Data path', dataPath],
    ],
    list: '#/machines',
    row: machine,
  },
  device: {
    views: [
      ['#/', 'Overview', device],
      ['#/peers', 'Peers', peers],
      ['#/data-path', 'Data path', dataPath],
    ],
    list: '#/peers',
    row: peer,
  },
};

const main = /** @type {HTMLElement} */ (document.getElementById('main'));
const top_ = /** @type {HTMLElement} */ (document.getElementById('top'));
const shell = new Live();

let state = new State(schedule);
let following = new AbortController();
/** @type {View | undefined} */
let view;
let isScheduled = false;

/** Everything is brought up to date at most once a frame. */
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    if (!view && state.isReady) show();
    shell.update();
    view?.update();
  });
}

/** @type {Context} */
const context = {
  get state() {
    return state;
  },
  act: async (action) => {
    try {
      await action();
      return true;
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) signOut();
      toast(error instanceof Refusal ? error.message : 'Nobody answers.', 'bad');
      return false;
    }
  },
};

/** @param {View} next */
function mount(next) {
  view?.end?.();
  view = next;
  main.replaceChildren(next.element);
  document.title = `${next.title} · Culvert`;
}

/** Shows what the address names. */
function show() {
  const { views, list, row } = kind();
  const id = location.hash.startsWith(`${list}/`) ? location.hash.slice(list.length + 1) : '';
  const [, , make] = views.find(([hash]) => hash === location.hash) ?? /** @type {any} */ (views[0]);
  mount(id === '' ? make(context) : row(context, decodeURIComponent(id)));
  shell.update();
}

function kind() {
  return KINDS[state.status?.kind ?? 'gateway'];
}

function follow() {
  following.abort();
  following = new AbortController();
  void state.follow(following.signal, (refusal) => {
    signOut();
    toast(refusal.status === 401 ? 'The admin token is no longer valid.' : refusal.message, 'bad');
  });
}

function signOut() {
  following.abort();
  setToken(null);
  state = new State(schedule);
  top_.hidden = true;
  mount(signIn(start));
}

function start() {
  view?.end?.();
  view = undefined;
  top_.hidden = false;
  main.replaceChildren(h('p', { class: 'quiet loading' }, 'Connecting …'));
  follow();
}

function makeTop() {
  let links = new Live();
  const nav = shell.children(
    h('nav', { 'aria-label': 'Views' }),
    () => state.status?.kind ?? '',
    () => {
      links = new Live();
      return state.status ? makeLinks(links) : [];
    },
  );
  shell.each(() => links.update());
  const connection = h(
    'span',
    { class: 'connection', role: 'status' },
    shell.text(() => (state.isConnected ? 'Live' : 'Connecting …')),
  );
  shell.attribute(connection, 'data-live', () => state.isConnected);
  const theme = h(
    'button',
    { class: 'icon-button', 'aria-label': 'Light or dark', title: 'Light or dark', onclick: toggleTheme },
    icon(ICONS.light),
  );
  const out = h(
    'button',
    { class: 'icon-button', 'aria-label': 'Sign out', title: 'Sign out', onclick: signOut },
    icon(ICONS.out),
  );
  top_.append(
    h(
      'a',
      { class: 'brand', href: '#/' },
      h('img', { src: '/icon.svg', alt: '', width: 24, height: 24 }),
      'Culvert',
    ),
    nav,
    h('div', { class: 'right' }, connection, theme, out),
  );
}

/**
 * @param {Live} live
 * @returns {HTMLElement[]}
 */
function makeLinks(live) {
  const { views, list } = kind();
  return views.map(([href, label]) => {
    const link = h('a', { href }, label, label === 'Waiting' ? waitingCount(live) : null);
    return live.attribute(link, 'aria-current', () => (isAt(href, list) ? 'page' : null));
  });
}

/**
 * @param {Live} live
 * @returns {HTMLElement}
 */
function waitingCount(live) {
  const badge = h(
    'span',
    { class: 'count' },
    live.text(() => count(state.countOf('pending'))),
  );
  return live.attribute(badge, 'hidden', () => state.countOf('pending') === 0);
}

/**
 * @param {string} href
 * @param {string} list
 */
function isAt(href, list) {
  const hash = location.hash === '' ? '#/' : location.hash;
  return hash === href || (href === list && hash.startsWith(`${list}/`));
}

function toggleTheme() {
  const isDark =
    getComputedStyle(document.documentElement).getPropertyValue('color-scheme').trim() === 'dark' ||
    (document.documentElement.dataset['theme'] === undefined &&
      matchMedia('(prefers-color-scheme: dark)').matches);
  setTheme(isDark ? 'light' : 'dark');
}

/** @param {string | null} theme */
function setTheme(theme) {
  if (theme !== 'light' && theme !== 'dark') return;
  document.documentElement.dataset['theme'] = theme;
  localStorage.setItem('culvert-theme', theme);
}

addEventListener('hashchange', () => {
  const hasNewToken = location.hash.startsWith('#token=');
  takeTokenFromAddress();
  if (hasNewToken) start();
  else if (view && hasToken()) {
    show();
    // Where a screen reader goes on reading.
    main.focus();
    scrollTo(0, 0);
  }
});
// A tab that nobody sees keeps none of the few connections that a browser has for one server.
document.addEventListener('visibilitychange', () => {
  if (!hasToken() || top_.hidden) return;
  if (document.hidden) following.abort();
  else follow();
});
document.querySelector('.skip')?.addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
setTheme(localStorage.getItem('culvert-theme'));
takeTokenFromAddress();
makeTop();
if (hasToken()) start();
else mount(signIn(start));
