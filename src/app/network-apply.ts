/** Carries out network plans, and takes them back. */
import type { Address } from '../core/ip.ts';
import type { InterfaceAddress } from './wg-conf.ts';
import {
  firewallTable,
  type NetworkFacts,
  type NetworkPlan,
  type NetworkStep,
  type NetworkUndo,
  type RoutingRule,
  undoOf,
} from './network-plan.ts';

/** The machine's network settings. Methods throw AppError; whatever is undone may be gone already. */
export interface NetworkSystem {
  /** `endpoints`: where the device will send to. */
  facts(endpoints: readonly Address[]): NetworkFacts;
  hasInterface(name: string): boolean;
  deleteInterface(name: string): void;
  addAddress(name: string, address: InterfaceAddress): void;
  setUp(name: string, mtu: number): void;
  /** Nothing happens when there is such a route already. */
  addRoute(name: string, step: Extract<NetworkStep, { kind: 'route' }>): void;
  addRule(rule: RoutingRule): void;
  deleteRule(rule: RoutingRule): void;
  setSourceValidMark(): void;
  loadFirewall(script: string): Promise<void>;
  deleteFirewall(table: string): Promise<void>;
  setDns(name: string, servers: readonly string[], search: readonly string[]): Promise<void>;
  unsetDns(name: string): Promise<void>;
}

export interface ApplyActions {
  /** Of the running device. */
  readonly setFwmark: (mark: number) => Promise<void>;
  /** Told before each step that outlives the interface what would have to be undone after it. */
  readonly remember: (undo: NetworkUndo) => void;
}

/** When it throws, what was done up to then is left to `undoNetwork`. */
export async function applyNetwork(
  { interfaceName, steps }: NetworkPlan,
  system: NetworkSystem,
  { setFwmark, remember }: ApplyActions,
): Promise<void> {
  for (const [i, step] of steps.entries()) {
    if (step.kind === 'dns' || step.kind === 'rule' || step.kind === 'firewall')
      remember(undoOf(interfaceName, steps.slice(0, i + 1)));
    switch (step.kind) {
      case 'address':
        system.addAddress(interfaceName, step.address);
        break;
      case 'up':
        system.setUp(interfaceName, step.mtu);
        break;
      case 'dns':
        await system.setDns(interfaceName, step.servers, step.search);
        break;
      case 'fwmark':
        await setFwmark(step.mark);
        break;
      case 'route':
        system.addRoute(interfaceName, step);
        break;
      case 'rule':
        system.addRule(step.rule);
        break;
      case 'src_valid_mark':
        system.setSourceValidMark();
        break;
      case 'firewall':
        await system.loadFirewall(step.script);
        break;
      default:
        step satisfies never;
    }
  }
}

/** Takes back what outlives the interface. Tries everything and returns what failed. */
export async function undoNetwork(undo: NetworkUndo, system: NetworkSystem): Promise<unknown[]> {
  const failures: unknown[] = [];
  const attempt = async (task: () => void | Promise<void>) => {
    try {
      await task();
    } catch (error) {
      failures.push(error);
    }
  };
  if (undo.hasDns) await attempt(() => system.unsetDns(undo.interfaceName));
  for (const family of undo.firewallFamilies)
    await attempt(() => system.deleteFirewall(firewallTable(undo.interfaceName, family)));
  for (const rule of undo.rules.toReversed()) await attempt(() => system.deleteRule(rule));
  return failures;
}
