/** Notifications about links, addresses and routes. */
import { LOST, NetlinkSocket } from './netlink-socket.ts';
import type { FdWatcher, Watch } from './readiness.ts';
import * as rt from './rtnetlink.ts';

export type RouteEvent =
  /** A link came, changed or went (`gone`: from this namespace). */
  | { readonly kind: 'link'; readonly link: rt.Link; readonly gone: boolean }
  | { readonly kind: 'address' }
  | { readonly kind: 'route' }
  /** Notifications were lost: look at everything again. */
  | { readonly kind: 'lost' };

export const LINK_EVENTS = rt.RTMGRP_LINK;
export const ROUTE_EVENTS =
  rt.RTMGRP_LINK |
  rt.RTMGRP_IPV4_IFADDR |
  rt.RTMGRP_IPV6_IFADDR |
  rt.RTMGRP_IPV4_ROUTE |
  rt.RTMGRP_IPV6_ROUTE;

/** Datagrams taken per turn of the event loop, so that a routing daemon's flood does not stall it. */
const DATAGRAMS_PER_TURN = 64;

export interface RouteMonitorOptions {
  /** LINK_EVENTS or ROUTE_EVENTS. */
  readonly groups: number;
  /** Follow interfaces into other namespaces, where rights allow. */
  readonly allNamespaces?: boolean;
  readonly watcher: FdWatcher;
  /** What happened since the last call, in order; never empty. */
  readonly onEvents: (events: readonly RouteEvent[]) => void;
}

export class RouteMonitor {
  readonly #socket: NetlinkSocket;
  readonly #watch: Watch;
  readonly #onEvents: (events: readonly RouteEvent[]) => void;

  constructor(options: RouteMonitorOptions) {
    this.#socket = new NetlinkSocket(options.groups);
    if (options.allNamespaces === true) this.#socket.listenToAllNamespaces();
    this.#onEvents = options.onEvents;
    try {
      this.#watch = options.watcher.watch(this.#socket.fd, () => this.#drain());
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  #drain(): void {
    const events: RouteEvent[] = [];
    for (let i = 0; i < DATAGRAMS_PER_TURN; i++) {
      const messages = this.#socket.next();
      if (messages === undefined) break;
      if (messages === LOST) {
        events.push({ kind: 'lost' });
        continue;
      }
      for (const message of messages) {
        const event = decodeEvent(message);
        if (event) events.push(event);
      }
    }
    if (events.length > 0) this.#onEvents(events);
  }

  /** Idempotent. No event comes after. */
  close(): void {
    this.#watch.close();
    this.#socket.close();
  }
}

function decodeEvent(message: Parameters<typeof rt.decodeLink>[0]): RouteEvent | undefined {
  switch (message.type) {
    case rt.RTM_NEWADDR:
    case rt.RTM_DELADDR:
      return { kind: 'address' };
    case rt.RTM_NEWROUTE:
    case rt.RTM_DELROUTE:
      return { kind: 'route' };
    default: {
      const link = rt.decodeLink(message);
      return link && { kind: 'link', link, gone: message.type === rt.RTM_DELLINK };
    }
  }
}
