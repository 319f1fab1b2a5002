import { describe, expect, test } from 'bun:test';
import { SeenNames } from '../../src/scripts-runtime/seen-names.ts';
import { ScriptWorld, scriptOf } from './script-world.ts';

const S = 1_000_000;
const A = '10.0.0.5';
const B = 'fd00::5';
const at = (ip: string, ttlS = 300) => [{ ip, ttlS }];

test('a client has the names that it was told itself', () => {
  const names = new SeenNames();
  names.learn(A, 'a.example', at('192.0.2.1'), 0);
  expect(names.nameOf(A, '192.0.2.1', 0)).toBe('a.example');
  expect(names.nameOf(B, '192.0.2.1', 0)).toBeUndefined();
  expect(names.nameOf(A, '192.0.2.2', 0)).toBeUndefined();
});

test('of several names of an address the last one counts', () => {
  const names = new SeenNames();
  names.learn(A, 'a.example', at('192.0.2.1'), 0);
  names.learn(A, 'b.example', at('192.0.2.1'), 1);
  expect(names.nameOf(A, '192.0.2.1', 2)).toBe('b.example');
  expect(names.size).toBe(1);
});

test.each([
  [0, 60],
  [300, 300],
  [2 ** 31 - 1, 3600],
])('a time to live of %i s is one of %i s', (ttlS, lifeS) => {
  const names = new SeenNames();
  names.learn(A, 'a.example', at('192.0.2.1', ttlS), 5 * S);
  expect(names.nameOf(A, '192.0.2.1', (5 + lifeS) * S - 1)).toBe('a.example');
  expect(names.nameOf(A, '192.0.2.1', (5 + lifeS) * S)).toBeUndefined();
});

test('what is over is forgotten when the next answer comes', () => {
  const names = new SeenNames();
  names.learn(A, 'a.example', at('192.0.2.1', 60), 0);
  names.learn(B, 'b.example', at('2001:db8::1', 60), 100 * S);
  expect(names.size).toBe(1);
});

test('a client with too many names loses its oldest, and nobody else one', () => {
  const names = new SeenNames(100, 3);
  names.learn(B, 'b.example', at('2001:db8::1'), 0);
  for (let i = 1; i <= 4; i++) names.learn(A, 'a.example', at(`192.0.2.${i}`), i);
  expect(names.nameOf(A, '192.0.2.1', 5)).toBeUndefined();
  expect(names.nameOf(A, '192.0.2.2', 5)).toBe('a.example');
  expect(names.nameOf(B, '2001:db8::1', 5)).toBe('b.example');
  expect(names.size).toBe(4);
});

test('when there are too many, who was told nothing for the longest time loses first', () => {
  const names = new SeenNames(3, 3);
  names.learn(B, 'b.example', at('2001:db8::1'), 0);
  for (let i = 1; i <= 3; i++) names.learn(A, 'a.example', at(`192.0.2.${i}`), i);
  expect(names.nameOf(B, '2001:db8::1', 5)).toBeUndefined();
  expect(names.nameOf(A, '192.0.2.1', 5)).toBe('a.example');
  expect(names.size).toBe(3);
});

test('a thousand clients with all that they may have keep to the bound', () => {
  const names = new SeenNames(1000, 64);
  for (let client = 0; client < 1000; client++) {
    for (let i = 0; i < 70; i++) names.learn(`c${client}`, 'a.example', at(`ip${i}`), client);
  }
  expect(names.size).toBe(1000);
});

describe('in a script host', () => {
  const SCRIPT = scriptOf("return reject({ reason: flow.dnsName ?? String('dnsName' in flow) });");
  const reasonOf = (world: ScriptWorld, id: number): unknown => world.answers.get(id);

  test('flow.dnsName is there for who was told, is noted, and absent for others', async () => {
    const world = new ScriptWorld();
    await world.load({ a: SCRIPT });
    world.host.seenNames.learn(A, 'a.example', at('192.0.2.1'), world.now);
    const own = world.ask('192.0.2.1', 80, { source: A, flow: 1 });
    const other = world.ask('192.0.2.1', 80, { source: '10.0.0.6', flow: 2 });
    expect(reasonOf(world, own)).toMatchObject({ verdict: { reason: 'a.example' } });
    expect(reasonOf(world, other)).toMatchObject({ verdict: { reason: 'false' } });
    expect(world.notes.get(1)).toEqual({ seenName: 'a.example' });
    expect(world.notes.has(2)).toBe(false);
    expect(world.host.recent(2)[0]?.flow.dnsName).toBe('a.example');
  });

  test('closed() is told of it too', async () => {
    const world = new ScriptWorld();
    await world.load({
      a: `export default { flow() {}, closed(flow, _, __, ctx) { ctx.log.info(flow.dnsName); } };`,
    });
    const end = (ip: string) => ({ ip, port: 80, family: 4 as const });
    const flow = {
      flow: 1,
      protocol: 'tcp',
      source: end(A),
      destination: end('192.0.2.1'),
    } as const;
    const result = { bytesUp: 0, bytesDown: 0, durationMs: 0, reason: 'eof' };
    const ended = { script: 'a', generation: 1, flow: { ...flow, dnsName: 'a.example' }, result };
    world.host.closed([ended]);
    world.host.expire(world.now);
    expect(world.logs.map(({ message }) => message)).toEqual(['a.example']);
  });
});
