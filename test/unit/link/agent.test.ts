import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSocketAddress, parseSocketAddress, type SocketAddress } from '../../../src/core/ip.ts';
import type { ProvisionResponse } from '../../../src/gen/siderolink/provision.ts';
import { REKEY_TIMEOUT } from '../../../src/noise/constants.ts';
import { Agent, type AgentActions, type LinkObservation } from '../../../src/link/agent.ts';
import { type ConfiguredLink, type LinkKind, linkName, readLink } from '../../../src/link/agent-link.ts';
import { swapEnds } from '../../../src/link/endpoints.ts';
import type { Transport } from '../../../src/link/transport-policy.ts';
import { FakeClock } from '../../kit/clock.ts';
import { seededRandom } from '../../kit/random.ts';
import { key } from './provision-kit.ts';
import { endpointOf } from './stream-kit.ts';

const BASE: ProvisionResponse = {
  serverEndpoint: ['10.0.0.1:1'],
  serverPublicKey: key('server'),
  nodeAddressPrefix: 'fdae:41e4:649b:9303::5/64',
  serverAddress: 'fdae:41e4:649b:9303::1',
  grpcPeerAddrPort: '',
};
const udp = (...endpoints: string[]): ProvisionResponse => ({ ...BASE, serverEndpoint: swapEnds(endpoints) });
const tunnelled = (name = 'a'): ProvisionResponse => ({
  ...BASE,
  serverEndpoint: [endpointOf(name)],
  grpcPeerAddrPort: endpointOf(name),
});

/** A machine whose gateway answers as `answer` says, over lines of which some are open. */
class TestAgent implements AgentActions {
  readonly clock = new FakeClock();
  readonly agent: Agent;
  /** Hints of all calls. */
  readonly calls: boolean[] = [];
  readonly lookups: string[] = [];
  readonly configured: string[] = [];
  tornDown = 0;
  answer: (wantsTunnel: boolean) => ProvisionResponse | string | undefined = (wantsTunnel) =>
    wantsTunnel ? tunnelled() : udp('10.0.0.1:1');
  /** Endpoints that answer handshakes; `grpc` stands for the tunnel. */
  readonly open = new Set<string>(['10.0.0.1:1', 'grpc']);
  readonly names = new Map<string, string>();
  #current = '';
  #handshakeAt: number | undefined;
  #handshakeVia: LinkKind | undefined;
  #receivedAt: number | undefined;
  #unansweredSince: number | undefined;

  constructor(transport: Transport = 'auto', seed = 1) {
    this.agent = new Agent({ actions: this, clock: this.clock, random: seededRandom(seed), transport });
  }

  provision(id: number, wantsTunnel: boolean): void {
    this.calls.push(wantsTunnel);
    const answer = this.answer(wantsTunnel);
    if (answer === undefined) return;
    if (typeof answer === 'string') this.agent.provisionFailed(id, answer);
    else this.agent.provisioned(id, answer);
  }

  resolve(id: number, endpoint: string): void {
    this.lookups.push(endpoint);
    this.agent.resolved(id, parseSocketAddress(this.names.get(endpoint) ?? endpoint));
  }

  configure({ endpoint, via }: ConfiguredLink): void {
    this.#current = via === 'grpc' ? 'grpc' : formatSocketAddress(endpoint);
    this.configured.push(this.#current);
    this.shake();
  }

  /** When probes were refused: a handshake was too short a time ago. */
  readonly refused: number[] = [];
  refusesProbes = false;

  probe(endpoint: SocketAddress): boolean {
    if (this.refusesProbes) {
      this.refused.push(this.clock.now());
      return false;
    }
    const name = formatSocketAddress(endpoint);
    if (!this.open.has(name)) return true;
    this.#current = name;
    this.shake();
    return true;
  }

  tearDown(): void {
    this.tornDown++;
  }

  observe(): LinkObservation {
    const now = this.clock.now();
    const age = (at: number | undefined) => (at === undefined ? Infinity : now - at);
    return {
      handshakeAgeMs: age(this.#handshakeAt),
      handshakeVia: this.#handshakeVia,
      receivedAgeMs: age(this.#receivedAt),
      unansweredMs: this.#unansweredSince === undefined ? 0 : now - this.#unansweredSince,
    };
  }

  /** The device tries a handshake with its endpoint. */
  shake(): void {
    if (!this.open.has(this.#current)) return;
    this.#handshakeAt = this.clock.now();
    this.#handshakeVia = this.#current === 'grpc' ? 'grpc' : 'udp';
    this.#receivedAt = this.clock.now();
    this.#unansweredSince = undefined;
  }

  /** Seconds of traffic: an open endpoint answers everything, another one nothing. */
  run(seconds: number, hasTraffic = true): void {
    for (let i = 0; i < seconds * 2; i++) {
      this.clock.tick(500);
      const now = this.clock.now();
      if (this.open.has(this.#current)) {
        this.#receivedAt = now;
        this.#unansweredSince = undefined;
        if (now - (this.#handshakeAt ?? -Infinity) > 120_000) this.shake();
      } else if (hasTraffic && this.#handshakeAt !== undefined) {
        this.#unansweredSince ??= now;
      }
      this.agent.advance(now);
    }
  }

  /** Milliseconds until the gateway is asked again, to 50. */
  untilCall(): number {
    const [calls, from] = [this.calls.length, this.clock.now()];
    while (this.calls.length === calls) {
      this.clock.tick(50);
      this.agent.advance(this.clock.now());
    }
    return this.clock.now() - from;
  }

  start(): this {
    this.agent.start(true);
    return this;
  }

  get via(): string | undefined {
    return this.agent.configured?.via;
  }
}

test('without a network nothing is asked; with one everything goes its way', () => {
  const kit = new TestAgent();
  kit.agent.start(false);
  kit.run(60);
  assert.deepEqual([kit.agent.state, kit.calls], ['waiting', []]);
  kit.agent.networkChanged(true);
  kit.run(2);
  assert.equal(kit.agent.state, 'up');
  assert.deepEqual([kit.calls, kit.configured], [[false], ['10.0.0.1:1']]);
});

test('a network that comes back ends the waiting between two attempts', () => {
  const kit = new TestAgent();
  kit.answer = () => 'connect ENETUNREACH';
  kit.start().run(600);
  kit.agent.networkChanged(false);
  kit.run(60);
  kit.answer = () => udp('10.0.0.1:1');
  kit.agent.networkChanged(true);
  assert.ok(kit.untilCall() <= 2_050);
  kit.run(2);
  assert.equal(kit.agent.state, 'up');
});

test('the hint is what the transport says, but the gateway decides', () => {
  for (const [transport, hint] of [
    ['auto', false],
    ['udp', false],
    ['grpc', true],
  ] as const) {
    const kit = new TestAgent(transport).start();
    assert.deepEqual(kit.calls, [hint]);
  }
  const forced = new TestAgent('udp');
  forced.answer = () => tunnelled();
  forced.start().run(2);
  assert.deepEqual([forced.agent.state, forced.via], ['up', 'grpc']);
  const forbidden = new TestAgent('grpc');
  forbidden.answer = () => udp('10.0.0.1:1');
  forbidden.start().run(2);
  assert.deepEqual([forbidden.agent.state, forbidden.via], ['up', 'udp']);
});

test('endpoints are tried in the order of the answer, names looked up each time', () => {
  const kit = new TestAgent('udp');
  kit.answer = () => udp('gw.example:1', '10.0.0.2:2', '10.0.0.3:3');
  kit.names.set('gw.example:1', '10.0.0.1:9');
  kit.open.clear();
  kit.open.add('10.0.0.3:3');
  kit.start().run(30);
  assert.deepEqual(kit.lookups, ['gw.example:1', '10.0.0.2:2', '10.0.0.3:3']);
  assert.deepEqual(kit.configured, ['10.0.0.1:9', '10.0.0.2:2', '10.0.0.3:3']);
  assert.deepEqual([kit.agent.state, kit.calls.length], ['up', 1]);
});

test('a name that cannot be resolved is passed over', () => {
  const kit = new TestAgent('udp');
  kit.answer = () => udp('nowhere.example:1', '10.0.0.1:1');
  kit.start().run(2);
  assert.deepEqual(kit.configured, ['10.0.0.1:1']);
  assert.equal(kit.agent.state, 'up');
});

test('when all endpoints have failed the gateway is asked again', () => {
  const kit = new TestAgent('udp');
  kit.answer = () => udp('10.0.0.8:1', '10.0.0.9:1');
  kit.start().run(26);
  assert.equal(kit.calls.length, 2);
  assert.equal(kit.agent.lastError, 'no handshake with 10.0.0.9:1 over udp');
});

test('an endpoint is given up after 12 s over UDP, 25 s through the tunnel', () => {
  for (const [transport, limit] of [
    ['udp', 12],
    ['grpc', 25],
  ] as const) {
    const kit = new TestAgent(transport);
    kit.open.clear();
    kit.start().run(limit - 1);
    assert.equal(kit.agent.state, 'connecting');
    kit.run(1);
    assert.equal(kit.agent.state, 'provisioning');
  }
});

test('refused or unreachable, the gateway is asked at growing distances, at most a minute', () => {
  const kit = new TestAgent();
  kit.answer = () => 'PERMISSION_DENIED: unauthorized';
  kit.start();
  const times = Array.from({ length: 12 }, () => kit.untilCall());
  assert.ok((times[0] ?? 0) <= 1050);
  assert.ok(times.every((time) => time <= 60_050) && (times.at(-1) ?? 0) >= 30_000, String(times));
  assert.equal(kit.agent.lastError, 'PERMISSION_DENIED: unauthorized');
  kit.answer = () => udp('10.0.0.1:1');
  kit.run(61);
  assert.deepEqual([kit.agent.state, kit.agent.lastError], ['up', undefined]);
});

test('an answer that cannot be used is a failure, and says why', () => {
  const kit = new TestAgent();
  kit.answer = () => ({ ...BASE, serverEndpoint: [] });
  kit.start();
  assert.match(kit.agent.lastError ?? '', /host returned no endpoints/);
  assert.deepEqual(kit.configured, []);
});

test('a call whose outcome never comes is made again', () => {
  const kit = new TestAgent();
  kit.answer = () => undefined;
  kit.start().run(36);
  assert.equal(kit.calls.length, 2);
});

test('outcomes of calls that were overtaken are not heard', () => {
  const kit = new TestAgent();
  kit.answer = () => undefined;
  kit.start();
  kit.agent.changed();
  kit.agent.provisioned(1, udp('10.0.0.9:9'));
  kit.agent.provisionFailed(1, 'late');
  assert.deepEqual([kit.configured, kit.agent.lastError], [[], undefined]);
});

test('a change of URL or identity asks again at once, with the old link in place until there is an answer', () => {
  const kit = new TestAgent('udp').start();
  kit.run(2);
  kit.answer = () => udp('10.0.0.2:2');
  kit.open.add('10.0.0.2:2');
  kit.agent.changed();
  kit.run(2);
  assert.deepEqual([kit.configured, kit.tornDown], [['10.0.0.1:1', '10.0.0.2:2'], 0]);
});

test('stop takes everything away, and nothing happens afterwards', () => {
  const kit = new TestAgent().start();
  kit.run(2);
  kit.agent.stop();
  assert.equal(kit.tornDown, 1);
  assert.equal(kit.agent.nextDeadline, Infinity);
  kit.agent.relayEnded('x');
  kit.agent.networkChanged(true);
  kit.run(300);
  assert.equal(kit.calls.length, 1);
});

test('an idle link stays up for hours', () => {
  const kit = new TestAgent().start();
  kit.run(7200, false);
  assert.deepEqual([kit.agent.state, kit.calls.length], ['up', 1]);
});

test('a link that goes down is found by any of four signs, at its limit and not before', () => {
  const healthy: LinkObservation = {
    handshakeAgeMs: 0,
    handshakeVia: 'udp',
    receivedAgeMs: 0,
    unansweredMs: 0,
  };
  const cases: [Partial<LinkObservation>, Partial<LinkObservation>][] = [
    [{ unansweredMs: 17_999 }, { unansweredMs: 18_000 }],
    [{ receivedAgeMs: 79_999 }, { receivedAgeMs: 80_000 }],
    [{ handshakeAgeMs: 164_999 }, { handshakeAgeMs: 165_000 }],
    [{ handshakeAgeMs: 164_999 }, { handshakeAgeMs: 275_000 }],
  ];
  for (const [before, after] of cases) {
    const kit = new TestAgent('udp').start();
    kit.run(2);
    kit.observe = () => ({ ...healthy, ...before });
    kit.run(5);
    assert.equal(kit.calls.length, 1, JSON.stringify(before));
    kit.observe = () => ({ ...healthy, ...after });
    kit.run(3);
    assert.equal(kit.calls.length, 2, JSON.stringify(after));
  }
});

test('machines that lose their gateway together do not ask it as one', () => {
  const times = Array.from({ length: 100 }, (_, seed) => {
    const kit = new TestAgent('udp', seed).start();
    kit.run(2);
    kit.observe = () => ({ handshakeAgeMs: 0, handshakeVia: 'udp', receivedAgeMs: 0, unansweredMs: 20_000 });
    return kit.untilCall();
  });
  // At most a second until it is noticed, then up to two by lot.
  assert.ok(times.every((time) => time <= 3_050));
  assert.ok(Math.max(...times) - Math.min(...times) > 1500);
});

test('auto: UDP that does not answer gives way to the tunnel', () => {
  const kit = new TestAgent();
  kit.open.delete('10.0.0.1:1');
  kit.start().run(15);
  assert.deepEqual(
    [kit.calls, kit.configured],
    [
      [false, true],
      ['10.0.0.1:1', 'grpc'],
    ],
  );
  assert.deepEqual([kit.agent.state, kit.via], ['up', 'grpc']);
});

test('auto: UDP that is blocked in the middle of traffic gives way within 20 seconds', () => {
  const kit = new TestAgent().start();
  kit.run(100);
  kit.open.delete('10.0.0.1:1');
  kit.run(22);
  assert.deepEqual([kit.agent.state, kit.via], ['up', 'grpc']);
});

test('auto: back to UDP when it answers again, and the gateway is told by asking for UDP', () => {
  const kit = new TestAgent();
  kit.open.delete('10.0.0.1:1');
  kit.start().run(15);
  kit.open.add('10.0.0.1:1');
  kit.run(75);
  assert.deepEqual([kit.agent.state, kit.via], ['up', 'udp']);
  assert.deepEqual(kit.calls, [false, true, false]);
});

test('auto: a look at UDP that fails moves nothing and comes ever more rarely', () => {
  const kit = new TestAgent();
  kit.open.delete('10.0.0.1:1');
  kit.start().run(15);
  const looks: number[] = [];
  for (let second = 0; second < 3 * 3600; second++) {
    const before = kit.agent.state;
    kit.run(1);
    if (before === 'up' && kit.agent.state === 'probing') looks.push(kit.clock.now());
  }
  assert.deepEqual([kit.agent.state, kit.via, kit.calls.length], ['up', 'grpc', 2]);
  const gaps = looks.slice(1).map((at, i) => at - (looks[i] as number));
  for (const [i, gap] of gaps.entries()) {
    const expected = Math.min(1_800_000, 120_000 * 2 ** i);
    assert.ok(gap > 0.75 * expected && gap < 1.25 * expected + 5000, `${i}: ${gap}`);
  }
  assert.deepEqual(kit.configured, ['10.0.0.1:1', 'grpc']);
});

test('auto: UDP that fails again soon after is tried more rarely, UDP that lasted is not held against it', () => {
  const probeDelay = (udpSeconds: number) => {
    const kit = new TestAgent();
    kit.start().run(udpSeconds);
    kit.open.delete('10.0.0.1:1');
    kit.run(25);
    assert.equal(kit.via, 'grpc');
    const up = kit.clock.now();
    while (kit.agent.state !== 'probing') kit.run(1);
    return kit.clock.now() - up;
  };
  assert.ok(probeDelay(60) > 90_000);
  assert.ok(probeDelay(700) < 75_000);
});

test('auto: a gateway that is down altogether is no reason to leave UDP', () => {
  const kit = new TestAgent().start();
  kit.run(60);
  const answer = kit.answer;
  kit.answer = () => 'connect ECONNREFUSED';
  kit.open.clear();
  kit.run(60);
  kit.answer = answer;
  kit.open.add('10.0.0.1:1').add('grpc');
  kit.run(60);
  assert.deepEqual([kit.agent.state, kit.via], ['up', 'udp']);
});

test('auto: a gateway that insists on the tunnel is not asked for UDP again and again', () => {
  const kit = new TestAgent();
  kit.open.delete('10.0.0.1:1');
  kit.start().run(15);
  kit.open.add('10.0.0.1:1');
  kit.answer = () => tunnelled('b');
  kit.run(3600);
  assert.deepEqual([kit.agent.state, kit.via], ['up', 'grpc']);
  assert.deepEqual(kit.calls, [false, true, false]);
});

test('auto: when the tunnel does not answer either, UDP has its turn again', () => {
  const kit = new TestAgent();
  kit.open.clear();
  kit.start().run(60);
  assert.deepEqual(kit.calls.slice(0, 3), [false, true, false]);
});

test('udp and grpc stay what they are', () => {
  for (const transport of ['udp', 'grpc'] as const) {
    const kit = new TestAgent(transport);
    kit.open.clear();
    kit.start().run(300);
    assert.ok(kit.calls.length > 3);
    assert.ok(kit.calls.every((hint) => hint === (transport === 'grpc')));
  }
});

test('a handshake that the tunnel renews during a look at UDP is not taken for one over UDP', () => {
  const kit = new TestAgent();
  kit.open.delete('10.0.0.1:1');
  kit.start().run(15);
  kit.resolve = () => {};
  while (kit.agent.state !== 'probing') kit.run(1);
  kit.shake();
  kit.run(5);
  assert.deepEqual([kit.agent.state, kit.via, kit.calls.length], ['up', 'grpc', 2]);
});

test('a look at UDP that comes too soon after a handshake is put off for a moment, and has not failed', () => {
  const kit = new TestAgent();
  kit.open.delete('10.0.0.1:1');
  kit.start().run(15);
  kit.open.add('10.0.0.1:1');
  kit.refusesProbes = true;
  while (kit.refused.length < 2) kit.run(1);
  const [first = 0, second = 0] = kit.refused;
  assert.equal(second - first, REKEY_TIMEOUT);
  assert.deepEqual([kit.agent.state, kit.via], ['up', 'grpc']);
  kit.refusesProbes = false;
  kit.run(10);
  assert.deepEqual([kit.agent.state, kit.via], ['up', 'udp']);
});

test('a relay that the gateway ended needs a new answer; two that fight for an address do it ever more slowly', () => {
  const kit = new TestAgent('grpc').start();
  kit.run(2);
  const gaps: number[] = [];
  for (let i = 0; i < 6; i++) {
    kit.agent.relayEnded('ABORTED: peer replaced');
    gaps.push(kit.untilCall());
    kit.run(2);
  }
  assert.ok((gaps[0] ?? 0) <= 2050);
  assert.ok((gaps.at(-1) ?? 0) >= 30_000, String(gaps));
});

test('the end of a relay does not matter to a link over UDP', () => {
  const kit = new TestAgent('udp').start();
  kit.run(2);
  kit.agent.relayEnded('late');
  assert.equal(kit.agent.state, 'up');
});

test('an answer is read as Talos reads it', () => {
  assert.deepEqual(readLink(udp('a:1', 'b:2', 'c:3')).endpoints, ['a:1', 'b:2', 'c:3']);
  assert.equal(readLink(tunnelled()).kind, 'grpc');
  assert.deepEqual([linkName('udp'), linkName('grpc')], ['siderolink', 'siderolinktun']);
  const broken: Partial<ProvisionResponse>[] = [
    { serverPublicKey: 'x' },
    { serverAddress: '10.0.0.1' },
    { nodeAddressPrefix: 'fd00::5' },
    { nodeAddressPrefix: 'fd00::5/48' },
    { grpcPeerAddrPort: 'x' },
    { serverEndpoint: [] },
    { serverEndpoint: ['10.0.0.1'] },
  ];
  for (const part of broken) {
    assert.throws(() => readLink({ ...BASE, ...part }), { code: 'protocol' }, JSON.stringify(part));
  }
});

test('the tunnel label of the peer is its virtual address', () => {
  const kit = new TestAgent('grpc').start();
  kit.run(2);
  assert.equal(formatSocketAddress(kit.agent.configured?.endpoint as SocketAddress), endpointOf('a'));
});
