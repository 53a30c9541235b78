/** Whether this machine has a network, and when it has another one than before. */
import { networkInterfaces } from 'node:os';
import { formatAddress, parseAddress } from '../../core/ip.ts';
import type { FdWatcher } from '../../sys/readiness.ts';
import { RouteClient } from '../../sys/route-client.ts';
import { ROUTE_EVENTS, RouteMonitor } from '../../sys/route-monitor.ts';

export interface NetworkState {
  /** There is an address that can reach another machine. */
  readonly hasNetwork: boolean;
  /** Equal as long as addresses and default routes are the same. */
  readonly fingerprint: string;
}

export interface NetworkFacts {
  readonly interfaces: ReturnType<typeof networkInterfaces>;
  /** Interface index and source address of the way out, for each family that has one. */
  readonly defaultRoutes: readonly string[];
}

/** Leaves out the interface of our own and what belongs to no network: loopback and link-local addresses. */
export function networkState(facts: NetworkFacts, ownInterface: string): NetworkState {
  const addresses = Object.entries(facts.interfaces)
    .filter(([name]) => name !== ownInterface)
    .flatMap(([name, entries]) =>
      (entries ?? [])
        .filter(({ internal, address }) => !internal && !/^(?:fe[89ab].:|169\.254\.)/i.test(address))
        .map(({ cidr, address }) => `${name} ${cidr ?? address}`),
    )
    .toSorted();
  return {
    hasNetwork: addresses.length > 0,
    fingerprint: [...addresses, ...facts.defaultRoutes].join('\n'),
  };
}

/** A gateway on this machine itself needs no network. */
export function isOnThisMachine(host: string): boolean {
  const address = parseAddress(host);
  if (!address) return host === 'localhost';
  return address.length === 4 ? address[0] === 127 : formatAddress(address) === '::1';
}

/** Many notifications come together when an interface goes up. */
const SETTLE_MS = 500;
/** TEST-NET-1 and the documentation prefix: the way to them is the default route. */
const SOMEWHERE: readonly string[] = ['192.0.2.1', '2001:db8::1'];

export class NetworkWatch {
  readonly #ownInterface: string;
  readonly #onChange: (state: NetworkState) => void;
  readonly #routes = new RouteClient();
  readonly #monitor: RouteMonitor;
  #state: NetworkState;
  #timer: NodeJS.Timeout | undefined;

  constructor(ownInterface: string, watcher: FdWatcher, onChange: (state: NetworkState) => void) {
    this.#ownInterface = ownInterface;
    this.#onChange = onChange;
    this.#monitor = new RouteMonitor({
      groups: ROUTE_EVENTS,
      watcher,
      onEvents: () => this.#somethingHappened(),
    });
    this.#state = this.#look();
  }

  get state(): NetworkState {
    return this.#state;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#monitor.close();
    this.#routes.close();
  }

  #somethingHappened(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const before = this.#state.fingerprint;
      this.#state = this.#look();
      if (this.#state.fingerprint !== before) this.#onChange(this.#state);
    }, SETTLE_MS);
  }

  #look(): NetworkState {
    const defaultRoutes = SOMEWHERE.flatMap((text) => {
      const route = this.#routes.routeTo(parseAddress(text) as Uint8Array);
      return route
        ? [`default ${route.interfaceIndex} ${route.source ? formatAddress(route.source) : ''}`]
        : [];
    });
    return networkState({ interfaces: networkInterfaces(), defaultRoutes }, this.#ownInterface);
  }
}
