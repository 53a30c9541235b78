/**
 * Commands and events as messages, for a lane in another thread. A message is the method's name and its arguments: plain
 * data that the structured clone algorithm copies. Both sets are closed; the tables below are checked by the compiler.
 */
import type { LaneCommands, LaneEvents, LaneKeypairInit } from './control.ts';

type MessageOf<Methods> = {
  [Name in keyof Methods]: Methods[Name] extends (...args: infer Args) => void
    ? readonly [Name, ...Args]
    : never;
}[keyof Methods];

export type CommandMessage = MessageOf<LaneCommands>;
export type EventMessage = MessageOf<LaneEvents>;

type Names<Methods> = { readonly [Name in keyof Methods]: true };

const COMMANDS: Names<LaneCommands> = {
  addPeer: true,
  removePeer: true,
  setEndpoint: true,
  clearSource: true,
  routesChanged: true,
  addAllowedIp: true,
  removeAllowedIp: true,
  addKeypair: true,
  removeKeypair: true,
  useKeypair: true,
  sendStaged: true,
  sendHandshake: true,
  sendTo: true,
  sendKeepalive: true,
  dropStaged: true,
  setMtu: true,
  setOnlyDestination: true,
  setBandwidth: true,
  setUp: true,
};

const EVENTS: Names<LaneEvents> = {
  handshake: true,
  activity: true,
  confirmed: true,
  roamed: true,
};

/** An object with all methods of a set, each of which hands its message to `post`. */
function sender<Methods>(names: Names<Methods>, post: (message: MessageOf<Methods>) => void): Methods {
  const entries = Object.keys(names).map((name) => [
    name,
    (...args: unknown[]) => post([name, ...args] as unknown as MessageOf<Methods>),
  ]);
  return Object.fromEntries(entries) as Methods;
}

export function commandSender(post: (message: CommandMessage) => void): LaneCommands {
  return sender<LaneCommands>(COMMANDS, post);
}

export function eventSender(post: (message: EventMessage) => void): LaneEvents {
  return sender<LaneEvents>(EVENTS, post);
}

type AnyMethods = { readonly [name: string]: (...args: unknown[]) => void };

export function applyCommand(lane: LaneCommands, [name, ...args]: CommandMessage): void {
  (lane as unknown as AnyMethods)[name]?.(...args);
}

export function raiseEvent(events: LaneEvents, [name, ...args]: EventMessage): void {
  (events as unknown as AnyMethods)[name]?.(...args);
}

/** Session keys in a message are copies; whoever is done with one wipes it. */
export function wipeKeys(keypair: LaneKeypairInit): void {
  keypair.sendKey.fill(0);
  keypair.receiveKey.fill(0);
}
