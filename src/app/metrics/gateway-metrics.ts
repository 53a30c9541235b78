/**
 * What a gateway has to say to Prometheus beyond its device. Everything is counted where it happens, by plain counters;
 * they are read when somebody asks. docs/GATEWAY.md lists the names.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { EventCounters } from '../../link/event-sink.ts';
import type { GatewayCounters } from '../../link/gateway.ts';
import type { LogCounters } from '../../link/log-receiver.ts';
import type { StreamCounters } from '../../link/stream-table.ts';
import { MACHINE_STATES, type MachineView } from '../gateway/admin-views.ts';

export interface GatewayFigures {
  readonly provisions: GatewayCounters;
  readonly streams: StreamCounters;
  readonly openStreams: () => number;
  readonly connections: () => number;
  readonly events: EventCounters;
  readonly logs: LogCounters;
  readonly machines: () => readonly Pick<MachineView, 'state' | 'transport'>[];
  readonly isReady: () => boolean;
}

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

export function gatewayMetrics(figures: GatewayFigures): Registry {
  const registry = new Registry();
  const { provisions, streams, events, logs } = figures;

  const counter = (name: string, help: string, labelNames: readonly string[], read: () => Iterable<Sample>) =>
    new Counter({
      name: `culvert_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.inc(labels, value);
      },
    });
  const gauge = (name: string, help: string, labelNames: readonly string[], read: () => Iterable<Sample>) =>
    new Gauge({
      name: `culvert_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.set(labels, value);
      },
    });

  gauge('ready', '1 when the gateway is ready to serve.', [], () => [[{}, figures.isReady() ? 1 : 0]]);
  counter('provisions_total', 'Provision calls by gRPC status.', ['code'], () =>
    by('code', provisions.provisions),
  );
  counter('provision_refusals_total', 'Refused Provision calls by reason.', ['reason'], () =>
    by('reason', provisions.refusals),
  );
  gauge('machines', 'Machines by state and transport.', ['state', 'transport'], () =>
    machines(figures.machines()),
  );
  gauge('api_connections', 'Open connections to the gRPC API.', [], () => [[{}, figures.connections()]]);
  gauge('streams', 'Open tunnel streams.', [], () => [[{}, figures.openStreams()]]);
  counter('stream_opens_total', 'Tunnel streams by whether they were admitted.', ['result'], () =>
    by('result', { opened: streams.opened, refused: streams.refused }),
  );
  counter('stream_ends_total', 'Ends of tunnel streams by reason.', ['reason'], () =>
    by('reason', streams.ends),
  );
  counter('stream_drops_total', 'Datagrams that tunnel streams dropped, by reason.', ['reason'], () =>
    by('reason', streams.drops),
  );
  counter('stream_datagrams_total', 'Datagrams in tunnel streams.', ['direction'], () =>
    by('direction', { received: streams.rxDatagrams, sent: streams.txDatagrams }),
  );
  counter('stream_bytes_total', 'Bytes of datagrams in tunnel streams.', ['direction'], () =>
    by('direction', { received: streams.rxBytes, sent: streams.txBytes }),
  );
  counter('events_total', 'Events of machines by what became of them.', ['result'], () =>
    by('result', { accepted: events.accepted, ...events.dropped, ...events.postponed }),
  );
  counter('log_bytes_total', 'Bytes of kernel logs by what became of them.', ['result'], () =>
    by('result', { ingested: logs.ingestedBytes, ...logs.droppedBytes }),
  );
  counter('log_refusals_total', 'Log connections and datagrams of sources that are no machine.', [], () => [
    [{}, logs.refused],
  ]);
  return registry;
}

function by(label: string, counts: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(counts).map(([value, count]) => [{ [label]: value }, count]);
}

/** States without machines are shown as 0, so that alerts can tell none from unknown. */
function machines(views: ReturnType<GatewayFigures['machines']>): Sample[] {
  const transports: readonly string[] = ['udp', 'grpc', 'none'];
  return MACHINE_STATES.flatMap((state) =>
    (state === 'connected' ? transports : ['none']).map((transport): Sample => {
      const isOne = (view: (typeof views)[number]) =>
        view.state === state && (state !== 'connected' || (view.transport ?? 'none') === transport);
      return [{ state, transport }, views.filter(isOne).length];
    }),
  );
}
