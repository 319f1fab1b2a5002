import { expect, test } from 'bun:test';
import { TESTS } from './measure.ts';
import { parseOptions } from './options.ts';

test('A bare run measures culvert first, with every test, into BENCHMARKS.md', () => {
  const options = parseOptions([]);
  expect(options?.peers[0]).toBe('culvert');
  expect(options?.tests).toEqual([...TESTS]);
  expect(options?.report).toEndWith('/BENCHMARKS.md');
});

test('A quick run is printed only, unless a file is named', () => {
  expect(parseOptions(['--quick'])?.report).toBeUndefined();
  expect(parseOptions(['--quick', '--out', 'x.md'])?.report).toBe('x.md');
});

test('Options overrule what quick sets', () => {
  const options = parseOptions(['--quick', '-n', '2', '--sec', '5', '-t', 'dl1,hold', 'routed']);
  expect(options).toMatchObject({
    peers: ['routed'],
    tests: ['dl1', 'hold'],
    repetitions: 2,
    load: { seconds: 5, warmUpSeconds: 0, held: 1000 },
  });
});

test('A wrong argument is named', () => {
  expect(() => parseOptions(['nobody'])).toThrow('no such peer: nobody');
  expect(() => parseOptions(['-t', 'dl1,nothing'])).toThrow('no such test: nothing');
  expect(() => parseOptions(['-n', '0'])).toThrow('-n 0: not a number from 1');
  expect(() => parseOptions(['--warm', 'x'])).toThrow('--warm x: not a number from 0');
  expect(() => parseOptions(['--fast'])).toThrow('--fast');
});
