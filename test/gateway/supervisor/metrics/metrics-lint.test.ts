import { expect, test } from 'bun:test';
import { renderMetrics } from '../../../../src/gateway/supervisor/metrics/metrics.ts';
import {
  toOpenMetrics,
  wantsOpenMetrics,
} from '../../../../src/gateway/supervisor/metrics/open-metrics.ts';
import { lintMetrics } from '../../../support/metrics-lint.ts';
import { sampleMetrics } from '../../../support/metrics-source.ts';

const family = (name: string, type: string, ...samples: string[]) =>
  [`# HELP ${name} A thing.`, `# TYPE ${name} ${type}`, ...samples, ''].join('\n');

test('the linter finds no fault with what the gateway says', () => {
  expect(lintMetrics(renderMetrics(sampleMetrics()))).toEqual([]);
});

test.each([
  ['a counter without _total', family('culvert_x', 'counter', 'culvert_x 1')],
  ['a gauge with _total', family('culvert_x_total', 'gauge', 'culvert_x_total 1')],
  ['a unit that is none', family('culvert_x_ms', 'gauge', 'culvert_x_ms 1')],
  ['a unit inside', family('culvert_seconds_x', 'gauge', 'culvert_seconds_x 1')],
  ['another prefix', family('x', 'gauge', 'x 1')],
  ['a type in the name', family('culvert_x_gauge', 'gauge', 'culvert_x_gauge 1')],
  ['a series that is there twice', family('culvert_x', 'gauge', 'culvert_x 1', 'culvert_x 2')],
  ['an address', family('culvert_x', 'gauge', 'culvert_x{ip="10.0.0.1"} 1')],
  ['labels that differ', family('culvert_x', 'gauge', 'culvert_x{a="1"} 1', 'culvert_x{b="1"} 1')],
  ['no help', '# TYPE culvert_x gauge\nculvert_x 1\n'],
  ['buckets without +Inf', family('culvert_x', 'histogram', 'culvert_x_bucket{le="1"} 1')],
])('the linter finds fault with %s', (_, text) => {
  expect(lintMetrics(text).length).toBeGreaterThan(0);
});

test('OpenMetrics: families of counters have no suffix, samples keep it, the end is told', () => {
  const text = toOpenMetrics(
    family('culvert_x_total', 'counter', 'culvert_x_total{a="1"} 5') +
      family('culvert_y', 'gauge', 'culvert_y 1').replace('A thing', 'A "thing"'),
  );
  expect(text.split('\n')).toEqual([
    '# HELP culvert_x A thing.',
    '# TYPE culvert_x counter',
    'culvert_x_total{a="1"} 5',
    '# HELP culvert_y A \\"thing\\".',
    '# TYPE culvert_y gauge',
    'culvert_y 1',
    '# EOF',
    '',
  ]);
});

test.each([
  [undefined, false],
  ['*/*', false],
  ['text/plain;version=0.0.4', false],
  ['application/openmetrics-text;version=1.0.0,text/plain;q=0.5', true],
  ['text/plain, application/openmetrics-text;q=0', false],
])('a client that accepts %p gets OpenMetrics: %p', (accept, isWanted) => {
  expect(wantsOpenMetrics(accept)).toBe(isWanted);
});
