/** What becomes of a decision when a script fails: `scripts.onError`, as the script host has it. */
import { expect, describe as group, test } from 'bun:test';
import { NO_SCRIPT } from '../../src/scripts-runtime/decision.ts';
import type { OnError } from '../../src/stack/verdict.ts';
import { describe, type LoadOptions, ScriptWorld, scriptOf, syncScriptOf } from './script-world.ts';

const THROWS = syncScriptOf("throw new Error('oh')");
const NEVER = scriptOf('await new Promise(() => {})');
const AFTER_10_MS = 'await new Promise((done) => setTimeout(done, 10));';
const NEXT = syncScriptOf("return forward('10.0.0.1:1')");

async function worldOf(
  onError: OnError,
  scripts: Readonly<Record<string, string>>,
  options: LoadOptions = {},
  isRealTime = false,
): Promise<ScriptWorld> {
  const world = new ScriptWorld(isRealTime);
  await world.load(scripts, options);
  world.host.onError = onError;
  return world;
}

const failedOf = (onError: Exclude<OnError, 'reject'>) => ({
  ...{ kind: 'failed', failure: 'error', onError },
  by: { generation: 1, script: 0 },
});

test('reject: a script that fails ends the decision, and its log line says no more', async () => {
  const world = await worldOf('reject', { bad: THROWS, next: NEXT });
  const by = { generation: 1, script: 0 };
  expect(world.decide()).toEqual({ kind: 'failed', failure: 'error', by });
  expect(world.logs[0]?.fields).not.toHaveProperty('onError');
});

test('forward: so it does, and answer and log line say what becomes of the flow', async () => {
  const world = await worldOf('forward', { bad: THROWS, next: NEXT });
  expect(world.decide()).toMatchObject(failedOf('forward'));
  expect(world.logs[0]?.fields).toMatchObject({ error: 'error', onError: 'forward' });
});

test('a flow that comes too late to be asked about fails in the same way', async () => {
  for (const onError of ['forward', 'decline'] as const) {
    const world = await worldOf(onError, { next: NEXT }, { limits: { wallMs: 100 } });
    expect(world.decide('192.0.2.1', 80, { arrivedAt: world.now - 100_000 })).toEqual({
      ...{ kind: 'failed', failure: 'wall', onError },
      by: { generation: 1, script: NO_SCRIPT },
    });
  }
});

group('decline: the next script is asked after one that', () => {
  test.each([
    ['throws', THROWS, 'error'],
    ['answers no verdict', syncScriptOf('return 7'), 'bad-verdict'],
    ['answers what does not fit', syncScriptOf("return nat('[fd00::1]:1')"), 'bad-verdict'],
    ['overflows its stack', syncScriptOf('const f = () => f() + 1; return f()'), 'error'],
    ['claims and has no connect()', syncScriptOf('return claim()'), 'error'],
  ] as const)('%s', async (_, bad, failure) => {
    const world = await worldOf('decline', { bad, next: NEXT });
    expect(world.decide()).toMatchObject({
      ...{ kind: 'verdict', verdict: { kind: 'forward' }, by: { generation: 1, script: 1 } },
      failures: [{ script: 0, failure }],
    });
    expect(world.logs[0]?.fields).toMatchObject({ onError: 'decline' });
  });

  test('uses too much processor time, and after it is disabled for that', async () => {
    const scripts = { bad: syncScriptOf('for (;;);'), next: NEXT };
    const world = await worldOf('decline', scripts, { limits: { breakerHits: 1 } }, true);
    for (const failure of ['cpu', 'disabled']) {
      const decision = world.decide();
      expect(describe(decision)).toBe('forward 10.0.0.1:1');
      expect(decision).toMatchObject({ failures: [{ script: 0, failure }] });
    }
  });

  test('takes too long: the others have to answer at once', async () => {
    const scripts = { bad: NEVER, slow: NEVER, next: NEXT };
    const world = await worldOf('decline', scripts, { limits: { wallMs: 50 } });
    const id = world.ask();
    world.advance(50);
    expect(world.answers.get(id)).toMatchObject({
      by: { script: 2 },
      failures: [0, 1].map((script) => ({ script, failure: 'wall' })),
    });
    expect(world.host.pending).toBe(0);
    expect(world.lines.filter((line) => line.includes('wallMs'))).toHaveLength(2);
  });

  test('cannot wait, because too many do', async () => {
    const scripts = { bad: NEVER, next: NEXT };
    const world = await worldOf('decline', scripts, { limits: { pending: 1 } });
    world.ask();
    expect(world.decide()).toMatchObject({ failures: [{ script: 0, failure: 'pending' }] });
    expect(world.host.pending).toBe(1);
  });

  test('gives a name that does not resolve', async () => {
    const bad = syncScriptOf("return forward('nowhere.example:1')");
    const world = await worldOf('decline', { bad, next: NEXT });
    const id = world.ask();
    world.host.resolved(world.lookups[0]?.id ?? 0, [], 'NXDOMAIN');
    expect(world.answers.get(id)).toMatchObject({
      by: { script: 1 },
      failures: [{ script: 0, failure: 'error' }],
    });
  });

  test('loses its sandbox to another flow', async () => {
    const bad = scriptOf(`if (flow.dst.port === 1) for (;;); ${AFTER_10_MS} return reject()`);
    const world = await worldOf('decline', { bad, next: NEXT }, {}, true);
    const id = world.ask();
    world.ask('192.0.2.1', 1);
    expect(world.answers.get(id)).toMatchObject({ failures: [{ script: 0, failure: 'killed' }] });
  });
});

test('decline: when nobody decides, the decision has failed by the first that failed', async () => {
  const shy = syncScriptOf('return decline()');
  const world = await worldOf('decline', { shy, bad: THROWS, late: scriptOf('return 7') });
  const id = world.ask();
  expect(world.answers.get(id)).toEqual({
    ...{ kind: 'failed', failure: 'error', onError: 'decline' },
    by: { generation: 1, script: 1 },
    failures: [
      { script: 1, failure: 'error' },
      { script: 2, failure: 'bad-verdict' },
    ],
  });
  expect(world.host.recent(1)[0]?.verdict).toBe('failed error onError=decline');
});

test('decline: a flow that goes while the next script is asked gets no answer', async () => {
  const slow = scriptOf(`${AFTER_10_MS} return forward()`);
  const world = await worldOf('decline', { bad: THROWS, slow });
  const id = world.ask();
  world.host.cancel(id);
  world.advance(10);
  expect([world.answers.size, world.host.pending]).toEqual([0, 0]);
});

test('a bundle says what becomes of flows, and one that says nothing changes nothing', async () => {
  const world = new ScriptWorld();
  await world.host.load({ ...world.bundleOf({ bad: THROWS }), onError: 'forward' });
  expect(world.decide()).toMatchObject(failedOf('forward'));
  await world.host.load(world.bundleOf({ bad: THROWS }, { generation: 2 }));
  expect(world.decide()).toMatchObject({ onError: 'forward', by: { generation: 2 } });
});
