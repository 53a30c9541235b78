/** Random traffic for offload tests: several TCP and UDP flows, what goes wrong in them, and what passes between. */
import * as fc from 'fast-check';
import {
  ACK,
  CWR,
  ECE,
  FIN,
  type Fields,
  PSH,
  RST,
  SYN,
  type TcpFields,
  URG,
  build,
  fixChecksums,
  payloadOf,
  udp,
  write16,
} from '../reference/tun/ip-packet.ts';

/** What happens to one packet of a flow. Most packets are as the last one: only so is there anything to join. */
interface Step {
  readonly size: 'full' | 'short' | 'long' | 'empty';
  readonly event: Event;
}

const EVENTS = [
  'none',
  'flags',
  'acknowledgment',
  'window',
  'urgent',
  'options',
  'tos',
  'ttl',
  'flowLabel',
  'identification',
  'dontFragment',
  'gap',
  'repeat',
  'badTransportChecksum',
  'badIpChecksum',
  'badPayload',
  'noUdpChecksum',
  'reservedBits',
  'wrongLength',
  'fragment',
  'ipOptions',
] as const;
type Event = (typeof EVENTS)[number];

const step: fc.Arbitrary<Step> = fc.record({
  size: fc.oneof(
    { weight: 12, arbitrary: fc.constant('full' as const) },
    { weight: 1, arbitrary: fc.constantFrom('short', 'long', 'empty') },
  ),
  event: fc.oneof(
    { weight: 25, arbitrary: fc.constant('none' as const) },
    { weight: 3, arbitrary: fc.constantFrom(...EVENTS) },
  ),
});

const flagSet = fc.constantFrom(
  ACK,
  ACK | PSH,
  ACK | PSH,
  ACK | FIN,
  ACK | PSH | FIN,
  ACK | CWR,
  ACK | ECE,
  SYN,
  RST,
  ACK | URG,
);

type Headers = Omit<TcpFields, 'payload' | 'protocol'>;

interface Flow {
  readonly fields: Omit<Headers, 'flags' | 'urgent' | 'ipOptions'>;
  readonly protocol: 'tcp' | 'udp';
  readonly mss: number;
  readonly steps: readonly Step[];
  readonly flags: number;
}

/** Few addresses and ports, so that flows are alike in part. */
const flow: fc.Arbitrary<Flow> = fc.record({
  protocol: fc.constantFrom('tcp', 'udp'),
  mss: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 3000 }), fc.constant(1368)),
  steps: fc.array(step, { minLength: 1, maxLength: 40 }),
  flags: flagSet,
  fields: fc.record({
    version: fc.constantFrom(4, 6),
    source: fc.integer({ min: 1, max: 2 }),
    destination: fc.integer({ min: 3, max: 4 }),
    tos: fc.constantFrom(0, 2, 0xff),
    ttl: fc.constantFrom(1, 64, 255),
    identification: fc.constantFrom(0, 1, 0xfff0),
    dontFragment: fc.boolean(),
    flowLabel: fc.constantFrom(0, 0xfffff),
    sourcePort: fc.constantFrom(80, 443),
    destinationPort: fc.constantFrom(5000, 5001),
    sequence: fc.constantFrom(0, 1, 0x7fff_fff0, 0x8000_0000, 0xffff_ff00),
    acknowledgment: fc.constantFrom(0, 0xffff_ffff),
    window: fc.constantFrom(0, 500, 0xffff),
    options: fc.constantFrom(
      new Uint8Array(0),
      Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2),
      new Uint8Array(40).fill(1),
    ),
  }),
});

function packetsOf({ fields, protocol, mss, steps, flags }: Flow): Uint8Array[] {
  let { sequence, identification } = fields;
  let last: Headers = { ...fields, flags: ACK, urgent: 0, ipOptions: new Uint8Array(0) };
  return steps.map(({ size, event }) => {
    const bytes = { full: mss, short: mss >> 1, long: mss + 1, empty: 0 }[size];
    if (event === 'gap') sequence = (sequence + 1) >>> 0;
    if (event === 'repeat') sequence = (sequence - bytes) >>> 0;
    if (event === 'identification') identification += 5;
    last = { ...last, ...CHANGES[event]?.(last) };
    const packet = build({
      ...last,
      protocol,
      sequence,
      identification: identification & 0xffff,
      flags: event === 'flags' ? flags : ACK,
      payload: payloadOf(bytes, sequence),
      ipOptions: event === 'ipOptions' ? Uint8Array.of(1, 1, 1, 0) : last.ipOptions,
    } as Fields);
    sequence = (sequence + bytes) >>> 0;
    identification++;
    return damage(packet, event, protocol === 'tcp');
  });
}

/** Fields that stay changed for the packets behind. */
const CHANGES: Partial<Record<Event, (fields: Headers) => Partial<Headers>>> = {
  acknowledgment: ({ acknowledgment }) => ({ acknowledgment: (acknowledgment + 1) >>> 0 }),
  window: ({ window }) => ({ window: window ^ 1 }),
  urgent: ({ urgent }) => ({ urgent: urgent ^ 1 }),
  options: ({ options }) => ({ options: options.map((byte) => byte ^ 1) }),
  tos: ({ tos }) => ({ tos: tos ^ 3 }),
  ttl: ({ ttl }) => ({ ttl: ttl ^ 1 }),
  flowLabel: ({ flowLabel }) => ({ flowLabel: flowLabel ^ 1 }),
  dontFragment: ({ dontFragment }) => ({ dontFragment: !dontFragment }),
};

interface Place {
  readonly isV4: boolean;
  readonly isTcp: boolean;
  /** Offset of the transport header. */
  readonly transport: number;
}

/** What happens to the finished packet. */
const DAMAGES: Partial<Record<Event, (packet: Uint8Array, place: Place) => void>> = {
  badTransportChecksum: (packet, { isTcp, transport }) => flip(packet, transport + (isTcp ? 16 : 6), 0x10),
  badIpChecksum: (packet, { isV4 }) => isV4 && flip(packet, 11, 1),
  badPayload: (packet) => flip(packet, packet.length - 1, 4),
  noUdpChecksum: (packet, { isTcp, transport }) => isTcp || write16(packet, transport + 6, 0),
  reservedBits: (packet, { isTcp, transport }) => {
    if (!isTcp) return;
    flip(packet, transport + 12, 1);
    fixChecksums(packet);
  },
  fragment: (packet, { isV4, isTcp }) =>
    isV4 ? flip(packet, 6, 0x20) : flip(packet, 6, 44 ^ (isTcp ? 6 : 17)),
};

function flip(packet: Uint8Array, at: number, bits: number): void {
  packet[at] = (packet[at] as number) ^ bits;
}

function damage(packet: Uint8Array, event: Event, isTcp: boolean): Uint8Array {
  if (event === 'wrongLength') return Uint8Array.from([...packet, 0]);
  const isV4 = (packet[0] as number) >> 4 === 4;
  DAMAGES[event]?.(packet, { isV4, isTcp, transport: isV4 ? ((packet[0] as number) % 16) * 4 : 40 });
  return packet;
}

/** Belongs to no flow. */
const bystander = fc.constantFrom(icmp(4), icmp(6));

function icmp(version: 4 | 6): Uint8Array {
  const packet = udp(20, { version });
  packet[version === 4 ? 9 : 6] = version === 4 ? 1 : 58;
  return packet;
}

export interface Traffic {
  readonly packets: readonly Uint8Array[];
  /** Where packets lie, from alignment. */
  readonly shift: number;
}

/** Up to `flows` flows in each other's way; those with the same addresses and ports are one. */
export function traffic(flows: number): fc.Arbitrary<Traffic> {
  return fc
    .record({
      flows: fc.array(flow, { minLength: 1, maxLength: flows }),
      bystanders: fc.array(bystander, { maxLength: 3 }),
      /** How many packets in a row come from one flow. */
      runs: fc.array(fc.record({ flow: fc.nat(), length: fc.integer({ min: 1, max: 30 }) }), {
        maxLength: 60,
      }),
      shift: fc.integer({ min: 0, max: 15 }),
    })
    .map(({ flows, bystanders, runs, shift }) => {
      const queues = [...flows.map(packetsOf), [...bystanders]];
      const packets = runs.flatMap((run) => queues[run.flow % queues.length]?.splice(0, run.length) ?? []);
      return { packets: [...packets, ...queues.flat()], shift };
    });
}

/** A TCP or UDP packet with nothing wrong. */
export const wholePacket: fc.Arbitrary<Uint8Array> = flow.map(
  (flow) => packetsOf({ ...flow, steps: [{ size: 'full', event: 'none' }] })[0] as Uint8Array,
);

/** A packet that was right before some of its bytes changed or went missing. */
export const mutatedPacket: fc.Arbitrary<Uint8Array> = fc
  .record({
    flow,
    changes: fc.array(fc.record({ at: fc.nat({ max: 79 }), value: fc.integer({ min: 0, max: 255 }) }), {
      maxLength: 4,
    }),
    cut: fc.option(fc.nat({ max: 90 })),
  })
  .map(({ flow, changes, cut }) => {
    const packet = packetsOf({ ...flow, steps: flow.steps.slice(0, 1) })[0] as Uint8Array;
    for (const { at, value } of changes) if (at < packet.length) packet[at] = value;
    return cut === null ? packet : packet.slice(0, Math.max(1, cut));
  });
