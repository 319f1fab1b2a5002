import { expect, test } from 'bun:test';
import { DEFAULT_SCRIPT_LIMITS } from '../../../src/scripts-runtime/limits.ts';
import { describe, ScriptWorld, scriptOf, syncScriptOf } from '../script-world.ts';

const WAIT = 'await new Promise((r) => setTimeout(r, 100));';

test('a call in flight finishes on the generation it started with', async () => {
  const world = new ScriptWorld();
  await world.load({ a: scriptOf(`${WAIT} return reject({ reason: ctx.version })`) });
  const old = world.ask();
  await world.load({ a: syncScriptOf('return forward()') }, { generation: 2 });
  expect(world.decide().by.generation).toBe(2);
  expect(world.host.generations).toEqual([1, 2]);
  world.advance(100);
  expect(world.answers.get(old)).toMatchObject({ by: { generation: 1 } });
  expect(describe(world.answers.get(old))).toBe('reject rst 1');
  expect(world.host.generations).toEqual([2]);
});

test('an old generation is gone at once when nothing waits in it', async () => {
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf('return forward()') });
  await world.load({ a: syncScriptOf('return forward()') }, { generation: 2 });
  expect(world.host.generations).toEqual([2]);
});

test('a bundle of which one script does not load changes nothing', async () => {
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf('return forward()') });
  const issues = await world.tryLoad(
    { a: syncScriptOf('return reject()'), b: 'throw new Error("no")', c: 'let x = ;' },
    { generation: 2 },
  );
  expect(issues.map(({ script, kind }) => [script, kind])).toEqual([
    ['b', 'load'],
    ['c', 'syntax'],
  ]);
  expect(world.outcome()).toBe('forward');
  expect(world.host.generation).toBe(1);
});

test('the signal of the script fires when a newer generation took over', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf('ctx.signal.onabort = () => ctx.log.info("over"); return forward()'),
  });
  world.decide();
  expect(world.lines).toEqual([]);
  await world.load({ a: syncScriptOf('return forward()') }, { generation: 2 });
  expect(world.lines).toEqual(['over']);
});

test('the KV store and the counters go on in the next generation', async () => {
  const world = new ScriptWorld();
  const scripts = { a: syncScriptOf("return reject({ reason: String(env.KV.incr('n')) })") };
  await world.load(scripts);
  expect(world.outcome()).toBe('reject rst 1');
  await world.load(scripts, { generation: 2, kv: [{ script: 'a', key: 'n', value: 50 }] });
  expect(world.outcome()).toBe('reject rst 2');
  world.advance(1000);
  expect(world.stats).toMatchObject([{ script: 'a', generation: 2, decisions: 2, errors: 0 }]);
});

test('a fresh host takes the journal of the one before', async () => {
  const world = new ScriptWorld();
  const kv = [
    { script: 'a', key: 'n', value: 50 },
    { script: 'a', key: 'old', value: 1, expiresAt: 1 },
    { script: 'b', key: 'n', value: 7 },
  ];
  await world.load(
    { a: syncScriptOf('return reject({ reason: env.KV.keys() + env.KV.get("n") })') },
    { kv },
  );
  expect(world.outcome()).toBe('reject rst n50');
  world.advance(1000);
  // What has expired meanwhile need not be kept for the next one.
  expect(world.journal).toEqual([{ script: 'a', key: 'old' }]);
});

test('the state of a script that is gone is forgotten once nothing uses it', async () => {
  const world = new ScriptWorld();
  const count = "reject({ reason: String(env.KV.incr('n')) })";
  const a = scriptOf(`if (flow.dst.port === 1) { ${WAIT} } return ${count}`);
  const b = syncScriptOf('return forward()');
  await world.load({ a });
  expect(describe(world.answers.get(world.ask()))).toBe('reject rst 1');
  const late = world.ask('192.0.2.1', 1);
  await world.load({ b }, { generation: 2 });
  // The old generation has a call in flight, and comes back meanwhile.
  await world.load({ a, b }, { generation: 3 });
  expect(describe(world.answers.get(world.ask()))).toBe('reject rst 2');
  world.advance(100);
  expect(describe(world.answers.get(late))).toBe('reject rst 3');
  await world.load({ b }, { generation: 4 });
  world.advance(1000);
  expect(world.stats.map(({ script }) => script)).toEqual(['b']);
  world.journal.length = 0;
  await world.load({ a, b }, { generation: 5 });
  expect(describe(world.answers.get(world.ask()))).toBe('reject rst 1');
});

test('a bundle that does not load leaves the state of its scripts as it is', async () => {
  const world = new ScriptWorld();
  const a = syncScriptOf("return reject({ reason: String(env.KV.incr('n')) })");
  await world.load({ a });
  expect(world.outcome()).toBe('reject rst 1');
  expect(
    await world.tryLoad({ b: a, c: 'throw 1' }, { generation: 2, limits: { kvBytes: 0 } }),
  ).toHaveLength(1);
  expect(world.outcome()).toBe('reject rst 2');
  world.advance(1000);
  expect(world.journal).toEqual([{ script: 'a', key: 'n', value: 2 }]);
  expect(world.stats.map(({ script, generation }) => [script, generation])).toEqual([['a', 1]]);
});

test('two scripts of one name are refused', async () => {
  const world = new ScriptWorld();
  const source = { name: 'a', file: 'a.ts', source: syncScriptOf('return forward()') };
  await world.load({ a: source.source });
  const issues = await world.host.load({
    generation: 2,
    scripts: [source, source],
    limits: DEFAULT_SCRIPT_LIMITS,
    vars: {},
    kv: [],
    iface: 'culvert0',
  });
  expect(issues).toMatchObject([{ script: 'a', kind: 'shape' }]);
});
