/**
 * Commands and events as messages, for a lane in another thread. A message is the method's name and its arguments, plain
 * data. Both sets are closed; the tables below are checked by the compiler.
 */
import type { LaneCommands, LaneEvents, LaneKeypairInit } from './control.ts';

export type MessageOf<Methods> = {
  [Name in keyof Methods]: Methods[Name] extends (...args: infer Args) => void
    ? readonly [Name, ...Args]
    : never;
}[keyof Methods];

export type CommandMessage = MessageOf<LaneCommands>;
export type EventMessage = MessageOf<LaneEvents>;

/** How an argument stands in a message (message-codec.ts). */
type FormOf<Arg> = Arg extends boolean
  ? 'flag'
  : Arg extends number
    ? 'number'
    : Arg extends Uint8Array
      ? 'bytes'
      : Arg extends LaneKeypairInit
        ? 'keypair'
        : 'json';

export type Form = FormOf<boolean | number | Uint8Array | LaneKeypairInit | object>;

/** Every method of a set, with its arguments: what of it is wrong or missing the compiler says. */
export type Forms<Methods> = {
  readonly [Name in keyof Methods]: Methods[Name] extends (...args: infer Args) => void
    ? { readonly [Index in keyof Args]: FormOf<Args[Index]> }
    : never;
};

export const COMMANDS: Forms<LaneCommands> = {
  addPeer: ['number'],
  removePeer: ['number'],
  setEndpoint: ['number', 'bytes'],
  clearSource: ['number'],
  routesChanged: [],
  addAllowedIp: ['number', 'bytes', 'number'],
  removeAllowedIp: ['number', 'bytes', 'number'],
  addKeypair: ['keypair'],
  removeKeypair: ['number'],
  useKeypair: ['number', 'number'],
  sendStaged: ['number'],
  sendHandshake: ['number', 'bytes'],
  sendTo: ['bytes', 'bytes'],
  sendKeepalive: ['number'],
  dropStaged: ['number'],
  setMtu: ['number'],
  setOnlyDestination: ['bytes'],
  setBandwidth: ['json'],
  setUp: ['flag'],
};

export const EVENTS: Forms<LaneEvents> = {
  handshake: ['bytes', 'bytes'],
  activity: ['number', 'number', 'number'],
  confirmed: ['number', 'number'],
  roamed: ['number', 'bytes'],
};

/** An object with all methods of a set, each of which hands its message to `post`. */
function sender<Methods>(names: Forms<Methods>, post: (message: MessageOf<Methods>) => void): Methods {
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
