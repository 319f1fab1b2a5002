/** Metrics of upstreams: those that have names, and `direct` for all others. */
import { Counter, type CounterReader } from '../../../stack/counters.ts';
import { Histogram } from '../../../stack/histograms.ts';
import { DIRECT } from '../../../stack/verdict.ts';
import type { UpstreamState, UpstreamStates } from '../upstream-states.ts';
import { histogramOf } from './histogram.ts';
import type { MetricsText } from './metrics-text.ts';

const US_PER_S = 1_000_000;

export function writeUpstreams(
  text: MetricsText,
  counters: CounterReader,
  upstreams: readonly UpstreamState[],
  connectTimes: UpstreamStates['connectTimes'],
): void {
  const get = (counter: Counter) => counters.get(counter);
  const dials = get(Counter.DIALS) - get(Counter.DIALS_NOW);
  const direct = {
    name: DIRECT,
    connects: dials - get(Counter.DIALS_FAILED),
    failures: get(Counter.DIALS_FAILED),
  };
  text.counter(
    'culvert_upstream_connects_total',
    'Dials that ended.',
    [direct, ...upstreams].flatMap(({ name: upstream, connects, failures }) => [
      [connects, { upstream, result: 'success' }] as const,
      [failures, { upstream, result: 'failure' }] as const,
    ]),
  );
  text.gauge('culvert_upstream_connects_in_flight', 'Dials that run.', [
    [get(Counter.DIALS_NOW) + get(Counter.VIA_DIALS_NOW)],
  ]);
  text.histograms('culvert_upstream_connect_seconds', 'Time that dials took which succeeded.', [
    [{ upstream: DIRECT }, histogramOf(counters, Histogram.DIAL_US, US_PER_S)],
    ...upstreams.map(({ name: upstream }) => [{ upstream }, connectTimes(upstream)] as const),
  ]);
  text.gauge(
    'culvert_upstream_healthy',
    'Whether an address of the upstream is not left out.',
    upstreams.map(({ name: upstream, healthy }) => [healthy ? 1 : 0, { upstream }]),
  );
  text.gauge(
    'culvert_upstream_addresses',
    'Addresses of the upstream, by whether they are left out.',
    upstreams.flatMap(({ name: upstream, addresses }) => {
      const up = addresses.filter(({ healthy }) => healthy).length;
      return [
        [up, { upstream, state: 'up' }] as const,
        [addresses.length - up, { upstream, state: 'down' }] as const,
      ];
    }),
  );
}
