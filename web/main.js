/** The status page: signs in, follows the gateway, shows a view for each address. */
import { hasToken, Refusal, setToken, takeTokenFromAddress } from './api.js';
import { h, Live, toast } from './dom.js';
import { count } from './format.js';
import { icon, ICONS } from './parts.js';
import { State } from './state.js';
import { dataPath } from './views/data-path.js';
import { machine } from './views/machine.js';
import { machines } from './views/machines.js';
import { overview } from './views/overview.js';
import { signIn } from './views/sign-in.js';
import { tokens } from './views/tokens.js';
import { waiting } from './views/waiting.js';

/** @import { Context, View } from './parts.js' */

const VIEWS = /** @type {const} */ ([
  ['#/', 'Overview', overview],
  ['#/machines', 'Machines', machines],
  ['#/waiting', 'Waiting', waiting],
  ['#/tokens', 'Tokens', tokens],
  ['#/data-path', 'Data path', dataPath],
]);

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
      toast(error instanceof Refusal ? error.message : 'The gateway does not answer.', 'bad');
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
  const [, id] = /^#\/machines\/(.+)$/.exec(location.hash) ?? [];
  const found = VIEWS.find(([hash]) => hash === location.hash);
  if (id !== undefined) mount(machine(context, decodeURIComponent(id)));
  else mount((found ? found[2] : overview)(context));
  shell.update();
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
  main.replaceChildren(h('p', { class: 'quiet loading' }, 'Asking the gateway …'));
  follow();
}

function makeTop() {
  const links = VIEWS.map(([href, label]) => {
    const badge = h(
      'span',
      { class: 'count' },
      shell.text(() => count(state.countOf('pending'))),
    );
    const link = h('a', { href }, label, label === 'Waiting' ? badge : null);
    if (label === 'Waiting') shell.attribute(badge, 'hidden', () => state.countOf('pending') === 0);
    return shell.attribute(link, 'aria-current', () => (isAt(href) ? 'page' : null));
  });
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
    h('nav', { 'aria-label': 'Views' }, ...links),
    h('div', { class: 'right' }, connection, theme, out),
  );
}

/** @param {string} href */
function isAt(href) {
  const hash = location.hash === '' ? '#/' : location.hash;
  return hash === href || (href === '#/machines' && hash.startsWith('#/machines/'));
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
