/** Flows that were seen before are decided again, and no time passes. */
import { expect, test } from 'bun:test';
import { BundleLoadError } from '../../../src/scripts-runtime/offline/replay.ts';
import { scriptOf, syncScriptOf } from '../script-world.ts';
import { bundleOf, flowTo, replayFlows } from './offline-bundle.ts';

test('each flow gets the verdict of the first script that claims it, and its steps', async () => {
  const bundle = bundleOf({
    first: syncScriptOf(`return flow.dst.port === 22 ? reject({ reason: 'no ssh' }) : decline();`),
    second: syncScriptOf(`return forward('[fd00::1]:443', { idleTimeoutMs: 1000 });`),
    third: syncScriptOf('return decline();'),
  });
  const [ssh, web] = await replayFlows(bundle, [flowTo('1.2.3.4', 22), flowTo('1.2.3.4', 80)]);
  expect(ssh).toMatchObject({ script: 'first', text: 'reject reason=no ssh' });
  expect(ssh?.steps.map(({ script, outcome }) => `${script}: ${outcome}`)).toEqual([
    'first: reject reason=no ssh',
  ]);
  expect(web).toMatchObject({
    script: 'second',
    verdict: { kind: 'forward', to: '[fd00::1]:443', idleTimeoutMs: 1000 },
  });
  expect(web?.steps.map(({ script, outcome }) => `${script}: ${outcome}`)).toEqual([
    'first: declined',
    'second: forward [fd00::1]:443 idleTimeoutMs=1000',
  ]);
  expect(web?.steps.every(({ cpuUs }) => cpuUs > 0)).toBe(true);
});

test('when all decline, all are steps and no script decided', async () => {
  const bundle = bundleOf({ a: syncScriptOf('return decline();') });
  const [verdict] = await replayFlows(bundle, [flowTo('1.2.3.4', 22)]);
  expect(verdict).toMatchObject({ text: 'decline', steps: [{ script: 'a', outcome: 'declined' }] });
  expect(verdict).not.toHaveProperty('script');
});

test('a name stays a name, for IPv4 and IPv6, TCP and NAT', async () => {
  const bundle = bundleOf({
    a: syncScriptOf(
      `return flow.dst.port === 1 ? nat('db.example:5432') : forward('a.example:1');`,
    ),
  });
  const texts = (
    await replayFlows(bundle, [flowTo('1.2.3.4', 1), flowTo('::2', 1), flowTo('1.2.3.4', 2)])
  ).map(({ text }) => text);
  expect(texts).toEqual(['nat db.example:5432', 'nat db.example:5432', 'forward a.example:1']);
});

test('a minute of waiting takes no time, and is limited as in a gateway', async () => {
  const wait = 'await new Promise((resolve) => setTimeout(resolve, 60_000)); return forward();';
  const startedAt = performance.now();
  const flows = [flowTo('1.2.3.4', 80)];
  const patient = bundleOf({ a: scriptOf(wait) }, { wallMs: 61_000 });
  expect((await replayFlows(patient, flows))[0]?.text).toBe('forward');
  const [failed] = await replayFlows(bundleOf({ a: scriptOf(wait) }), flows);
  expect(failed).toMatchObject({ text: 'failed wall', verdict: { failure: 'wall' } });
  expect(performance.now() - startedAt).toBeLessThan(20_000);
});

test('processor time is limited as in a gateway, and the next flow is asked again', async () => {
  const bundle = bundleOf({
    a: syncScriptOf('if (flow.dst.port === 1) for (;;); return reject();'),
  });
  const texts = (await replayFlows(bundle, [flowTo('1.2.3.4', 1), flowTo('1.2.3.4', 2)])).map(
    ({ text }) => text,
  );
  expect(texts).toEqual(['failed cpu', 'reject']);
});

test('the clock follows the times of the flows, and the KV with it', async () => {
  const bundle = bundleOf({
    a: syncScriptOf(
      `const hits = env.KV.incr(flow.src.ip, 1, { ttlMs: 1000 });
       return hits > 1 ? reject() : decline();`,
    ),
  });
  const flows = [0, 500, 1100, 1200].map((atMs) => flowTo('1.2.3.4', 80, { atMs: 5_000 + atMs }));
  const texts = (await replayFlows(bundle, flows)).map(({ text }) => text);
  expect(texts).toEqual(['decline', 'reject', 'decline', 'reject']);
});

test('a bundle that does not load is refused with its place', async () => {
  const refused = await replayFlows(bundleOf({ a: 'export default {' }), []).catch(
    (error) => error,
  );
  expect(refused).toBeInstanceOf(BundleLoadError);
  expect(refused.issues[0]).toMatchObject({ file: 'a.ts', kind: 'syntax', line: 1 });
});
