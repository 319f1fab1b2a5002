import { describe, expect, test } from 'bun:test';
import { makeRequest, ScriptWorld } from '../script-world.ts';

/** A script with these hooks, which forwards. */
const withHooks = (hooks: string): string =>
  `import { forward, reject } from 'culvert';
export default { flow(flow: any, env: any, ctx: any) { return forward(); }, ${hooks} };`;

/** Lets promises and timers of a load go on for `ms` of the clock. */
async function wait(world: ScriptWorld, ms: number): Promise<void> {
  for (let i = 0; i < ms; i += 10) {
    world.advance(10);
    await Bun.sleep(1);
  }
}

describe('load and unload', () => {
  const counting = withHooks(`
    load(old, env, ctx) { this.count = (old?.state?.count ?? 0) + 1;
      ctx.log.info({ old }, 'load ' + ctx.version + ' ' + this.count); },
    unload(env, ctx) { ctx.log.info('unload ' + ctx.version); return { count: this.count }; }`);

  test('hand over from one generation to the next', async () => {
    const world = new ScriptWorld();
    await world.load({ a: counting });
    await world.load({ a: counting }, { generation: 2 });
    await world.load({ a: counting }, { generation: 3 });
    expect(world.lines).toEqual(['load 1 1', 'unload 1', 'load 2 2', 'unload 2', 'load 3 3']);
    expect(world.logs.map(({ fields }) => fields)).toEqual([
      { old: null },
      undefined,
      { old: { version: '1', state: { count: 1 } } },
      undefined,
      { old: { version: '2', state: { count: 2 } } },
    ]);
  });

  test('what was handed to one that did not load is handed over again', async () => {
    const world = new ScriptWorld();
    await world.load({ a: counting });
    const broken = withHooks("load() { throw new Error('no') }");
    expect(await world.tryLoad({ a: broken }, { generation: 2 })).toHaveLength(1);
    await world.load({ a: counting }, { generation: 3 });
    expect(world.lines).toEqual(['load 1 1', 'unload 1', 'unload 1', 'load 3 2']);
  });

  test('a script that goes is told, and one that comes has nothing before it', async () => {
    const world = new ScriptWorld();
    await world.load({ a: counting });
    await world.load({ b: counting }, { generation: 2 });
    expect(world.lines).toEqual(['load 1 1', 'load 2 1', 'unload 1']);
    expect(world.logs[1]?.fields).toEqual({ old: null });
  });

  test('after the death of the host there is a version before, and no state', async () => {
    const world = new ScriptWorld();
    await world.load({ a: counting, b: counting }, { previous: { generation: 7, scripts: ['a'] } });
    expect(world.logs.map(({ fields }) => fields)).toEqual([
      { old: { version: '7' } },
      { old: null },
    ]);
  });

  test('load is waited for, timers and all, and the old one is asked meanwhile', async () => {
    const world = new ScriptWorld();
    await world.load({ a: withHooks('') });
    let isLoaded = false;
    const slow = withHooks(
      `async load(old, env, ctx) { ctx.log.info('begun');
        await new Promise((done) => setTimeout(done, 200)); }`,
    );
    const loading = world.load({ a: slow }, { generation: 2 }).then(() => {
      isLoaded = true;
    });
    while (!world.lines.includes('begun')) await Bun.sleep(1);
    world.advance(100);
    await Bun.sleep(5);
    expect(isLoaded).toBe(false);
    expect(world.decide().by.generation).toBe(1);
    await wait(world, 200);
    await loading;
    expect(world.decide().by.generation).toBe(2);
  });

  test.each([
    ["load() { throw new Error('no') }", 'load(): Error: no'],
    ["async load() { throw new Error('later') }", 'load(): Error: later'],
    ['load() { for (;;) {} }', 'processor time'],
    ['load: 1', 'load of the default export is no method'],
  ])('%s: the script does not load, and the old one goes on', async (hooks, message) => {
    const world = new ScriptWorld(true);
    await world.load({ a: withHooks('') });
    const [issue] = await world.tryLoad({ a: withHooks(hooks) }, { generation: 2 });
    expect(issue?.message).toContain(message);
    if (message.startsWith('load()')) expect(issue).toMatchObject({ file: 'a.ts', line: 2 });
    expect(world.host.generation).toBe(1);
    expect(world.outcome()).toBe('forward');
  });

  test('a load that never ends is given up', async () => {
    const world = new ScriptWorld();
    const loading = world.tryLoad({ a: withHooks('load() { return new Promise(() => {}); }') });
    await wait(world, 4000);
    const [issue] = await loading;
    expect(issue?.message).toBe('load(): took too long, and is not waited for any more');
  });

  test.each([
    ["unload() { throw new Error('no') }", 'unload(): Error: no'],
    ['async unload() { return 1 }', 'unload() returned a promise'],
    ["unload() { return 'x'.repeat(70_000) }", 'unload(): returned 70002 bytes, at most 65536'],
    ['unload() { const a = {}; a.a = a; return a }', 'unload(): TypeError: circular reference'],
  ])('%s: the next one starts without state', async (hooks, message) => {
    const world = new ScriptWorld();
    const told = ", load(old, env, ctx) { ctx.log.info({ old }, 'load') }";
    await world.load({ a: withHooks(hooks + told) });
    await world.load({ a: withHooks(hooks + told) }, { generation: 2 });
    expect(world.lines[1]).toContain(message);
    expect(world.logs[2]?.fields).toEqual({ old: { version: '1' } });
  });

  test('a sandbox that broke starts over with the version it had, and no state', async () => {
    const world = new ScriptWorld(true);
    const source = withHooks("load(old, env, ctx) { ctx.log.info({ old }, 'load') }").replace(
      'return forward()',
      'if (flow.dst.port === 1) for (;;) {} return forward()',
    );
    await world.load({ a: source });
    expect(world.outcome('192.0.2.1', 1)).toBe('failed cpu');
    // Until a sandbox was made to replace it.
    while (world.host.isPreparing) await Bun.sleep(1);
    world.decide();
    expect(
      world.logs.filter(({ message }) => message === 'load').map(({ fields }) => fields),
    ).toEqual([{ old: null }, { old: { version: '1' } }]);
  });
});

describe('scheduled', () => {
  const told = withHooks(
    "scheduled(event, env, ctx) { ctx.log.info(event.name + ' ' + event.at) }",
  );
  // 22:13:20 UTC on a Tuesday.
  const START = 1_700_000_000_000;

  test('is called at multiples of a period, whatever was reloaded meanwhile', async () => {
    const world = new ScriptWorld();
    const schedule = { probe: { everyMs: 30_000 } };
    await world.load({ a: told }, { schedule });
    world.advance(9_000);
    expect(world.lines).toEqual([]);
    await world.load({ a: told }, { schedule, generation: 2 });
    world.advance(1_000);
    world.advance(30_000);
    world.advance(300_000);
    expect(world.lines).toEqual(
      [START + 10_000, START + 40_000, START + 70_000].map((at) => `probe ${at}`),
    );
  });

  test('is called by cron, and says when its time was', async () => {
    const world = new ScriptWorld();
    await world.load({ a: told }, { schedule: { night: { cron: '15 22 * * *' } } });
    world.advance(101_000);
    expect(world.lines).toEqual([`night ${START + 100_000}`]);
    expect(world.host.nextDeadline()).toBeLessThan(Number.POSITIVE_INFINITY);
  });

  test('is not called again before it is over, and an error is logged with its place', async () => {
    const world = new ScriptWorld();
    const slow = withHooks(`async scheduled(event, env, ctx) { ctx.log.info('begin');
      await new Promise((done) => setTimeout(done, 2500)); throw new Error('end') }`);
    await world.load({ a: slow }, { schedule: { a: { everyMs: 1000 } } });
    for (let i = 0; i < 6; i++) world.advance(1000);
    const lines = world.lines.map((line) => line.replace(/^a\.ts:3:\d+: /, ''));
    expect(lines.slice(0, 3)).toEqual(['begin', 'scheduled(a): Error: end', 'begin']);
  });

  test('is not called of a script that was replaced or has no such hook', async () => {
    const world = new ScriptWorld();
    const schedule = { a: { everyMs: 1000 } };
    await world.load({ a: told }, { schedule });
    await world.load({ a: withHooks('') }, { schedule, generation: 2 });
    world.advance(5000);
    expect(world.lines).toEqual([]);
  });
});

describe('closed', () => {
  const told = withHooks(`closed(flow, result, env, ctx) {
    ctx.log.info({ ...result, src: String(flow.src), dst: String(flow.dst), id: flow.id,
      syn: flow.syn, own: ctx.version }, 'closed'); }`);
  const result = { bytesUp: 1, bytesDown: 2, durationMs: 3, reason: 'eof' };
  const ended = (generation: number, script = 'a') => ({
    script,
    generation,
    flow: makeRequest('192.0.2.1', 80),
    result,
  });

  test('hears of flows, with how they ended', async () => {
    const world = new ScriptWorld();
    await world.load({ a: told, b: withHooks('') });
    expect(world.host.closers).toEqual(['a']);
    world.host.closed([ended(1), ended(1, 'b'), ended(1, 'gone')]);
    expect(world.host.nextDeadline()).toBe(0);
    world.advance(0);
    expect(world.logs).toHaveLength(1);
    expect(world.logs[0]).toMatchObject({
      flow: 7,
      fields: { ...result, src: '198.18.0.2:40000', dst: '192.0.2.1:80', id: '7', own: '1' },
    });
    expect(world.logs[0]?.fields).not.toHaveProperty('syn');
    expect(world.toldClosed).toBe(1);
  });

  test('is called of the generation that decided if it lives, else of the active one', async () => {
    const world = new ScriptWorld();
    const waiting = told.replace('return forward()', 'return new Promise(() => {})');
    await world.load({ a: waiting });
    world.ask();
    await world.load({ a: told }, { generation: 2 });
    world.host.closed([ended(1), ended(2), ended(9)]);
    world.advance(0);
    expect(world.logs.map(({ fields }) => fields?.['own'])).toEqual(['1', '2', '2']);
  });

  test('takes turns with everything else', async () => {
    const world = new ScriptWorld();
    await world.load({ a: told });
    world.turnMs = 2;
    world.host.closed(Array.from({ length: 10 }, () => ended(1)));
    world.advance(0);
    expect(world.logs.length).toBeLessThan(5);
    expect(world.toldClosed).toBe(0);
    while (world.host.nextDeadline() === 0) world.advance(0);
    expect(world.logs).toHaveLength(10);
    expect(world.toldClosed).toBe(1);
  });

  test('an error in it is logged and nothing else', async () => {
    const world = new ScriptWorld();
    await world.load({ a: withHooks("closed() { throw new Error('no') }") });
    world.host.closed([ended(1)]);
    world.advance(0);
    expect(world.lines).toEqual(['a.ts:2:103: closed(): Error: no']);
  });
});

describe('ctx.waitUntil', () => {
  const waiting = (ms: number) =>
    withHooks('').replace(
      'return forward()',
      `ctx.waitUntil(new Promise((done, fail) => setTimeout(() => fail(new Error('late')), ${ms})));
       return forward()`,
    );

  test('keeps a generation until the promise is settled, and logs its error', async () => {
    const world = new ScriptWorld();
    await world.load({ a: waiting(5000) });
    expect(world.outcome()).toBe('forward');
    await world.load({ a: withHooks('') }, { generation: 2 });
    world.advance(4000);
    expect(world.host.generations).toEqual([1, 2]);
    world.advance(1000);
    expect(world.host.generations).toEqual([2]);
    expect(world.lines[0]).toMatch(/^a\.ts:2:\d+: waitUntil\(\): Error: late$/);
  });

  test('does not keep it for longer than waitMs', async () => {
    const world = new ScriptWorld();
    await world.load({ a: waiting(60_000) }, { limits: { waitMs: 3000 } });
    world.outcome();
    await world.load({ a: withHooks('') }, { generation: 2 });
    world.advance(2999);
    expect(world.host.generations).toEqual([1, 2]);
    world.advance(1);
    expect(world.host.generations).toEqual([2]);
    expect(world.lines).toEqual(['waitUntil(): took too long, and is not waited for any more']);
  });

  test('takes as many promises as may wait', async () => {
    const world = new ScriptWorld();
    await world.load({ a: waiting(60_000) }, { limits: { waits: 2 } });
    for (let i = 0; i < 3; i++) world.decide();
    expect(world.lines[0]).toContain('LimitError: more than 2 promises (waits)');
  });

  test('takes what is no promise, or settled already', async () => {
    const world = new ScriptWorld();
    const source = withHooks('').replace(
      'return',
      'ctx.waitUntil(1); ctx.waitUntil(Promise.resolve()); return',
    );
    await world.load({ a: source });
    expect(world.outcome()).toBe('forward');
    await world.load({ a: withHooks('') }, { generation: 2 });
    expect(world.host.generations).toEqual([2]);
  });
});
