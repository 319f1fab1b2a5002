import { describe, expect, test } from 'bun:test';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { ConfigNames } from '../../../src/gateway/supervisor/config-names.ts';

const EMPTY = parseConfig('', 'c.yaml');
const configOf = (...names: string[]) => ({
  ...EMPTY,
  upstreams: Object.fromEntries(
    names.map((name) => [name, { kind: 'egress' as const, fwmark: 1, sources: [] }]),
  ),
});
const idsOf = ({ upstreams }: ReturnType<ConfigNames['live']>) =>
  Object.fromEntries(upstreams.map(({ name, id }) => [name, id]));

describe('numbers of upstreams', () => {
  test('a name keeps its number for as long as the process lives', () => {
    const names = new ConfigNames();
    expect(idsOf(names.next(configOf('a', 'b')))).toEqual({ a: 1, b: 2 });
    expect(idsOf(names.next(configOf('c')))).toEqual({ c: 3 });
    expect(idsOf(names.next(configOf('b', 'a')))).toEqual({ b: 2, a: 1 });
    expect([1, 2, 3, 4].map((id) => names.upstreamName(id))).toEqual(['a', 'b', 'c', undefined]);
  });

  test('numbers begin anew before they do not fit a row, and spare what is in use', () => {
    const names = new ConfigNames();
    names.next(configOf('kept'));
    for (let i = 0; i < 300; i++) {
      const many = Array.from({ length: 255 }, (_, k) => `u${i * 255 + k}`);
      const ids = idsOf(names.live(configOf('kept', ...many)));
      expect(Math.max(...Object.values(ids))).toBeLessThanOrEqual(0xffff);
      expect(new Set(Object.values(ids)).size).toBe(256);
      expect(ids['kept']).toBe(1);
    }
  });
});

describe('a configuration that is about to follow', () => {
  test('its new upstreams are there meanwhile, and the others as they were', async () => {
    const names = new ConfigNames();
    const running = configOf('a');
    names.next(running);
    const told: string[] = [];
    const tell = () => void told.push(Object.keys(idsOf(names.live(running))).join());
    await names.withUpstreamsOf(configOf('b'), tell, async () => {
      expect(names.facts(running).upstreams).toEqual({ a: 'egress', b: 'egress' });
    });
    expect(told).toEqual(['a,b']);
    expect(names.facts(running).upstreams).toEqual({ a: 'egress' });
  });

  test('when it fails, they are taken back', async () => {
    const names = new ConfigNames();
    const running = configOf('a');
    names.next(running);
    const told: string[] = [];
    const tell = () => void told.push(Object.keys(idsOf(names.live(running))).join());
    const failing = names.withUpstreamsOf(configOf('b'), tell, () =>
      Promise.reject(new Error('x')),
    );
    expect(failing).rejects.toThrow('x');
    await failing.catch(() => {});
    expect(told).toEqual(['a,b', 'a']);
  });
});

test('names of listeners are those of the generation that a flow has', () => {
  const names = new ConfigNames();
  const withListener = (name: string) =>
    parseConfig(`listeners: [{ name: ${name}, action: drop }]`, 'c.yaml');
  names.next(withListener('old'));
  names.next(withListener('new'));
  expect([names.listenerName(1, 0), names.listenerName(2, 0)]).toEqual(['old', 'new']);
  expect(names.generation).toBe(2);
});
