import { describe, expect, test } from 'bun:test';
import type { Decision } from '../../../src/scripts-runtime/decision.ts';
import { Canary } from '../../../src/scripts-runtime/generations/canary.ts';
import { Generation } from '../../../src/scripts-runtime/generations/registry.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../src/scripts-runtime/limits.ts';
import { ConnWorld, claiming } from '../conns/conn-world.ts';
import { makeRequest, ScriptWorld, syncScriptOf } from '../script-world.ts';

const by = { generation: 2, script: 0 };
const GOOD: Decision = { kind: 'verdict', verdict: { kind: 'decline' }, by };
const BAD: Decision = { kind: 'failed', failure: 'error', by };

const canaryOf = (plan = {}, number = 2) =>
  new Canary(new Generation(number, [], 1, 1), {
    share: 0.1,
    errors: 0.5,
    windowMs: 1000,
    ...plan,
  });

describe('a canary', () => {
  test('has its share of flows, always the same ones, and others than the one before', () => {
    const flows = Array.from({ length: 20_000 }, (_, i) => 2 ** 33 + i);
    const taken = (number: number) => flows.filter((flow) => canaryOf({}, number).takes(flow));
    expect(taken(2).length / flows.length).toBeWithin(0.09, 0.11);
    expect(taken(2)).toEqual(taken(2));
    const both = taken(2).filter((flow) => canaryOf({}, 3).takes(flow));
    expect(both.length / flows.length).toBeWithin(0.005, 0.02);
    expect(flows.some((flow) => canaryOf({ share: 0 }).takes(flow))).toBe(false);
    expect(flows.every((flow) => canaryOf({ share: 1 }).takes(flow))).toBe(true);
  });

  test('is stopped when more of its decisions fail than may, not by one or two', () => {
    const canary = canaryOf();
    canary.record(BAD, 1_000_000);
    canary.record(BAD, 1_000_000);
    expect(canary.isStopped).toBe(false);
    canary.record(BAD, 1_000_000);
    expect(canary.counts).toMatchObject({ decisions: 3, failures: 3 });
    expect(canary.counts.stopped).toContain('3 of 3 decisions failed within 1000 ms');
    expect(canary.takes(1)).toBe(false);
  });

  test('is not blamed for what came too late to be asked about', () => {
    const canary = canaryOf();
    const late: Decision = { ...BAD, by: { generation: 2, script: 0xffff_ffff } };
    for (let i = 0; i < 9; i++) canary.record(late, 1_000_000);
    expect(canary.counts).toMatchObject({ decisions: 0, failures: 0 });
  });

  test('is blamed for scripts that failed and were passed over', () => {
    const canary = canaryOf();
    const passedOver: Decision = { ...GOOD, failures: [{ script: 0, failure: 'cpu' }] };
    for (let i = 0; i < 3; i++) canary.record(passedOver, 1_000_000);
    expect(canary.counts.stopped).toEndWith('the last by "cpu"');
  });

  test('is not stopped by failures that are few among many, or long ago', () => {
    const canary = canaryOf({ errors: 0.1 });
    for (let i = 0; i < 100; i++) canary.record(GOOD, 1_000_000);
    for (let i = 0; i < 10; i++) canary.record(BAD, 1_500_000);
    expect(canary.isStopped).toBe(false);
    const late = canaryOf();
    for (let i = 0; i < 9; i++) late.record(BAD, 1_000_000 + i * 600_000);
    expect(late.isStopped).toBe(false);
    expect(late.counts.failures).toBe(9);
  });
});

describe('a host with a canary', () => {
  const forward = syncScriptOf('return forward()');
  const throws = syncScriptOf('throw new Error("bad canary")');
  const reject = syncScriptOf('return reject()');
  const plan = { share: 0.5, errors: 0.1, windowMs: 1000 };

  async function withCanary(source: string) {
    const world = new ScriptWorld();
    await world.load({ a: forward });
    const bundle = {
      generation: 2,
      scripts: [{ name: 'a', file: 'a.ts', source }],
      limits: DEFAULT_SCRIPT_LIMITS,
      vars: {},
      kv: [],
      iface: 'culvert0',
    };
    expect(await world.host.load(bundle, { canary: plan })).toEqual([]);
    return { world, bundle };
  }
  const verdicts = (world: ScriptWorld, from: number, count: number) =>
    Array.from({ length: count }, (_, i) => world.outcome('192.0.2.1', 80, { flow: from + i }));

  test('asks it about its share only, and the active bundle about the rest', async () => {
    const { world } = await withCanary(reject);
    const first = verdicts(world, 1, 200);
    expect(new Set(first)).toEqual(new Set(['forward', 'reject rst']));
    expect(verdicts(world, 1, 200)).toEqual(first);
    expect(world.host.generations).toEqual([1, 2]);
    expect(world.host.generation).toBe(1);
  });

  test('makes it the active bundle when it is promoted', async () => {
    const { world } = await withCanary(reject);
    expect(world.host.promote(2)).toBe(true);
    expect(new Set(verdicts(world, 1, 50))).toEqual(new Set(['reject rst']));
    expect(world.host.generations).toEqual([2]);
    expect(world.host.promote(2)).toBe(false);
  });

  test('forgets it when it is dropped, or another bundle is loaded', async () => {
    const { world, bundle } = await withCanary(reject);
    world.host.dropCanary();
    expect(new Set(verdicts(world, 1, 50))).toEqual(new Set(['forward']));
    expect(world.host.generations).toEqual([1]);
    await world.host.load({ ...bundle, generation: 3 }, { canary: plan });
    await world.load({ a: forward }, { generation: 4 });
    expect(world.host.generations).toEqual([4]);
    expect(new Set(verdicts(world, 1, 50))).toEqual(new Set(['forward']));
  });

  test('stops it when it fails, at once and by itself', async () => {
    const { world } = await withCanary(throws);
    const outcomes = verdicts(world, 1, 200);
    expect(outcomes.filter((outcome) => outcome === 'failed error')).toHaveLength(3);
    expect(world.canaries.at(-1)).toMatchObject({ generation: 2, failures: 3 });
    expect(world.canaries.at(-1)?.stopped).toContain('decisions failed');
    expect(world.host.generations).toEqual([1]);
    expect(world.generations.at(-1)).toEqual([1]);
  });

  test('shares the KV between both, and says of the active one how it stands', async () => {
    const { world } = await withCanary(syncScriptOf("env.KV.incr('n'); return reject()"));
    verdicts(world, 1, 20);
    world.advance(1000);
    expect(world.stats).toMatchObject([{ script: 'a', generation: 1, decisions: 20 }]);
    expect(Number(world.journal.at(-1)?.value)).toBeWithin(1, 20);
  });
});

describe('a generation that is replaced', () => {
  const source = syncScriptOf('ctx.signal.onabort = () => ctx.log.info("over"); return forward()');

  test('keeps connections to the deadline, then its scripts are told, then they end', async () => {
    const claims = claiming(
      'ctx.signal.onabort = () => say("over"); say(String(await conn.read()))',
    );
    const made = await ConnWorld.of(claims);
    const conn = made.connect();
    const { host, world } = made;
    const next = { ...world.bundleOf({ script: source }), generation: 2 };
    expect(await host.load(next, { drainMs: 10_000 })).toEqual([]);
    made.advance(9_900);
    expect(made.lines).toEqual([]);
    expect(host.generations).toEqual([1, 2]);
    made.advance(1_200);
    expect(made.lines).toEqual(['over']);
    expect(made.client(conn).wasAborted).toBe(false);
    made.advance(1_100);
    expect(made.client(conn).wasAborted).toBe(true);
    expect(host.generations).toEqual([2]);
  });

  test('is told at once when no connection is its', async () => {
    const world = new ScriptWorld();
    await world.load({ a: source });
    world.decide();
    await world.host.load({ ...world.bundleOf({ a: source }), generation: 2 }, { drainMs: 10_000 });
    expect(world.lines).toEqual(['over']);
    expect(world.host.generations).toEqual([2]);
  });
});

describe('flows of late', () => {
  test('are remembered with their verdicts, names as the script gave them', async () => {
    const world = new ScriptWorld();
    await world.load({ a: syncScriptOf("return forward('db.example:5432')") });
    world.ask();
    world.host.resolved(world.lookups[0]?.id ?? 0, ['10.0.0.9'], '');
    expect(world.host.recent(10)).toMatchObject([
      {
        flow: { protocol: 'tcp', destination: { port: 80 }, atMs: world.epochMs },
        serial: 7,
        verdict: 'forward db.example:5432',
        generation: 1,
      },
    ]);
  });

  test('are told to who watches, in time and bounded', async () => {
    const world = new ScriptWorld();
    await world.load({ a: syncScriptOf('return reject()') });
    world.ask();
    world.host.watch(true);
    for (let i = 1; i <= 300; i++) world.host.request(1000 + i, makeRequest('192.0.2.1', i));
    world.advance(250);
    expect(world.decided).toHaveLength(1);
    expect(world.decided[0]?.left).toBe(44);
    expect(world.decided[0]?.flows.at(-1)).toMatchObject({ flow: { destination: { port: 300 } } });
    world.host.watch(false);
    world.ask();
    world.advance(1000);
    expect(world.decided).toHaveLength(1);
  });
});
