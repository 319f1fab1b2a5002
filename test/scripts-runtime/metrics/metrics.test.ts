import { describe, expect, test } from 'bun:test';
import { MetricsText } from '../../../src/gateway/supervisor/metrics/metrics-text.ts';
import { ScriptSeries } from '../../../src/gateway/supervisor/metrics/script-series.ts';
import { ScriptMetrics } from '../../../src/scripts-runtime/metrics/script-metrics.ts';
import { ScriptWorld, syncScriptOf } from '../script-world.ts';

/** Lines of the metrics that scripts made, without comments. */
function linesOf(table: ScriptSeries): string[] {
  const text = new MetricsText();
  table.write(text);
  return text
    .toString()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
}

class MeasuringWorld extends ScriptWorld {
  readonly table = new ScriptSeries();

  /** What `/metrics` shows after a report. */
  samples(): string[] {
    this.advance(1000);
    this.table.record(this.metrics.splice(0));
    return linesOf(this.table);
  }
}

async function worldOf(body: string, options = {}): Promise<MeasuringWorld> {
  const world = new MeasuringWorld();
  await world.load({ a: syncScriptOf(`${body}; return forward()`) }, options);
  return world;
}

describe('ctx.metrics', () => {
  test('counts, measures and sorts into buckets', async () => {
    const world = await worldOf(`
      ctx.metrics.counter('seen').inc();
      ctx.metrics.counter('bytes', { to: 'a"b', from: 'x' }).inc(1.5);
      ctx.metrics.gauge('level').set(-3);
      ctx.metrics.histogram('took', { how: 'x' }).observe(0.02);
      ctx.metrics.histogram('took', { how: 'x' }).observe(60)`);
    expect(world.outcome()).toBe('forward');
    world.outcome();
    const shown = world.samples();
    expect(shown).toContain('culvert_script_seen{script="a"} 2');
    expect(shown).toContain('culvert_script_bytes{script="a",from="x",to="a\\"b"} 3');
    expect(shown).toContain('culvert_script_level{script="a"} -3');
    expect(shown).toContain('culvert_script_took_bucket{script="a",how="x",le="0.01"} 0');
    expect(shown).toContain('culvert_script_took_bucket{script="a",how="x",le="0.025"} 2');
    expect(shown).toContain('culvert_script_took_bucket{script="a",how="x",le="+Inf"} 4');
    expect(shown).toContain('culvert_script_took_sum{script="a",how="x"} 120.04');
    expect(shown).toContain('culvert_script_took_count{script="a",how="x"} 4');
  });

  test('goes on over a reload, and over another host', async () => {
    const world = await worldOf("ctx.metrics.counter('seen').inc()");
    world.outcome();
    await world.load(
      { a: syncScriptOf("ctx.metrics.counter('seen').inc(10); return forward()") },
      { generation: 2 },
    );
    world.outcome();
    expect(world.samples()).toEqual(['culvert_script_seen{script="a"} 11']);
    const next = await worldOf("ctx.metrics.counter('seen').inc(100)");
    next.outcome();
    next.advance(1000);
    world.table.record(next.metrics);
    expect(linesOf(world.table)).toEqual(['culvert_script_seen{script="a"} 111']);
    world.table.prune(new Set(['b']));
    expect(linesOf(world.table)).toEqual([]);
  });

  test('what did not change is not told again', async () => {
    const world = await worldOf("ctx.metrics.counter('seen').inc()");
    world.outcome();
    world.advance(1000);
    expect(world.metrics).toHaveLength(1);
    world.host.cancel(0);
    world.advance(1000);
    expect(world.metrics).toHaveLength(1);
  });

  test('a series too many is counted among all others', async () => {
    const world = await worldOf(
      "ctx.metrics.counter('by', { port: String(flow.dst.port) }).inc()",
      {
        limits: { metricSeries: 2 },
      },
    );
    for (const port of [1, 2, 3, 4, 1]) world.outcome('192.0.2.1', port);
    expect(world.samples()).toEqual([
      'culvert_script_by{script="a",port="1"} 2',
      'culvert_script_by{script="a",port="2"} 1',
      'culvert_script_by{script="a",port="__other__"} 2',
    ]);
    expect(world.stats[0]?.limitHits).toEqual({ series: 2 });
  });

  test('a metric too many is an error', async () => {
    const world = await worldOf("ctx.metrics.counter('m' + flow.dst.port).inc()", {
      limits: { metrics: 2 },
    });
    for (const port of [1, 2, 3]) world.outcome('192.0.2.1', port);
    expect(world.lines[0]).toContain('LimitError: more than 2 metrics (metrics)');
    world.advance(1000);
    expect(world.stats[0]?.limitHits).toEqual({ metrics: 1 });
  });

  test.each([
    ["counter('seen').inc(-1)", 'a value cannot be -1'],
    ["counter('seen').inc(NaN)", 'a value cannot be NaN'],
    ["gauge('seen').set('1')", 'a value cannot be "1"'],
    ["histogram('seen').observe(Infinity)", 'a value cannot be Infinity'],
    ["counter('a b')", '"a b" cannot be the name of a metric'],
    ["counter('errors_total')", '"errors_total" cannot be the name'],
    ["histogram('decision_seconds')", '"decision_seconds" cannot be the name'],
    ["counter('x_bucket')", '"x_bucket" cannot be the name'],
    ['counter(1)', 'a name must be text, not 1'],
    ["counter('x', { script: 'a' })", '"script" cannot be the name of a label'],
    ["counter('x', { __a: 'a' })", '"__a" cannot be the name of a label'],
    ["counter('x', { a: 1 })", 'label "a" must be text, not 1'],
    ["counter('x', 'a')", 'labels must be an object'],
    ["counter('x'); ctx.metrics.gauge('x')", '"x" is a counter with no labels already'],
    ["counter('x', { a: 'a' }); ctx.metrics.counter('x', { b: 'b' })", 'a counter with a already'],
    [
      "counter('x', { a: '', b: '', c: '', d: '', e: '', f: '', g: '', h: '', i: '' })",
      'more than 8 labels',
    ],
  ])('%s is an error', async (call, message) => {
    const world = await worldOf(`ctx.metrics.${call}`);
    expect(world.outcome()).toBe('failed error');
    expect(world.lines[0]).toContain(message);
  });

  test('a new generation may say another kind; another script may not', async () => {
    const world = await worldOf("ctx.metrics.counter('x').inc()");
    world.outcome();
    const gauge = syncScriptOf(
      "ctx.metrics.gauge('x').set(7); return flow.dst.port === 1 ? decline() : forward()",
    );
    const counter = syncScriptOf("ctx.metrics.counter('x'); return forward()");
    await world.load({ a: gauge, b: counter }, { generation: 2 });
    expect(world.outcome()).toBe('forward');
    expect(world.samples()).toEqual(['culvert_script_x{script="a"} 7']);
    world.outcome('192.0.2.1', 1);
    expect(world.lines[0]).toContain('metric "x" is a gauge of the script "a"');
  });
});

test('labels that are called otherwise in each generation leave nothing behind', () => {
  const metrics = new ScriptMetrics('a', { metrics: 5, metricSeries: 10 }, new Map());
  const open = (generation: number) =>
    Array.from({ length: 10 }, (_, i) =>
      metrics.open('counter', 'm', [[`of_${generation % 2}`, `${i}`]], generation, () => {}),
    );
  const [old] = open(1);
  for (let generation = 2; generation < 500; generation++) open(generation);
  metrics.record(Number(old), 1);
  const [first] = open(499);
  metrics.record(Number(first), 2);
  expect(metrics.takeChanges().map(({ value }) => value)).toEqual([2, ...Array(9).fill(0)]);
  expect(metrics.seriesKnown).toBe(10);
});

test('a host that makes up series without end is not believed', () => {
  const table = new ScriptSeries();
  table.record(
    Array.from({ length: 60_000 }, (_, i) => ({
      script: 'a',
      name: 'x',
      kind: 'counter' as const,
      labels: { i: String(i) },
      value: 1,
    })),
  );
  expect(linesOf(table)).toHaveLength(50_000);
});

test('nor one that makes up families without end', () => {
  const table = new ScriptSeries();
  const counter = (name: string) => ({
    script: 'a',
    name,
    kind: 'counter' as const,
    labels: {},
    value: 1,
  });
  table.record(Array.from({ length: 50_010 }, (_, i) => counter(`x${i}`)));
  let families = 0;
  const count = () => void families++;
  table.write({ counter: count, gauge: count, histograms: count } as unknown as MetricsText);
  expect(families).toBe(50_000);
});
