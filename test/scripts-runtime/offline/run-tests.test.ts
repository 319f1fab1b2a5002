/** Test files of scripts: what they can do, and how they fail. */
import { expect, test } from 'bun:test';
import type { ScriptLimits } from '../../../src/scripts-runtime/limits.ts';
import type { TestReport } from '../../../src/scripts-runtime/offline/report.ts';
import {
  runScriptTests,
  type TestOptions,
} from '../../../src/scripts-runtime/offline/run-tests.ts';
import { syncScriptOf } from '../script-world.ts';
import { bundleOf } from './offline-bundle.ts';

const NAMES = 'test, it, describe, expect, flow, run, clock, beforeEach, afterEach';
const HEAD = `import { ${NAMES} } from 'culvert:test'; import script from './route';\n`;

/** Runs a test file, whose own lines begin with 2, beside a script. */
function runFile(
  body: string,
  script = syncScriptOf('return decline();'),
  options: TestOptions & { readonly limits?: Partial<ScriptLimits> } = {},
): Promise<TestReport> {
  const bundle = bundleOf({ route: script }, options.limits);
  const [source] = bundle.scripts;
  if (source === undefined) throw new Error('a bundle has a script');
  const tested = { ...source, tests: { 'route.test.ts': HEAD + body } };
  return runScriptTests({ ...bundle, scripts: [tested] }, options);
}

/** `name: outcome`, and what failed with its place. */
const linesOf = ({ files }: TestReport): string[] =>
  files.flatMap(({ tests, failure }) => [
    ...(failure === undefined ? [] : [`file: ${failure.message}`]),
    ...tests.map(({ path, outcome, failure }) =>
      [`${path.join(' > ')}: ${outcome}`, failure?.message].filter(Boolean).join(', '),
    ),
  ]);

async function expectPass(body: string, script?: string): Promise<void> {
  const report = await runFile(`test('it', async () => {\n${body}\n});`, script);
  expect(linesOf(report)).toEqual(['it: passed']);
}

/** The first line of the failure. */
async function failureOf(body: string, script?: string): Promise<string> {
  const report = await runFile(`test('it', async () => {\n${body}\n});`, script);
  expect(report.ok).toBe(false);
  return report.files[0]?.tests[0]?.failure?.message ?? linesOf(report).join();
}

const FLOW = `flow({ src: '10.0.0.5:40000', dst: '203.0.113.7:443' })`;

test('a script is asked about a flow, in its own sandbox and with what env is given', () =>
  expectPass(
    `const env = { vars: { to: '10.9.0.1:8443' }, kv: { seen: 4 } };
     const r = await run(script, ${FLOW}, { env });
     expect(r.verdict).toEqual({ kind: 'forward', to: '10.9.0.1:8443', handshake: 'dial-first' });
     expect(r.text).toBe('forward 10.9.0.1:8443');
     expect(r.dialed).toEqual(['10.9.0.1:8443']);
     expect(r.kv).toEqual({ seen: 5 });
     expect(r.logs).toEqual([{ level: 'info', message: 'hello', fields: { port: 443 } }]);
     expect(r.cpuMs).toBeGreaterThan(0);
     expect(r.cpuMs).toBeLessThan(1000);`,
    syncScriptOf(
      `ctx.log.info({ port: flow.dst.port }, 'hello'); env.KV.incr('seen');
       return forward(env.vars.to);`,
    ),
  ));

test('a flow has the name that it is given, and else none', () =>
  expectPass(
    `const of = async (more) =>
       (await run(script, flow({ src: '[fd00::5]:1', dst: '[fd00::1]:80', ...more }))).text;
     expect(await of({ dnsName: 'a.example' })).toContain('a.example');
     expect(await of({ proto: 'udp', dnsName: 'b.example' })).toContain('b.example');
     expect(await of({})).toContain('none');
     await expect(of({ dnsName: 7 })).rejects.toThrow('dnsName is text, not 7');`,
    syncScriptOf("return reject({ reason: 'dnsName' in flow ? flow.dnsName : 'none' });"),
  ));

test('the original destination is what is dialled when a script names no other', () =>
  expectPass(
    `expect((await run(script, ${FLOW})).dialed).toEqual(['203.0.113.7:443']);`,
    syncScriptOf('return forward();'),
  ));

test('an upstream by name stands in the verdict and in what is dialled', () =>
  expectPass(
    `const r = await run(script, ${FLOW});
     expect(r.verdict.via).toBe('out');
     expect(r.text).toBe('forward 10.0.0.1:80 via=out');
     expect(r.dialed).toEqual(['10.0.0.1:80 via out']);
     expect((await run(script, ${FLOW.replace(':443', ':1')})).dialed).toEqual(['via web']);
     expect((await run(script, ${FLOW.replace(':443', ':2')})).dialed).toEqual(['10.0.0.1:80']);`,
    syncScriptOf(
      `if (flow.dst.port === 1) return forward(undefined, { via: 'web' });
       return forward('10.0.0.1:80', { via: flow.dst.port === 2 ? 'direct' : 'out' });`,
    ),
  ));

test('a script sees the flow that the test made, of TCP, UDP and ping', () =>
  expectPass(
    `const told = async (about) => (await run(script, flow(about))).logs[0].fields;
     expect(await told({ src: '[fd00::1]:1', dst: '[fd00::2]:2', syn: { mss: 1220 } })).toEqual({
       proto: 'tcp', src: '[fd00::1]:1', dst: '[fd00::2]:2',
       syn: { mss: 1220, wscale: 7, ttl: 64, ecn: false },
     });
     expect(await told({ proto: 'udp', src: '1.1.1.1:1', dst: '1.1.1.2:53' })).toEqual({
       proto: 'udp', src: '1.1.1.1:1', dst: '1.1.1.2:53',
     });
     expect(await told({ proto: 'icmp', src: '1.1.1.1:9', dst: '1.1.1.2' })).toMatchObject({
       proto: 'icmp', src: '1.1.1.1:9', dst: '1.1.1.2:0',
     });
     expect(await told({ proto: 'icmp', src: '1.1.1.1', dst: '1.1.1.2' })).toMatchObject({
       src: '1.1.1.1:0', dst: '1.1.1.2:0',
     });`,
    syncScriptOf(
      `const { proto, src, dst, syn } = flow;
       ctx.log.info({ proto, src: String(src), dst: String(dst), syn }); return decline();`,
    ),
  ));

test('a script keeps its state within a test, and clock.advance moves its time', () =>
  expectPass(
    `const ask = () => run(script, ${FLOW}).then((r) => r.text);
     const start = clock.now();
     expect([await ask(), await ask()]).toEqual(['decline', 'reject']);
     await clock.advance(60_000);
     expect(clock.now() - start).toBeCloseTo(60_000, -2);
     expect(await ask()).toBe('decline');`,
    syncScriptOf(`return env.KV.incr('n', 1, { ttlMs: 60_000 }) > 1 ? reject() : decline();`),
  ));

test('each test has a gateway of its own', async () => {
  const script = syncScriptOf(`return env.KV.incr('n') > 1 ? reject() : decline();`);
  const ask = `async () => expect((await run(script, ${FLOW})).text).toBe('decline')`;
  const report = await runFile(`test('a', ${ask});\ntest('b', ${ask});`, script);
  expect(linesOf(report)).toEqual(['a: passed', 'b: passed']);
});

test('waiting takes no time, in the script and in the test', async () => {
  const startedAt = performance.now();
  await expectPass(
    `const r = await run(script, ${FLOW}, { limits: { wallMs: 61_000 } });
     expect(r.tookMs).toBeGreaterThan(59_999);
     await new Promise((resolve) => setTimeout(resolve, 3_600_000));`,
    `import { reject } from 'culvert';
     export default { async flow() {
       await new Promise((resolve) => setTimeout(resolve, 60_000)); return reject();
     } };`,
  );
  expect(performance.now() - startedAt).toBeLessThan(20_000);
});

test('the limits of a gateway hold, and a test can see them hit', () =>
  expectPass(
    `expect((await run(script, ${FLOW})).verdict).toEqual({ kind: 'failed', failure: 'cpu' });`,
    syncScriptOf('for (;;);'),
  ));

test('names resolve to what dns says, and else stay names', () =>
  expectPass(
    `const dialed = async (dns) => (await run(script, ${FLOW}, { dns })).dialed;
     expect(await dialed({ 'a.example': '10.0.0.9' })).toEqual(['10.0.0.9:80']);
     expect(await dialed({})).toEqual(['a.example:80']);
     expect((await run(script, ${FLOW}, { dns: { 'a.example': [] } })).text).toBe('failed error');`,
    syncScriptOf(`return forward('a.example:80');`),
  ));

test('groups, hooks, tables, skip and only', async () => {
  const report = await runFile(`
    const order = [];
    beforeEach(() => { order.push('outer'); });
    describe('group', () => {
      beforeEach(async () => { order.push('inner'); });
      afterEach(() => { order.push('after'); });
      it('runs hooks from the outside in', () => expect(order).toEqual(['outer', 'inner']));
      it.skip('is skipped', () => expect.unreachable());
      test.each([[1, 2], [2, 4]])('twice %d is %d', (one, two) => expect(one * 2).toBe(two));
    });
    test('hooks of a group are its own', () => expect(order.at(-1)).toBe('outer'));`);
  expect(linesOf(report)).toEqual([
    'group > runs hooks from the outside in: passed',
    'group > is skipped: skipped',
    'group > twice 1 is 2: passed',
    'group > twice 2 is 4: passed',
    'hooks of a group are its own: passed',
  ]);
  const only = await runFile(`test.only('a', () => {}); test('b', () => {});`);
  expect(linesOf(only)).toEqual(['a: passed', 'b: skipped']);
  const filtered = await runFile(`test('a', () => {}); test('b', () => {});`, undefined, {
    filter: 'b',
  });
  expect(linesOf(filtered)).toEqual(['a: skipped', 'b: passed']);
});

test('a failure names the line of the TypeScript source', async () => {
  const report = await runFile(`interface Gone { never: string }
type Alias = Gone;
test('it', async () => {
  const r = await run(script, ${FLOW});
  expect(r.text).toBe('reject');
});`);
  const failure = report.files[0]?.tests[0]?.failure;
  expect(failure?.position).toEqual({ file: 'route.test.ts', line: 6, column: expect.any(Number) });
  expect(failure?.message).toContain('expect(actual).toBe("reject")\nactual: "decline"');
});

test('what cannot be run is said, at the line that asked for it', async () => {
  expect(await failureOf(`await run(script, flow({ src: 'x', dst: '1.1.1.1:1' }));`)).toBe(
    'route.test.ts:3:10: Error: src is like "10.0.0.1:80" or "[fd00::1]:80", not "x"',
  );
  for (const [fields, why] of [
    [`src: '10.0.0.5', dst: '1.1.1.1:1'`, 'src "10.0.0.5" has no port, as in "10.0.0.5:40000"'],
    [`src: '[fd00::1]:9', dst: '[fd00::2]'`, 'dst "[fd00::2]" has no port, as in "[fd00::2]:443"'],
    [`proto: 'udp', src: '1.1.1.1:1', dst: '1.1.1.2'`, 'dst "1.1.1.2" has no port'],
    [`proto: 'icmp', src: '1.1.1.1', dst: '1.1.1.2:7'`, 'dst of a ping has no port'],
    [`proto: 'udp', src: '1.1.1.1:1', dst: '1.1.1.2:53', syn: { mss: 1 }`, 'udp has no syn'],
    [`src: '1.1.1.1:1', dst: '1.1.1.2:2', syn: { windowScale: 1 }`, 'syn has the numbers mss'],
    [`src: '1.1.1.1:1', dst: '1.1.1.2:2', syn: { mss: '1' }`, 'syn has the numbers mss'],
  ]) {
    const failure = await failureOf(`await run(script, flow({ ${fields} }));`);
    expect(failure).toStartWith(`route.test.ts:3:10: Error: ${why}`);
  }
  expect(await failureOf(`await run(script, ${FLOW}, { nope: 1 });`)).toContain(
    'run has no option "nope"',
  );
  expect(await failureOf(`await run({}, ${FLOW});`)).toContain('the script comes first');
  expect(await failureOf(`await run(script, ${FLOW});`, 'export default {')).toContain(
    'route.ts:1',
  );
  expect(await failureOf('await clock.advance(-1);')).toContain('-1 is no time');
});

test('a test that nothing ends, that never rests, or that breaks its sandbox, fails', async () => {
  expect(await failureOf('await new Promise(() => {});')).toBe(
    'it waits for a promise that nothing settles',
  );
  const slow = await runFile(
    `test('it', async () => { for (;;) await clock.advance(1); });`,
    undefined,
    { testMs: 200 },
  );
  expect(linesOf(slow)).toEqual(['it: failed, took longer than 200 ms']);
  const broken = await runFile(`test('a', () => { for (;;); });\ntest('b', () => {});`);
  expect(linesOf(broken)).toEqual([
    'a: failed, the test file broke its sandbox: cpu (between two awaits it has 2 s and 128 MiB)',
    'b: failed, a test before this one broke the sandbox of the file',
  ]);
}, 30_000);

test('a file that does not load is a failure with its place', async () => {
  const report = await runFile('test(');
  expect(report).toMatchObject({ ok: false, failed: 1 });
  expect(report.files[0]?.failure?.position).toMatchObject({ file: 'route.test.ts', line: 2 });
  const thrown = await runFile(`throw new Error('at the top');`);
  expect(linesOf(thrown)).toEqual(['file: Error: at the top']);
});

test('a test file reaches nothing outside: no file, no process, no way to the host', async () => {
  for (const name of ['node:fs', 'bun', './other', 'culvert/host.js', 'culvert:script/nope']) {
    const report = await runFile(`import x from '${name}'; test('it', () => x);`);
    expect(linesOf(report)).toEqual([expect.stringContaining(`cannot import "${name}"`)]);
  }
  await expectPass(
    `expect(typeof process).toBe('undefined'); expect(typeof Bun).toBe('undefined');
     expect(typeof culvertHost).toBe('undefined'); expect(typeof eval).toBe('undefined');`,
  );
});

test('console of a test file is in the report', async () => {
  const report = await runFile(`test('it', () => console.log('seen', 1));`);
  expect(report.files[0]?.output).toEqual(['seen 1']);
});

test('Date of a script follows its clock, however it is asked', async () => {
  const times = syncScriptOf(`
    const asked = [Date.now(), new Date().getTime(), Date.parse(Date())];
    const { name, length, prototype } = Date;
    const same = [prototype.constructor === Date, new Date() instanceof Date, name, length];
    class Mine extends Date {}
    const others = [new Mine().getTime(), new Date(5).getTime(), Date.UTC(1970, 0, 1, 0, 0, 1)];
    return reject({ reason: JSON.stringify([asked, same, others]) });`);
  await expectPass(
    `const f = flow({ src: '10.0.0.5:1', dst: '192.0.2.1:1' });
    const read = async () => JSON.parse((await run(script, f)).verdict.reason);
    const near = (ms, at) => expect(Math.abs(ms - at) < 1500).toBe(true);
    const before = clock.now();
    const [[now, made, said], same, [mine, given, utc]] = await read();
    for (const ms of [now, made, said, mine]) near(ms, before);
    expect(same).toEqual([true, true, 'Date', 7]);
    expect([given, utc]).toEqual([5, 1000]);
    await clock.advance(3_600_000);
    const [[later]] = await read();
    near(later, before + 3_600_000);`,
    times,
  );
});

test('what scripts wrote in a test that failed is in the report', async () => {
  const report = await runFile(
    `const ask = (port) => run(script, flow({ src: '10.0.0.5:1', dst: \`192.0.2.1:\${port}\` }));
     test('good', () => ask(1));
     test('bad', async () => { await ask(2); await ask(3); expect.unreachable(); });`,
    syncScriptOf(`ctx.log.warn({ port: flow.dst.port }, 'asked'); return decline();`),
  );
  expect(report.files[0]?.tests).toEqual([
    expect.not.objectContaining({ logs: expect.anything() }),
    expect.objectContaining({
      outcome: 'failed',
      logs: [2, 3].map((port) => ({
        ...{ level: 'warn', script: 'route', message: 'asked', fields: { port } },
      })),
    }),
  ]);
});

test('of many lines the last ones are told', async () => {
  const report = await runFile(
    `test('bad', async () => {
       for (let port = 1; port <= 103; port++) {
         await run(script, flow({ src: '10.0.0.5:1', dst: \`192.0.2.1:\${port}\` }));
         await clock.advance(1000);
       }
       expect.unreachable();
     });`,
    syncScriptOf(`ctx.log.info(String(flow.dst.port)); return decline();`),
  );
  const { logs, logsLeft } = report.files[0]?.tests[0] ?? {};
  expect({ count: logs?.length, logsLeft }).toEqual({ count: 100, logsLeft: 3 });
  expect(logs?.at(-1)?.message).toBe('103');
});
