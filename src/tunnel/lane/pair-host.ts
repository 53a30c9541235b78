/**
 * Two lanes as one host: one moves what goes out, the other what comes in. Every command reaches the lane that it
 * concerns, or both; the control plane hears of both as if they were one. What one lane learns and the other one needs
 * goes by way of here, as commands; of that, what is in a hurry goes by lane-news.ts as well.
 */
import { ActivityOrder } from './activity-order.ts';
import { ACTIVITY, type Direction, type LaneCommands, type LaneEvents, type LaneHost } from './control.ts';
import { applyCommand, type CommandMessage, commandSender } from './link.ts';

/** Both know peers, keypairs and allowed IPs; packets that wait for a session, and all that is sent, are outbound's. */
const CONCERNS: { readonly [Name in keyof LaneCommands]: Direction } = {
  addPeer: 'both',
  removePeer: 'both',
  // The inbound one sees by it whether a packet came from elsewhere.
  setEndpoint: 'both',
  clearSource: 'both',
  routesChanged: 'out',
  addAllowedIp: 'both',
  removeAllowedIp: 'both',
  addKeypair: 'both',
  removeKeypair: 'both',
  // The inbound one asks for a new session when the one in use is old.
  useKeypair: 'both',
  sendStaged: 'out',
  sendHandshake: 'out',
  sendTo: 'out',
  sendKeepalive: 'out',
  dropStaged: 'out',
  setMtu: 'out',
  setOnlyDestination: 'in',
  // Each would allow the whole of it: a device that may be limited has one thread.
  setBandwidth: 'both',
  // While down there is no socket to receive from.
  setUp: 'out',
};

export interface PairHost<Lane extends LaneHost> {
  readonly host: LaneHost;
  readonly out: Lane;
  readonly in: Lane;
}

/** `create` makes each of the two lanes, which share their LaneNews. */
export function createPairHost<Lane extends LaneHost>(
  create: (direction: 'out' | 'in', events: LaneEvents) => Lane,
  events: LaneEvents,
): PairHost<Lane> {
  const order = new ActivityOrder(events);
  const post = (command: CommandMessage): void => {
    if (command[0] === 'addPeer') order.addPeer(command[1]);
    if (command[0] === 'removePeer') order.removePeer(command[1]);
    const concerned = CONCERNS[command[0]];
    // Inbound first: what outbound sends may be answered at once, on a keypair that has to be known by then.
    if (concerned !== 'out') applyCommand(inbound, command);
    if (concerned !== 'in') applyCommand(outbound, command);
  };
  const commands = commandSender(post);
  const merged: LaneEvents = {
    handshake: (datagram, endpoint) => events.handshake(datagram, endpoint),
    confirmed: (peer, index) => events.confirmed(peer, index),
    activity: (peer, bits, at) => {
      // The inbound lane will tell the source when it learns it anew.
      if ((bits & ACTIVITY.sourceLost) !== 0) inbound.clearSource(peer);
      order.activity(peer, bits, at);
    },
    roamed: (peer, endpoint) => {
      // To both: in one order with every other change of the endpoint, they end with the same one.
      commands.setEndpoint(peer, endpoint);
      events.roamed(peer, endpoint);
    },
  };
  const outbound = create('out', merged);
  const inbound = create('in', merged);
  const host: LaneHost = {
    ...commands,
    start: () => {
      outbound.start();
      inbound.start();
    },
    close: async () => {
      await Promise.all([outbound.close(), inbound.close()]);
    },
    counters: (peer) => ({
      txBytes: outbound.counters(peer).txBytes,
      rxBytes: inbound.counters(peer).rxBytes,
    }),
    figures: () => ({ ...outbound.figures(), handshakesInFlight: inbound.figures().handshakesInFlight }),
    dropped: (reason) => outbound.dropped(reason) + inbound.dropped(reason),
  };
  return { host, out: outbound, in: inbound };
}
