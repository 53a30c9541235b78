/** Two lanes, each as in another thread. */
import type { LaneEvents, LaneHost } from '../../src/tunnel/lane/control.ts';
import type { InlineHostOptions } from '../../src/tunnel/lane/inline-host.ts';
import { LaneNews } from '../../src/tunnel/lane/lane-news.ts';
import { createPairHost } from '../../src/tunnel/lane/pair-host.ts';
import { linkedHost } from './linked-host.ts';

export function pairedHost(options: InlineHostOptions, events: LaneEvents): LaneHost {
  const news = new LaneNews();
  const create = (direction: 'out' | 'in', laneEvents: LaneEvents): LaneHost => {
    const lane = linkedHost(
      { ...options, ...(direction === 'out' ? { hears: news } : { tells: news }) },
      laneEvents,
    );
    // The other one receives.
    return direction === 'out' ? { ...lane, start: () => {} } : lane;
  };
  return createPairHost(create, events).host;
}
