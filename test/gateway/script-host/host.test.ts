import { expect, setDefaultTimeout, test } from 'bun:test';
import { flowId } from '../../../src/gateway/flow-filter/flow-id.ts';
import {
  encodeJsonFrame,
  FrameReader,
  FrameTooLargeError,
} from '../../../src/gateway/messages/framing.ts';
import { kvChunks } from '../../../src/gateway/messages/kv-chunks.ts';
import type { FromScriptHost } from '../../../src/gateway/messages/script-control.ts';
import { VerdictCode } from '../../../src/stack/flow-row.ts';
import { command, HostProcess, makeBundle } from './host-process.ts';

/** Processes start, and megabytes cross, on a machine that may have much else to do. */
setDefaultTimeout(30_000);

const scriptOf = (body: string) => `import { decline, forward, reject } from 'culvert';
export default { async flow(flow: any, env: any, ctx: any) {
${body}
} };`;

const WAIT = 'await new Promise((r) => setTimeout(r, 100));';

test('a burst of requests is answered once each', async () => {
  await using host = new HostProcess();
  await host.load(makeBundle({ a: scriptOf(`${WAIT} return reject({ reason: flow.id })`) }));
  const ids = Array.from({ length: 200 }, () => host.ask());
  for (const id of ids) {
    expect(await host.outcome(id)).toMatchObject({
      verdict: VerdictCode.REJECT,
      text: flowId(id + 1000),
    });
  }
});

test('requests of another epoch, or cancelled, are not answered', async () => {
  await using host = new HostProcess(5);
  await host.load(makeBundle({ a: scriptOf(`${WAIT} return forward()`) }));
  const stale = host.ask('192.0.2.1', 80, 4);
  const cancelled = host.ask();
  host.cancel(cancelled);
  expect(await host.decide()).toMatchObject({ verdict: VerdictCode.FORWARD });
  expect([stale, cancelled].map((id) => host.poll(id))).toEqual([false, false]);
});

test('a host leaves the socket to another one until it has loaded a bundle', async () => {
  await using host = new HostProcess();
  await host.message((m) => m.kind === 'ready');
  const early = host.ask();
  expect(await host.load(makeBundle({ a: scriptOf('return (') }))).toHaveLength(1);
  expect(host.poll(early)).toBe(false);
  await host.load(makeBundle({ a: scriptOf('return forward()') }, { generation: 2 }));
  expect(await host.outcome(early)).toMatchObject({ verdict: VerdictCode.FORWARD });
});

test('decisions go on while another bundle loads, and finish on the old one', async () => {
  await using host = new HostProcess();
  await host.load(makeBundle({ a: scriptOf(`${WAIT} return reject({ reason: ctx.version })`) }));
  const load = host.load(
    makeBundle({ a: scriptOf('return reject({ reason: ctx.version })') }, { generation: 2 }),
  );
  const outcome = await host.decide();
  expect([outcome.text, outcome.generation]).toEqual(['1', 1]);
  expect(await load).toEqual([]);
  expect((await host.decide()).text).toBe('2');
});

test('a bundle that does not load is told with its place, and the old one stays', async () => {
  await using host = new HostProcess();
  await host.load(makeBundle({ a: scriptOf('return forward()') }));
  const issues = await host.load(makeBundle({ a: scriptOf('return (') }, { generation: 2 }));
  expect(issues).toMatchObject([{ script: 'a', file: 'a.ts', line: 4, kind: 'syntax' }]);
  expect(await host.decide()).toMatchObject({ verdict: VerdictCode.FORWARD, generation: 1 });
});

test('names go through the supervisor', async () => {
  await using host = new HostProcess();
  await host.load(makeBundle({ a: scriptOf("return forward('www.example.com:1')") }));
  const id = host.ask();
  const lookup = await host.message((m) => m.kind === 'resolve');
  if (lookup.kind !== 'resolve') throw new Error('no lookup');
  expect(lookup.name).toBe('www.example.com');
  host.send({ kind: 'resolved', id: lookup.id, addresses: ['203.0.113.1'] });
  expect(await host.outcome(id)).toMatchObject({ verdict: VerdictCode.FORWARD });
});

test('logs, the KV journal and the counters reach the supervisor', async () => {
  await using host = new HostProcess();
  await host.load(
    makeBundle({
      a: scriptOf("ctx.log.info({ x: 1 }, 'm'); env.KV.set('k', 1); return forward()"),
    }),
  );
  await host.decide();
  expect(await host.message((m) => m.kind === 'log')).toEqual({
    kind: 'log',
    level: 'info',
    script: 'a',
    generation: 1,
    flow: 1001,
    message: 'm',
    fields: { x: 1 },
  });
  expect(await host.message((m) => m.kind === 'kv')).toEqual({
    kind: 'kv',
    entries: [{ script: 'a', key: 'k', value: 1 }],
  });
  const stats = await host.message((m) => m.kind === 'stats' && m.scripts[0]?.decisions === 1);
  expect(stats).toMatchObject({ scripts: [{ script: 'a', generation: 1, errors: 0 }] });
});

test('KV stores larger than a frame come and go in parts', async () => {
  const value = '\u0001'.repeat(65_000);
  const names = ['a', 'b', 'c'];
  const entries = names.flatMap((script) =>
    Array.from({ length: 15 }, (_, i) => ({ script, key: `k${i}`, value })),
  );
  expect(() => encodeJsonFrame(entries)).toThrow(FrameTooLargeError);
  const source = scriptOf(`const keys = env.KV.keys();
    if (keys.length > 0) return reject({ reason: keys.length + ' ' + env.KV.get('k9').length });
    for (let i = 0; i < 15; i++) env.KV.set('k' + i, '\\u0001'.repeat(65_000));
    return flow.dst.port === 1 ? decline() : forward();`);
  const scripts = Object.fromEntries(names.map((name) => [name, source]));

  // A megabyte in one decision is much for a machine that has other things to do.
  const limits = { cpuSoftMs: 10_000, cpuHardMs: 10_000, watchdogMs: 20_000 };
  await using writer = new HostProcess();
  await writer.load(makeBundle(scripts, { limits }));
  expect(await writer.decide('192.0.2.1', 1)).toMatchObject({ verdict: VerdictCode.DECLINE });
  const journal = () => writer.messages.flatMap((m) => (m.kind === 'kv' ? m.entries : []));
  await writer.until(() => journal().length === entries.length);
  expect(journal()).toEqual(entries);

  await using reader = new HostProcess();
  for (const chunk of kvChunks(entries)) reader.send({ kind: 'kv-restore', entries: chunk });
  await reader.load(makeBundle(scripts, { limits }));
  expect(await reader.decide()).toMatchObject({ text: '15 65000' });
});

test('a script that measures more than a frame holds does not end its host', async () => {
  await using host = new HostProcess();
  const source = scriptOf(`for (let n = 0; n < 100; n++) for (let i = 0; i < 30; i++) {
      const labels: any = {};
      for (let l = 0; l < 8; l++) labels['label_of_the_series_' + l] = i + '\\u0001'.repeat(128);
      ctx.metrics.counter('m' + n, labels).inc();
    } return forward();`);
  const time = { cpuSoftMs: 20_000, cpuHardMs: 20_000, watchdogMs: 40_000, wallMs: 60_000 };
  await host.load(makeBundle({ a: source }, { limits: { ...time, metrics: 100 } }));
  await host.decide();
  const told = () => host.messages.flatMap((m) => (m.kind === 'metrics' ? m.series : []));
  await host.until(() => told().length === 3000);
  expect(await host.decide()).toMatchObject({ verdict: VerdictCode.FORWARD });
});

test('a script may take longer to load than the watchdog allows a decision', async () => {
  await using host = new HostProcess();
  const delay = 'const until = Date.now() + 400; while (Date.now() < until) {}';
  const slow = `${delay}\n${scriptOf('return forward()')}`;
  expect(
    await host.load(makeBundle({ a: slow }, { limits: { loadMs: 5000, watchdogMs: 50 } })),
  ).toEqual([]);
  expect(await host.decide()).toMatchObject({ verdict: VerdictCode.FORWARD });
});

async function check(source: string): Promise<FromScriptHost | undefined> {
  const child = Bun.spawn(command('__script-check'), { stdio: ['pipe', 'pipe', 'inherit'] });
  const bundle = makeBundle({ a: source }, { generation: 9, limits: { loadMs: 200 } });
  child.stdin.write(encodeJsonFrame({ kind: 'load', bundle, epoch: 0 }));
  // It stays to be asked about flows, as long as somebody is there to ask.
  void child.stdin.end();
  const messages: FromScriptHost[] = [];
  const frames = new FrameReader();
  frames.push(new Uint8Array(await new Response(child.stdout).arrayBuffer()), (_, body) => {
    messages.push(JSON.parse(new TextDecoder().decode(body)) as FromScriptHost);
  });
  expect(await child.exited).toBe(0);
  return messages.at(-1);
}

test('a check tells that a bundle loads, or why not, and ends with who asked', async () => {
  expect(await check(scriptOf('return forward()'))).toEqual({
    kind: 'loaded',
    generation: 9,
    closers: [],
  });
  expect(await check(`${scriptOf('return forward()')}\nthrow new Error('no')`)).toMatchObject({
    kind: 'load-failed',
    issues: [{ line: 5, kind: 'load', message: 'Error: no' }],
  });
  expect(await check(`${scriptOf('return forward()')}\nfor (;;) {}`)).toMatchObject({
    kind: 'load-failed',
    issues: [{ kind: 'limit' }],
  });
});
