import { expect, test } from 'bun:test';
import { describe, ScriptWorld, scriptOf, syncScriptOf } from './script-world.ts';

const SPIN = 'if (flow.dst.port === 666) for (;;) {}';

/** Until a spare engine is there again. */
async function prepared(world: ScriptWorld): Promise<void> {
  while (world.host.isPreparing) await Bun.sleep(1);
}

test('an endless loop is stopped, and the script goes on in a fresh sandbox', async () => {
  const world = new ScriptWorld(true);
  const script = syncScriptOf(`count++; ${SPIN} return reject({ reason: String(count) })`);
  const source = `let count = 0;\n${script}`;
  await world.load({ a: source });
  await prepared(world);
  expect(world.outcome()).toBe('reject rst 1');
  expect(world.outcome()).toBe('reject rst 2');
  expect(world.outcome('192.0.2.1', 666)).toBe('failed cpu');
  expect(world.outcome()).toBe('reject rst 1');
});

test('without a spare the script fails closed until its sandbox is made again', async () => {
  const world = new ScriptWorld(true);
  await world.load({ a: syncScriptOf(`${SPIN} return forward()`) });
  expect(world.outcome('192.0.2.1', 666)).toBe('failed cpu');
  expect(world.outcome()).toBe('failed killed');
  await prepared(world);
  expect(world.outcome()).toBe('forward');
});

test('an endless chain of promises is stopped', async () => {
  const world = new ScriptWorld(true);
  await world.load({
    a: syncScriptOf(
      'const next = (): any => Promise.resolve().then(next); next(); return forward()',
    ),
  });
  expect(world.outcome()).toBe('failed cpu');
});

test('a sandbox that breaks takes its waiting calls with it, and no one else’s', async () => {
  const world = new ScriptWorld(true);
  await world.load({
    a: syncScriptOf('return flow.dst.port < 10 ? decline() : new Promise(() => {})'),
    b: syncScriptOf('if (flow.dst.port === 2) for (;;) {} return new Promise(() => {})'),
  });
  const ofA = world.ask('192.0.2.1', 10);
  const ofB = world.ask('192.0.2.1', 1);
  expect(world.outcome('192.0.2.1', 2)).toBe('failed cpu');
  expect(describe(world.answers.get(ofB))).toBe('failed killed');
  expect(world.answers.has(ofA)).toBe(false);
});

test('memory over the limit fails the call, whether the script catches it or not', async () => {
  const limits = { memoryBytes: 2 * 1024 * 1024, cpuHardMs: 5000, cpuSoftMs: 5000 };
  const fill = 'const a: any[] = []; for (;;) a.push({ x: [1, 2, 3] });';
  const world = new ScriptWorld(true);
  await world.load({ a: syncScriptOf(fill) }, { limits });
  expect(world.outcome()).toBe('failed memory');
  await world.load(
    { a: syncScriptOf(`try { ${fill} } catch (e) { throw e }`) },
    { limits, generation: 2 },
  );
  expect(world.outcome()).toBe('failed memory');
  await world.load({ a: scriptOf(`await 1; ${fill}`) }, { limits, generation: 3 });
  expect(world.outcome()).toBe('failed memory');
});

test('a recursion without end is an error of the script and no crash', async () => {
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf('const f = (n: number): number => f(n + 1) + 1; f(0)') });
  expect(world.outcome()).toBe('failed error');
  world.advance(1000);
  expect(world.stats[0]?.limitHits).toMatchObject({ stack: 1 });
  expect(world.lines[0]).toContain('stack overflow');
});

test('five hard limits in ten seconds disable the script until a new generation', async () => {
  const world = new ScriptWorld(true);
  const scripts = { a: syncScriptOf(`${SPIN} return forward()`) };
  const limits = { cpuHardMs: 5, cpuSoftMs: 5 };
  await world.load(scripts, { limits });
  for (let hit = 0; hit < 5; hit++) {
    await prepared(world);
    expect(world.outcome('192.0.2.1', 666)).toBe('failed cpu');
  }
  await prepared(world);
  expect(world.outcome()).toBe('failed disabled');
  expect(world.logs.find(({ level }) => level === 'error')?.message).toBe('script disabled');
  await world.load(scripts, { limits, generation: 2 });
  expect(world.outcome()).toBe('forward');
});

test('a script that the bundle calls disabled is loaded and not asked', async () => {
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf('return forward()') }, { disabled: ['a'] });
  expect(world.outcome()).toBe('failed disabled');
  world.advance(1000);
  expect(world.stats[0]).toMatchObject({ script: 'a', disabled: true, errors: 1 });
});

test('timers over the limit throw, and none is shorter than 10 ms', async () => {
  const world = new ScriptWorld();
  await world.load(
    {
      a: scriptOf(`setTimeout(() => {}, 10); setTimeout(() => ctx.log.info('fired'), 0);
        try { setTimeout(() => {}, 0) } catch (e: any) { return reject({ reason: e.name }) }`),
    },
    { limits: { timers: 2 } },
  );
  expect(world.outcome()).toBe('reject rst LimitError');
  world.advance(9);
  expect(world.lines).toEqual([]);
  world.advance(1);
  expect(world.lines).toEqual(['fired']);
  expect(world.outcome()).toBe('reject rst LimitError');
});

test('a cleared timer does not fire', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf(`clearTimeout(setTimeout(() => ctx.log.info('a'), 10));
      setTimeout((x: string) => ctx.log.info(x), 10, 'b'); return forward()`),
  });
  world.decide();
  world.advance(20);
  expect(world.lines).toEqual(['b']);
});

test('log lines over the limit are counted and dropped', async () => {
  const world = new ScriptWorld();
  await world.load(
    {
      a: syncScriptOf('for (let i = 0; i < 5; i++) ctx.log.info({ i }, "line"); return forward()'),
    },
    { limits: { logLinesPerSecond: 3 } },
  );
  world.decide();
  expect(world.lines).toEqual(['line', 'line', 'line']);
  world.advance(1000);
  expect(world.logs.at(-1)).toMatchObject({ message: 'log lines dropped', fields: { dropped: 2 } });
  expect(world.stats[0]?.limitHits).toMatchObject({ log: 2 });
});

test('logs carry script, generation, flow, level and fields', async () => {
  const world = new ScriptWorld();
  await world.load(
    {
      a: syncScriptOf("ctx.log.error({ a: 1 }, 'm'); console.log('x', { b: 2 }); return forward()"),
    },
    { generation: 4 },
  );
  world.decide('192.0.2.1', 80, { flow: 99 });
  expect(world.logs).toEqual([
    { level: 'error', script: 'a', generation: 4, flow: 99, message: 'm', fields: { a: 1 } },
    { level: 'info', script: 'a', generation: 4, message: 'x {"b":2}' },
  ]);
});

test('what a script knows of itself: limits, version, variables', async () => {
  const world = new ScriptWorld();
  await world.load(
    {
      a: syncScriptOf(
        'return reject({ reason: [ctx.limits.kvBytes, ctx.version, env.vars.x].join() })',
      ),
    },
    { generation: 3, vars: { x: 'y', __proto__: 'z' } },
  );
  expect(world.outcome()).toBe('reject rst 1048576,3,y');
});

test('20,000 decisions, sync and async, leave no memory behind', async () => {
  const world = new ScriptWorld(true);
  await world.load(
    {
      a: scriptOf(`if (flow.dst.port === 1) { await 1; return reject({ reason: flow.id }) }
        if (flow.dst.port === 2) throw new Error('x');
        env.KV.incr('n'); return decline()`),
      b: syncScriptOf('flow.signal.aborted; return redirect("welcome", { note: flow.src.ip })'),
    },
    // A leak of 100 bytes a decision would not fit.
    {
      limits: {
        memoryBytes: 2 * 1024 * 1024,
        cpuSoftMs: 1000,
        cpuHardMs: 5000,
        logLinesPerSecond: 1,
      },
    },
  );
  for (let i = 0; i < 20_000; i++) {
    world.outcome('192.0.2.1', i % 4, { flow: i });
    world.answers.clear();
  }
  expect(world.outcome('192.0.2.1', 3)).toStartWith('redirect');
  expect(world.host.pending).toBe(0);
});

test.each([
  ['memoryBytes', 0],
  ['memoryBytes', 1000],
  ['memoryBytes', 2 ** 32],
  ['memoryBytes', Number.NaN],
  ['stackBytes', 0],
  ['stackBytes', 1000],
  ['stackBytes', 64 * 2 ** 20],
  ['kvValueBytes', 2 ** 24],
  ['loadMs', 3_000_000_000],
  ['cpuHardMs', 0.5],
  ['wallMs', -1],
])('%s of %d is refused before an engine is made', async (name, value) => {
  const world = new ScriptWorld();
  const source = syncScriptOf('return forward()');
  const issues = await world.tryLoad({ a: source }, { limits: { [name]: value } });
  expect(issues).toMatchObject([{ kind: 'limit', file: 'bundle' }]);
  expect(issues[0]?.message).toStartWith(`${name} is ${value}; it can be from `);
});

test.each([
  { memoryBytes: 2 ** 20, stackBytes: 64 * 1024 },
  { memoryBytes: 2 ** 30, stackBytes: 2 ** 20 },
])('a script runs within the smallest and the largest engine, case %#', async (limits) => {
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf('return forward()') }, { limits });
  expect(world.outcome()).toBe('forward');
});
