import { expect, test } from 'bun:test';
import { HostEnds } from '../../../../src/gateway/supervisor/scripts/host-ends.ts';

test('the sums of all scripts do not fall when a script is no more', () => {
  const ends = new HostEnds();
  ends.note('cpu', 'a');
  ends.note('wall', 'a');
  ends.note('crash', 'b');
  ends.note('crash');
  expect(ends.all.get('a')).toEqual({ cpu: 1, wall: 1, crash: 0, socket: 0 });
  const before = ends.sums;
  expect(before).toEqual({ cpu: 1, wall: 1, crash: 2, socket: 0 });
  ends.prune(new Set(['b']));
  expect([...ends.all.keys()].sort()).toEqual(['', 'b']);
  expect(ends.all.get('')).toEqual({ cpu: 1, wall: 1, crash: 1, socket: 0 });
  expect(ends.sums).toEqual(before);
});

test('each cause is there before anything has happened', () => {
  expect([...new HostEnds().all]).toEqual([['', { cpu: 0, wall: 0, crash: 0, socket: 0 }]]);
});

test('a script may have any name', () => {
  const ends = new HostEnds();
  ends.note('cpu', 'unknown');
  ends.note('crash');
  ends.prune(new Set());
  expect([...ends.all]).toEqual([['', { cpu: 1, wall: 0, crash: 1, socket: 0 }]]);
});
