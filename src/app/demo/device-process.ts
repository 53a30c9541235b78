/**
 * One of the two devices. The process starts in the network namespace of its side and makes the TUN there. Then its main
 * thread, which opens all sockets, moves to the namespace that stands for the Internet between the two; the lane worker
 * only uses descriptors.
 */
import { writeFileSync } from 'node:fs';
import { systemClock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import type { Address } from '../../core/ip.ts';
import { systemRandom } from '../../core/random.ts';
import { NetworkNamespace } from '../../sys/namespace.ts';
import type { Endpoint } from '../../tunnel/endpoint.ts';
import { withRoutes } from '../routes.ts';
import { type RunningDevice, startDevice } from '../runtime.ts';
import { answerCalls } from './calls.ts';
import { HandshakeLog, Party } from './party.ts';
import type { DeviceReport, Handshake } from './stage.ts';

/** Where the child finds the namespace of the wire. */
const WIRE_FD = 4;
const INNER_PREFIX_LENGTH = 24;

export interface DeviceCalls {
  open(options: { readonly name: string; readonly address: Address }): Promise<OpenedDevice>;
  expect(peer: { readonly publicKey: string; readonly address: Address }): Promise<void>;
  call(peer: {
    readonly publicKey: string;
    readonly address: Address;
    readonly endpoint: Endpoint;
  }): Promise<Handshake>;
  report(): DeviceReport;
}

export interface OpenedDevice {
  readonly interfaceName: string;
  readonly mtu: number;
  readonly port: number;
  readonly publicKey: string;
}

const log = new HandshakeLog();
let running: RunningDevice | undefined;
let party: Party | undefined;

function opened(): Party {
  if (!party) throw new AppError('internal', 'the device is not open');
  return party;
}

/** Returns its MTU. */
function setUpInterface(name: string, address: Address): number {
  return withRoutes((routes) => {
    const link = routes.link(name);
    if (!link) throw new AppError('not_found', `interface ${name} is gone`);
    routes.addAddress(link.index, address, INNER_PREFIX_LENGTH);
    silenceIpv6(name);
    routes.setLinkUp(link.index, true);
    return link.mtu;
  });
}

/** Else the kernel's own multicast, for which there is no peer, would show among the drops. */
function silenceIpv6(name: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1');
  } catch {
    // No IPv6, or a /proc that cannot be written to: then they show.
  }
}

answerCalls<DeviceCalls>(
  {
    open: async ({ name, address }) => {
      running = startDevice({ name, logger: log });
      const { device } = running;
      const mtu = setUpInterface(running.name, address);
      // Before the event loop turns: the news that the link is up must find this thread there.
      const wire = NetworkNamespace.inherited(WIRE_FD);
      wire.enter();
      wire.close();
      await device.up();
      party = new Party(device, log, systemClock);
      const publicKey = await party.begin(systemRandom);
      return {
        interfaceName: running.name,
        mtu,
        port: device.state().listenPort,
        publicKey,
      };
    },
    expect: ({ publicKey, address }) => opened().expect(publicKey, address),
    call: ({ publicKey, address, endpoint }) => opened().call(publicKey, address, endpoint),
    report: () => {
      if (!running) throw new AppError('internal', 'the device is not open');
      return { ...opened().counters(), engine: running.engine() };
    },
  },
  async () => running?.close('the demonstration is over'),
);
