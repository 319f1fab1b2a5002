import { expect, test } from 'bun:test';
import { flowId } from '../../src/gateway/flow-filter/flow-id.ts';
import { Decisions } from '../../src/scripts-runtime/decide.ts';
import type { Decision } from '../../src/scripts-runtime/decision.ts';
import { Generation } from '../../src/scripts-runtime/generations/registry.ts';
import type { Script } from '../../src/scripts-runtime/script/script.ts';
import { describe, makeRequest, ScriptWorld, scriptOf, syncScriptOf } from './script-world.ts';

async function worldOf(
  scripts: Readonly<Record<string, string>>,
  limits: Parameters<ScriptWorld['load']>[1] = {},
): Promise<ScriptWorld> {
  const world = new ScriptWorld();
  await world.load(scripts, limits);
  return world;
}

test('scripts are asked in order and the first that does not decline decides', async () => {
  const world = await worldOf({
    one: syncScriptOf('return flow.dst.port === 1 ? reject() : decline()'),
    two: scriptOf("return flow.dst.port === 2 ? forward('10.0.0.2:2') : decline()"),
    three: syncScriptOf("return flow.dst.port === 9 ? decline() : redirect('welcome')"),
  });
  expect(world.decide('192.0.2.1', 1).by).toEqual({ generation: 1, script: 0 });
  expect(world.outcome('192.0.2.1', 2)).toBe('forward 10.0.0.2:2');
  expect(world.decide('192.0.2.1', 3).by).toEqual({ generation: 1, script: 2 });
  expect(world.outcome('192.0.2.1', 9)).toBe('decline');
});

test('a script sees the flow that the request describes', async () => {
  const world = await worldOf({
    a: syncScriptOf(`const { id, proto, src, dst, originalDst, iface, syn } = flow;
      const shown = [id, proto, \`\${src} \${dst}\`, originalDst.family, iface, syn];
      return reject({ reason: JSON.stringify(shown) })`),
  });
  expect(world.outcome('fd00::1', 443, { flow: 12_345 })).toBe(
    `reject rst ["${flowId(12_345)}","tcp","[fd00::2]:40000 [fd00::1]:443",6,"culvert0",` +
      '{"mss":1460,"wscale":7,"ttl":64,"ecn":false}]',
  );
  expect(world.outcome('192.0.2.1', 80)).toContain('198.18.0.2:40000 192.0.2.1:80');
});

test('two flows that wait at once keep their own FlowInfo', async () => {
  const world = await worldOf({
    a: scriptOf(
      'await new Promise((r) => setTimeout(r, 10)); return reject({ reason: flow.dst.ip })',
    ),
  });
  const [first, second] = [world.ask('192.0.2.1'), world.ask('192.0.2.2')];
  world.advance(10);
  expect(describe(world.answers.get(first))).toBe('reject rst 192.0.2.1');
  expect(describe(world.answers.get(second))).toBe('reject rst 192.0.2.2');
});

test('an async verdict is awaited over several awaits and a timer', async () => {
  const world = await worldOf({
    a: scriptOf(`await 1; await new Promise((r) => setTimeout(r, 50)); await 2; return forward()`),
  });
  const id = world.ask();
  world.advance(49);
  expect(world.answers.has(id)).toBe(false);
  expect(world.host.nextDeadline()).toBe(world.now + 1000);
  world.advance(1);
  expect(describe(world.answers.get(id))).toBe('forward');
  expect(world.host.pending).toBe(0);
});

test('a thenable that is no promise is awaited too', async () => {
  const world = await worldOf({ a: syncScriptOf('return { then: (f: any) => f(reject()) }') });
  expect(world.outcome()).toBe('reject rst');
});

test('an async decline asks the next script, and the last decline is the answer', async () => {
  const world = await worldOf({
    a: scriptOf('await 1; return decline()'),
    b: scriptOf('await 1; return flow.dst.port === 1 ? reject() : decline()'),
  });
  expect(world.outcome('192.0.2.1', 1)).toBe('reject rst');
  expect(world.outcome('192.0.2.1', 2)).toBe('decline');
});

test.each([
  ['throw new Error("x")', 'failed error'],
  ['throw null', 'failed error'],
  ['throw { get message() { throw 1 } }', 'failed error'],
  ['return Promise.reject(new Error("x"))', 'failed error'],
  ['return undefined', 'failed bad-verdict'],
  ['return true', 'failed bad-verdict'],
  ['return "forward"', 'failed bad-verdict'],
  ['return { kind: "forward", to: "10.0.0.1:1" }', 'failed bad-verdict'],
  ['return Object.create(decline())', 'failed bad-verdict'],
  ['return { ...reject({ reason: "a" }) }', 'failed bad-verdict'],
  ['return new Proxy(decline(), {})', 'failed bad-verdict'],
  ['return forward("example.com")', 'failed bad-verdict'],
  ['return forward("10.0.0.1:0")', 'failed bad-verdict'],
  ['return forward("300.1.1.1:80")', 'failed bad-verdict'],
  ['return forward("fd00::1:80")', 'failed bad-verdict'],
  ['return forward(80)', 'failed error'],
  ['return forward("10.0.0.1:1", { way: "x" })', 'failed error'],
  ['return forward("10.0.0.1:1", { mark: -1 })', 'failed error'],
  ['return forward("10.0.0.1:1", { mark: 2 ** 40 })', 'failed bad-verdict'],
  ['return forward("10.0.0.1:1", { bind: "eth0" })', 'failed bad-verdict'],
  ['return reject({ with: "silence" })', 'failed error'],
  ['return redirect("no where")', 'failed bad-verdict'],
  ['return redirect(5)', 'failed error'],
  ['return redirect("web", { note: "x" })', 'failed bad-verdict'],
  ['return claim()', 'failed error'],
  ['return nat(80)', 'failed error'],
  ['return nat("10.0.0.1", { masquerade: "no" })', 'failed error'],
  ['return nat("10.0.0.1", { mark: 1 })', 'failed error'],
  ['return nat("fd00::1:80")', 'failed bad-verdict'],
  ['return nat(undefined, { idleTimeoutMs: 2 ** 40 })', 'failed bad-verdict'],
  ['return eval("decline()")', 'failed error'],
  ['return (() => {}).constructor("return 1")()', 'failed error'],
  ['return (async () => {}).constructor("return 1")()', 'failed error'],
  ['return globalThis.culvertHost.settle(1, 2)', 'failed error'],
])('%s fails closed', async (body, expected) => {
  const sync = await worldOf({ a: syncScriptOf(body), b: syncScriptOf('return forward()') });
  expect(sync.outcome()).toBe(expected);
  const async = await worldOf({
    a: scriptOf(`await 1; ${body}`),
    b: syncScriptOf('return forward()'),
  });
  expect(async.outcome()).toBe(expected);
  expect(async.lines).toHaveLength(1);
});

test('a script that replaces JSON.stringify gets the verdict it made', async () => {
  const world = await worldOf({
    a: syncScriptOf(`JSON.stringify = () => '{"kind":"forward"}'; return reject({ reason: 'x' })`),
  });
  expect(world.outcome()).toBe('reject rst x');
});

test('options of forward arrive, and the rest is left to the configuration', async () => {
  const world = await worldOf({
    a: syncScriptOf(`return forward('[fd00::1]:443', {
      handshake: 'accept-first', proxyProtocol: 1, bind: '10.0.0.9', mark: 0, maxBytes: 2 ** 40,
      connectTimeoutMs: 1, idleTimeoutMs: 2, halfCloseTimeoutMs: 3, congestion: 'newreno' })`),
    b: syncScriptOf('return forward()'),
  });
  expect(world.decide()).toMatchObject({
    verdict: {
      kind: 'forward',
      to: { ip: 'fd00::1', port: 443, family: 6 },
      handshake: 'accept-first',
      proxyProtocol: 1,
      bind: '10.0.0.9',
      mark: 0,
      maxBytes: 2 ** 40,
      connectTimeoutMs: 1,
      idleTimeoutMs: 2,
      halfCloseTimeoutMs: 3,
      congestion: 'newreno',
    },
  });
});

test('a name is resolved once for all that wait for it, in the family of the flow', async () => {
  const world = await worldOf({ a: syncScriptOf("return forward('www.example.com:8443')") });
  const four = world.ask('192.0.2.1');
  const six = world.ask('fd00::1');
  expect(world.lookups).toEqual([{ id: 1, name: 'www.example.com' }]);
  world.host.resolved(1, ['2001:db8::7', '203.0.113.7'], '');
  expect(describe(world.answers.get(four))).toBe('forward 203.0.113.7:8443');
  expect(describe(world.answers.get(six))).toBe('forward [2001:db8::7]:8443');
  world.ask('192.0.2.1');
  expect(world.lookups).toHaveLength(2);
});

test('a name that does not resolve fails closed and says so', async () => {
  const world = await worldOf({ a: syncScriptOf("return forward('no.example:1')") });
  const id = world.ask();
  world.host.resolved(1, [], 'ENOTFOUND');
  expect(describe(world.answers.get(id))).toBe('failed error');
  expect(world.lines[0]).toContain('"no.example" does not resolve: ENOTFOUND');
});

test('a name whose answer comes too late is not used', async () => {
  const world = await worldOf({ a: syncScriptOf("return forward('slow.example:1')") });
  const id = world.ask();
  world.advance(2000);
  expect(describe(world.answers.get(id))).toBe('failed wall');
  expect(world.lines).toEqual([
    'no verdict within 2000 ms (wallMs): "slow.example" is still being resolved',
  ]);
  world.host.resolved(1, ['203.0.113.7'], '');
  expect(world.answers.size).toBe(1);
});

test('a verdict that never comes fails by the wall limit, and fires the signal', async () => {
  const world = await worldOf({
    a: scriptOf(`const { signal } = flow;
      signal.addEventListener('abort', () => ctx.log.info(signal.reason.message));
      return new Promise(() => {})`),
  });
  const id = world.ask();
  world.advance(1999);
  expect(world.answers.has(id)).toBe(false);
  world.advance(1);
  expect(describe(world.answers.get(id))).toBe('failed wall');
  expect(world.lines).toEqual([
    'no verdict within 2000 ms (wallMs)',
    'the time for a verdict is over',
  ]);
  expect(world.logs[0]).toMatchObject({ level: 'warn', flow: 7, fields: { limit: 'wall' } });
});

test('what an async verdict throws is logged with its flow, as all that fails it', async () => {
  const world = await worldOf({
    a: scriptOf("await 1; if (flow.dst.port === 1) throw new Error('no'); return 5"),
  });
  for (const port of [1, 2]) world.outcome('192.0.2.1', port, { flow: 70 + port });
  expect(world.logs).toMatchObject([
    { flow: 71, message: 'a.ts:3:50: Error: no' },
    { flow: 72, message: 'flow() returned 5' },
  ]);
});

test('a late verdict is ignored', async () => {
  const world = await worldOf({
    a: scriptOf('await new Promise((r) => setTimeout(r, 3000)); return forward()'),
  });
  const id = world.ask();
  world.advance(2000);
  world.advance(2000);
  expect(describe(world.answers.get(id))).toBe('failed wall');
});

test('a cancelled request fires the signal and is not answered', async () => {
  const world = await worldOf({
    a: scriptOf(`return new Promise((r) => { flow.signal.onabort = () => r(forward()) })`),
  });
  const id = world.ask();
  world.host.cancel(id);
  world.host.cancel(id);
  world.advance(5000);
  expect(world.answers.has(id)).toBe(false);
  expect(world.host.pending).toBe(0);
});

test('decisions over the pending limit fail at once, and room comes back', async () => {
  const world = await worldOf(
    { a: scriptOf('await new Promise((r) => setTimeout(r, 100)); return forward()') },
    { limits: { pending: 2 } },
  );
  const [first] = [world.ask(), world.ask()];
  expect(world.outcome()).toBe('failed pending');
  world.advance(100);
  expect(describe(world.answers.get(first as number))).toBe('forward');
  expect(world.host.pending).toBe(0);
  world.ask();
  expect(world.host.pending).toBe(1);
});

test('a request that is repeated while it waits is not asked again', async () => {
  const world = await worldOf({
    a: scriptOf('ctx.log.info("asked"); return new Promise(() => {})'),
  });
  const id = world.ask();
  world.host.request(id, makeRequest('192.0.2.1', 80, {}));
  expect(world.lines).toEqual(['asked']);
});

test('an answer counts only from the script that was asked', () => {
  const answers: Decision[] = [];
  const decisions = new Decisions({
    now: () => 0,
    nextCall: () => 1,
    answer: (_, decision) => answers.push(decision),
    resolve: () => {},
    claim: () => true,
    limitHit: () => {},
    unresolved: () => {},
  });
  let asked = 0;
  const pending = {
    decide: (call: number) => {
      asked = call;
      return { kind: 'pending' };
    },
  } as unknown as Script;
  const other = {} as Script;
  const generation = new Generation(1, [pending, other], 1_000, 10);
  decisions.start(1, makeRequest('192.0.2.1', 80), generation, 0);
  const answer = {
    kind: 'verdict',
    verdict: { kind: 'forward', handshake: 'dial-first' },
  } as const;
  decisions.settled(other, asked, () => answer);
  decisions.afterTurn();
  expect([answers.length, decisions.pending]).toEqual([0, 1]);
  decisions.settled(pending, asked, () => answer);
  decisions.afterTurn();
  expect(answers).toMatchObject([{ kind: 'verdict', by: { script: 0 } }]);
});
