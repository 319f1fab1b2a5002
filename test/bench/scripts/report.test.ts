import { expect, test } from 'bun:test';
import { parseScriptOptions } from './options.ts';
import { renderScriptFailures, renderScriptTables } from './report.ts';
import type { ScriptSample } from './samples.ts';

const sample = (row: string, repetition: number, rest: Partial<ScriptSample>): ScriptSample => ({
  test: 'syn',
  row,
  repetition,
  values: {},
  ...rest,
});

test('what a decision adds is the difference to the listener in the same repetition', () => {
  const text = renderScriptTables([
    sample('a listener', 0, { values: { p50Us: 100 } }),
    sample('a script', 0, { values: { p50Us: 130 } }),
    sample('a listener', 1, { values: { p50Us: 200 } }),
    sample('a script', 1, { values: { p50Us: 250 } }),
  ]);
  expect(text).toMatch(/\| a script \| \S+ \| 190 \(130\.\.250\) \| \S+ \| 40 \(30\.\.50\) \|/);
});

test('rows are compared at the same rate only, and the first of them with none', () => {
  const text = renderScriptTables([
    sample('a listener', 0, { rate: 1000, values: { p50Us: 100 } }),
    sample('a script', 0, { rate: 1000, values: { p50Us: 130 } }),
    sample('a listener', 0, { rate: 5000, values: { p50Us: 900 } }),
    sample('a script', 0, { rate: 5000, values: { p50Us: 905 } }),
  ]);
  expect(text).toMatch(/\| a script \| \S+ \| 130 \| \S+ \| 30 \|/);
  expect(text).toMatch(/\| a script \| \S+ \| 905 \| \S+ \| 5 \|/);
  expect(text).toMatch(/\| a listener \| \S+ \| 900 \| \S+ \| {2}\|/);
});

test('a ratio is that of runs side by side', () => {
  const text = renderScriptTables([
    sample('forward()', 0, { test: 'bulk', values: { down: 10, up: 4 } }),
    sample('a spliced claim', 0, { test: 'bulk', values: { down: 9, up: 4 } }),
  ]);
  expect(text).toContain('| a spliced claim | 9 | 0.90 | 4 | 1 |');
  expect(text).not.toContain('Echo');
});

test('a failed sample is in no table, and is listed', () => {
  const samples = [sample('a claim', 1, { error: 'no connection succeeded' })];
  expect(renderScriptTables(samples)).toBe('');
  expect(renderScriptFailures(samples)).toBe(
    '- syn, a claim, repetition 2: no connection succeeded',
  );
});

test('a quick run is printed only, and a word chooses hostile scripts', () => {
  expect(parseScriptOptions(['--quick'])?.report).toBeUndefined();
  expect(parseScriptOptions(['-s', 'regular', '-t', 'hostile'])).toMatchObject({
    tests: ['hostile'],
    hostile: ['a catastrophic regular expression'],
  });
  expect(() => parseScriptOptions(['-s', 'no such'])).toThrow();
  expect(() => parseScriptOptions(['-t', 'http'])).toThrow();
});
