/** What a script host may say about metrics is bounded: its texts are kept, and shown. */
import { expect, test } from 'bun:test';
import { parseFromScriptHost } from '../../../src/gateway/supervisor/child-messages.ts';

const DELTA = {
  script: 'a',
  name: 'x'.repeat(64),
  kind: 'histogram',
  labels: Object.fromEntries(
    Array.from({ length: 8 }, (_, i) => [`${i}`.padStart(64, 'l'), 'v'.repeat(128)]),
  ),
  value: 1,
  buckets: Array<number>(12).fill(1),
};

const parsed = (delta: object) => parseFromScriptHost({ kind: 'metrics', series: [delta] });

test('the most that a script can have measured is taken', () => {
  expect(parsed(DELTA)).toEqual({ kind: 'metrics', series: [DELTA] } as never);
});

test.each([
  ['a long name', { name: 'x'.repeat(65) }],
  ['a long name of a script', { script: 'x'.repeat(65) }],
  ['a long name of a label', { labels: { ['x'.repeat(65)]: '' } }],
  ['a long value of a label', { labels: { x: 'v'.repeat(129) } }],
  ['many labels', { labels: { ...DELTA.labels, ninth: '' } }],
  ['many buckets', { buckets: Array<number>(13).fill(1) }],
])('%s is more than a script can have measured', (_, more) => {
  expect(() => parsed({ ...DELTA, ...more })).toThrow();
});
