import { describe, expect, test } from 'bun:test';
import { replaceSection } from './document.ts';
import type { Sample } from './measure.ts';
import { MARKERS, median, renderFailures, renderTables } from './report.ts';

const sample = (peer: string, repetition: number, outcome: Partial<Sample>): Sample => ({
  peer,
  test: 'dl1',
  repetition,
  isCold: false,
  foreignCores: 0,
  values: {},
  ...outcome,
});

describe('tables', () => {
  test('A cell is the median and the range of the repetitions', () => {
    const text = renderTables([
      sample('a', 0, { values: { gbps: 9 } }),
      sample('a', 1, { values: { gbps: 1.234 } }),
      sample('a', 2, { values: { gbps: 12.34 } }),
    ]);
    expect(text).toContain('| peer | down, 1 stream |\n| --- | --- |\n| a | 9 (1.23..12.3) |');
  });

  test('The cold samples of a load stand in a table of their own', () => {
    const text = renderTables([
      sample('a', 0, { isCold: true, values: { gbps: 3 } }),
      sample('a', 0, { values: { gbps: 9 } }),
    ]);
    expect(text).toContain('| peer | down, 1 stream |\n| --- | --- |\n| a | 9 |');
    expect(text).toContain('| peer | down, 1 stream, Gbit/s |\n| --- | --- |\n| a | 3 |');
  });

  test('A table whose tests did not run is left out', () => {
    const text = renderTables([sample('a', 0, { values: { gbps: 9 } })]);
    expect(text).not.toContain('New connections');
  });

  test('A peer that always failed shows it, and one without the test shows a dash', () => {
    const text = renderTables([
      sample('broken', 0, { error: 'the gateway ended (1)' }),
      sample('other', 0, { test: 'http', values: { perSecond: 5 } }),
    ]);
    expect(text).toContain('| broken | *fail* |');
    expect(text).toContain('| other | - |');
  });

  test('A failed repetition is left out of the median and is listed', () => {
    const samples = [
      sample('a', 0, { values: { gbps: 4 } }),
      sample('a', 1, { error: 'iperf3: moved\n  nothing' }),
    ];
    expect(renderTables(samples)).toContain('| a | 4 |');
    expect(renderFailures(samples)).toBe('- a: iperf3: moved nothing (dl1 of repetition 2)');
  });

  test('One reason for several failures is one line', () => {
    const error = 'no device tun0 within 10 s';
    const text = renderFailures([sample('a', 0, { error }), sample('a', 2, { error })]);
    expect(text).toBe(`- a: ${error} (dl1 of repetition 1, dl1 of repetition 3)`);
  });

  test('Samples with foreign load are counted', () => {
    const text = renderTables([
      sample('a', 0, { foreignCores: 0.1 }),
      sample('a', 1, { foreignCores: 0.5 }),
    ]);
    expect(text).toContain('0.30 cores busy in the median sample, 0.50 in the worst; 1 of 2');
  });
});

describe('section', () => {
  test('A document without markers gets the section at its end', () => {
    const text = replaceSection('# Benchmarks\n', MARKERS, 'one');
    expect(text.startsWith('# Benchmarks\n\n<!-- bench:begin')).toBe(true);
    expect(text.endsWith('one\n\n<!-- bench:end -->\n')).toBe(true);
  });

  test('A second run replaces the section and nothing around it', () => {
    const first = `${replaceSection('before\n', MARKERS, 'one')}\nafter\n`;
    const second = replaceSection(first, MARKERS, 'two');
    expect(second).toBe(first.replace('one', 'two'));
  });

  test('One marker without the other is refused', () => {
    const torn = replaceSection('', MARKERS, 'one').replace('<!-- bench:end -->', '');
    expect(() => replaceSection(torn, MARKERS, 'two')).toThrow('markers');
  });
});

test('The median of an even count is the mean of the middle two', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([10, 9, 1])).toBe(9);
});
