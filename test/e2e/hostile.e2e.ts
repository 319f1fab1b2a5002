/**
 * Scripts that misbehave fail their own flows and nobody else's: flows that live keep their
 * round-trip times, static listeners go on, and the next script that behaves is obeyed.
 *
 *   client                       gw                            server
 *     live flows ─── culvert0 ── [ data plane ] ── up0 ═══ dn0 ── echo
 *     victims    ───                │
 *                                [ script host ]  ◄─ hangs, swallows memory, never answers
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { FORWARD_ALL, World } from '../support/world.ts';

/** The script decides about this port by misbehaving, and forwards every other. */
const BAIT_PORT = 666;
const LISTENER_PORT = 6200;
/** Round trips of live flows, and time to a refusal: far above what is measured. */
const P99_BOUND_MS = 300;
const FAIL_CLOSED_BOUND_MS = 6000;

/** By name, the body of `flow()` when it is asked about the bait. */
const HOSTILE: Readonly<Record<string, string>> = {
  'a loop without end': 'for (;;);',
  'a native search that no interrupt handler stops':
    'return "a".repeat(1e6).indexOf("a".repeat(5e5) + "b");',
  'a native walk over 2^53 elements':
    'return Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);',
  'memory without end': 'const all = []; for (;;) all.push(new Uint8Array(1e6));',
  'recursion without end': 'const down = () => down() + 1; return down();',
  'a promise that never settles': 'return new Promise(() => {});',
  'a chain of promises without end':
    'const next = () => Promise.resolve().then(next); return next();',
  'an exception': 'throw new Error("no");',
  'a verdict that is none': 'return { kind: "forward" };',
  'a catastrophic expression': 'return /^(a+)+$/.test("a".repeat(40) + "!");',
};

const hostile = (body: string): string => `
import { forward } from "culvert";
export default {
  flow(f) {
    if (f.dst.port !== ${BAIT_PORT}) return forward();
    ${body}
  },
};
`;

let world: World;
beforeAll(async () => {
  world = await World.start({
    config: {
      listeners: [{ name: 'static', ports: LISTENER_PORT, action: 'forward' }],
      // No script is set aside here, whatever it does: each case must fail by itself.
      scripts: { limits: { breakerHits: 1000 } },
    },
  });
  await world.server.call('echo', { port: BAIT_PORT });
  await world.server.call('echo', { port: LISTENER_PORT });
});
afterAll(() => world?.[Symbol.asyncDispose]());

describe.each(Object.entries(HOSTILE))('%s', (name, body) => {
  test.each([...FAMILIES])('fails closed over $name, and nobody else notices', async (family) => {
    const { client, server, gateway } = world;
    const host = family.server;
    // The lines of the case before say nothing about this one.
    gateway.logs.length = 0;
    expect((await gateway.putScript('all', FORWARD_ALL)).ok).toBe(true);
    const port = await server.call('echo', { port: 0 });
    const load = { host, port, flows: 20, blockBytes: 512, intervalMs: 5 };
    const id = await client.call('hold', load);
    expect((await gateway.putScript('all', hostile(body))).ok).toBe(true);

    const victims = await Promise.all(
      Array.from({ length: 5 }, () =>
        client.call('connect', { host, port: BAIT_PORT, timeoutMs: FAIL_CLOSED_BOUND_MS }),
      ),
    );
    for (const victim of victims)
      expect(victim).toMatchObject({ open: false, code: 'ECONNREFUSED' });
    const listener = await client.call('connect', { host, port: LISTENER_PORT, timeoutMs: 1000 });
    expect(listener).toMatchObject({ open: true });

    expect((await gateway.putScript('all', FORWARD_ALL)).ok).toBe(true);
    await waitFor('the script that behaves to decide', async () => {
      const probe = await client.call('connect', { host, port: BAIT_PORT, timeoutMs: 1000 });
      return probe.open;
    });
    const report = await client.call('holdStop', { id });
    await server.call('unlisten', { port });
    const slowest = Math.max(...victims.map(({ ms }) => ms)).toFixed(0);
    const p99 = report.p99Ms.toFixed(1);
    console.log(`${name}, ${family.name}: refused after ${slowest} ms, p99 of others ${p99} ms`);
    expect(report).toMatchObject({ opened: load.flows, errors: {}, wrong: 0 });
    expect(report.p99Ms).toBeLessThan(P99_BOUND_MS);
    await gateway.flowLog(host, BAIT_PORT, 'script-failed');
  });
});

test('a script that keeps breaking its limits is set aside, and the metrics say so', async () => {
  await using other = await World.start({
    scripts: { all: hostile('for (;;);') },
    config: { scripts: { limits: { breakerHits: 3 } } },
  });
  const host = FAMILIES[0]?.server ?? '';
  // While the host comes back, a flow is refused without asking: that breaks no limit.
  await waitFor('the script to be disabled', async () => {
    const victim = await other.client.call('connect', { host, port: BAIT_PORT, timeoutMs: 6000 });
    expect(victim).toMatchObject({ open: false });
    return (await other.gateway.metric('culvert_script_disabled{script="all"}')) === 1;
  });
  // Set aside, it is not asked again: the answer comes at once.
  const refused = await other.client.call('connect', { host, port: BAIT_PORT, timeoutMs: 6000 });
  expect(refused).toMatchObject({ code: 'ECONNREFUSED' });
  expect(refused.ms).toBeLessThan(1000);
});
