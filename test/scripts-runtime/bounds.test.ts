/** Whatever a script makes, what leaves its sandbox has a length that somebody chose. */
import { expect, test } from 'bun:test';
import { parseVerdict } from '../../src/scripts-runtime/verdict/parse-verdict.ts';
import { ScriptWorld, scriptOf, syncScriptOf } from './script-world.ts';

/** Of each message: `LOG_MESSAGE_LENGTH`, and the place of an error in front of it. */
const MESSAGE_MAX = 4096;
const LONG = String.raw`'\u0001'.repeat(3_500_000)`;

async function worldOf(source: string): Promise<ScriptWorld> {
  const world = new ScriptWorld();
  await world.load({ a: source });
  return world;
}

test.each([
  `throw new Error(${LONG})`,
  `throw ${LONG}`,
  `throw { text: ${LONG} }`,
  `throw Object.assign(new Error('x'), { name: ${LONG} })`,
  `throw Object.assign(new Error('x'), { stack: ${LONG} })`,
  `return ${LONG}`,
  `return { text: ${LONG} }`,
  `return forward(${LONG})`,
  `return forward('10.0.0.1:1', { bind: ${LONG} })`,
  `return forward('10.0.0.1:1', { [${LONG}]: 1 })`,
  `return redirect(${LONG})`,
  `return reject({ with: ${LONG} })`,
  `ctx.log.info(${LONG}); return undefined`,
  `ctx.log.info({}, ${LONG}); return undefined`,
  `ctx.log.info({ text: ${LONG} }, 'x'); return undefined`,
  `ctx.log.info(new Error(${LONG})); return undefined`,
  `console.log(${LONG}, { text: ${LONG} }); return undefined`,
  `env.KV.get({ text: ${LONG} }); return undefined`,
  `env.KV.set(${LONG}, 1); return undefined`,
  `String.prototype.slice = function () { return this; }; throw new Error(${LONG})`,
  `setTimeout(() => { throw new Error(${LONG}); }, 10); return undefined`,
])('%s: the log keeps its length', async (body) => {
  for (const source of [syncScriptOf(body), scriptOf(`await 1; ${body}`)]) {
    const world = await worldOf(source);
    expect(world.outcome()).toStartWith('failed');
    world.advance(10);
    expect(world.logs.length).toBeGreaterThan(0);
    for (const { message, fields } of world.logs) {
      expect(message.length).toBeLessThanOrEqual(MESSAGE_MAX);
      expect(JSON.stringify(fields ?? {}).length).toBeLessThanOrEqual(6 * MESSAGE_MAX);
    }
  }
});

test('an error while a script loads keeps its length', async () => {
  const world = new ScriptWorld();
  const issues = await world.tryLoad({ a: `throw new Error(${LONG});` });
  expect(issues).toHaveLength(1);
  expect(issues[0]?.message.length).toBeLessThanOrEqual(MESSAGE_MAX);
});

test('a long reason is cut before it leaves the sandbox', async () => {
  const world = await worldOf(
    syncScriptOf("return reject({ reason: flow.id + 'x'.repeat(4_000_000) })"),
  );
  for (let flow = 1; flow < 20; flow++) {
    const outcome = world.outcome('192.0.2.1', 80, { flow });
    expect(outcome).toBe(`reject rst ${flow.toString(36).padEnd(200, 'x')}`);
  }
});

test('a script that writes its verdict as text of its own gives none that is long', async () => {
  const world = await worldOf(
    syncScriptOf(`Object.defineProperty(Object.prototype, 'toJSON', {
      value: () => ({ kind: 'redirect', listener: 'x'.repeat(1_000_000) }),
    });
    return reject({ reason: 'x' });`),
  );
  expect(world.outcome()).toBe('failed bad-verdict');
  expect(world.lines).toEqual(['the verdict is too long']);
});

test('a refusal quotes only the start of what it refuses', () => {
  const long = '\u0001'.repeat(100_000);
  for (const value of [
    { kind: 'forward', to: long },
    { kind: 'redirect', listener: long },
    { kind: 'redirect', listener: { long } },
  ]) {
    const refusal = parseVerdict(value, ['welcome']);
    expect(typeof refusal === 'string' && refusal.length).toBeLessThan(500);
  }
});

test('the limit of timers holds for a script that has broken what counts them', async () => {
  const world = new ScriptWorld();
  await world.load(
    {
      a: `Object.defineProperty(Map.prototype, 'size', { get: () => 0 });
        Map.prototype.set = function () { return this; };
        ${syncScriptOf(`let made = 0;
          try { for (;;) { setTimeout(() => {}, 1000); made++; } }
          catch (error) { return reject({ reason: made + ' ' + (error as Error).name }); }`)}`,
    },
    { limits: { timers: 20 } },
  );
  expect(world.outcome()).toBe('reject rst 20 LimitError');
  expect(world.outcome()).toBe('reject rst 0 LimitError');
  world.advance(1000);
  expect(world.stats[0]?.limitHits).toEqual({ timers: 2 });
  expect(world.outcome()).toBe('reject rst 20 LimitError');
});
