import { expect, test } from 'bun:test';
import { replaceSection } from '../document.ts';
import { type LossySample, MARKERS, renderCells } from './report.ts';

const counts = {
  packets: 0,
  bytes: 0,
  overflowed: 0,
  lost: 0,
  duplicated: 0,
  late: 0,
  corrupted: 0,
};

const sample = (outcome: Partial<LossySample>): LossySample => ({
  path: 'kernel',
  direction: 'down',
  roundTripMs: 20,
  fault: 'loss 1 %',
  repetition: 0,
  megabits: 10,
  relay: { up: counts, down: counts, starved: 0, latestUs: 2000 },
  ...outcome,
});

test('a cell stands beside the kernel, with the ratio of the medians', () => {
  const text = renderCells([
    sample({ megabits: 9 }),
    sample({ megabits: 11 }),
    sample({ path: 'culvert', megabits: 9.5 }),
  ]);
  expect(text).toContain('| RTT | fault | direction | kernel | culvert | ratio |');
  expect(text).toContain('| 20 ms | loss 1 % | down | 10.0 (9.00..11.0) | 9.50 | 0.95 |');
  expect(text).toContain('1 of 1 cells reach 0.90');
});

test('a ratio short of the goal is bold and never rounded up to it', () => {
  const text = renderCells([sample({}), sample({ path: 'culvert', megabits: 8.99 })]);
  expect(text).toContain('| **0.89** |');
  expect(text).toContain('0 of 1 cells reach 0.90');
});

test('a path that always failed shows it', () => {
  const failed = sample({ path: 'culvert', megabits: 0, error: 'iperf3: moved nothing' });
  expect(renderCells([sample({}), failed])).toContain('| *fail* |');
});

test('samples that the relay itself held up are counted', () => {
  const relay = { up: counts, down: counts, starved: 0, latestUs: 45_000 };
  expect(renderCells([sample({}), sample({ relay })])).toContain(
    '1 of 2 samples saw 30 ms or more',
  );
});

test('the section goes between its markers, and leaves the rest of the document alone', () => {
  const first = replaceSection('# Benchmarks\n\nbefore\n', MARKERS, 'old');
  const second = replaceSection(`${first}\nafter\n`, MARKERS, 'new');
  expect(second).toContain('before');
  expect(second).toContain('after');
  expect(second).toContain('new');
  expect(second).not.toContain('old');
  expect(() => replaceSection(first.replace('lossy:end', 'x'), MARKERS, 'new')).toThrow('markers');
});
