/** Hooks that an author's test calls, and what they dial. */
import { expect, test } from 'bun:test';
import { runScriptTests } from '../../../src/scripts-runtime/offline/run-tests.ts';
import { bundleOf, flowTo, replayFlows } from './offline-bundle.ts';

const SCRIPT = `import { connect, forward, SocketError } from 'culvert';
const text = (bytes: any) => bytes && String.fromCharCode(...bytes);
const ask = async (to: any, question: string) => {
  const socket = connect(to);
  await socket.write(question);
  const answer = text(await socket.read());
  await socket.close();
  return answer;
};
export default {
  async load(old: any, env: any, ctx: any) {
    if (env.vars.warm !== 'yes') return;
    try { env.KV.set('warm', await ask('10.0.0.1:80', 'warm ' + (old?.state ?? 'new'))); }
    catch (e: any) { env.KV.set('warm', e.code); }
  },
  unload: () => 'state',
  async flow(flow: any) {
    if (flow.dst.port === 99) return forward(await ask('asked.example:53', flow.src.ip));
    return forward();
  },
  async scheduled({ name, at }: any, env: any, ctx: any) {
    if (name === 'bad') await connect('10.0.0.2:80').opened;
    env.KV.set('health', await ask('10.0.0.2:80', name + (at > 0)));
  },
  async closed(flow: any, result: any) {
    const socket = connect('10.0.0.3:514');
    await socket.write(flow.src.ip + ' ' + result.bytesUp + ' ' + result.reason);
    await socket.close();
  },
} as any;
`;

/** Runs the body of one test. @returns what it failed with */
async function failureOf(body: string): Promise<string | undefined> {
  const [source] = bundleOf({ route: SCRIPT }).scripts;
  if (source === undefined) throw new Error('a bundle has a script');
  const code = `import { closed, expect, flow, load, run, scheduled, test } from 'culvert:test';
import script from './route';
const about = (port) => flow({ src: '10.0.0.5:40000', dst: '203.0.113.7:' + port });
const text = (bytes) => String.fromCharCode(...bytes);
test('it', async () => {
${body}
});`;
  const bundle = { ...bundleOf({}), scripts: [{ ...source, tests: { 'route.test.ts': code } }] };
  const [file] = (await runScriptTests(bundle)).files;
  return file?.failure?.message ?? file?.tests[0]?.failure?.message;
}

const pass = async (body: string) => expect(await failureOf(body)).toBeUndefined();

test('scheduled(): a probe talks to the upstreams of the test', () =>
  pass(`const r = await scheduled(script, 'probe', {
      upstreams: { '10.0.0.2:80': { answers: 'fine', connectMs: 20 } },
    });
    expect(r.dialed).toEqual(['10.0.0.2:80']);
    expect(text(r.upstreamGot['10.0.0.2:80'])).toBe('probetrue');
    expect(r.kv.health).toBe('fine');
    expect(r.tookMs).toBeGreaterThanOrEqual(20);
    expect(r.logs).toEqual([]);
    expect((await run(script, about(80))).kv.health).toBe('fine');`));

test('scheduled(): what is not answered ends with the time of the call', () =>
  pass(`const r = await scheduled(script, 'probe', { limits: { waitMs: 700 } });
    expect(r.tookMs).toBeGreaterThanOrEqual(700);
    expect(r.tookMs).toBeLessThan(5000);
    expect(r.logs).toMatchObject([{ message: expect.stringContaining('took too long') }]);`));

test('scheduled(): a dial that fails is a line with its code and peer', () =>
  pass(`const r = await scheduled(script, 'bad', {
      upstreams: { '10.0.0.2:80': { refuses: 'refused' } },
    });
    expect(r.logs).toMatchObject([
      { level: 'warn', fields: { code: 'refused', peer: '10.0.0.2:80' } },
    ]);
    const denied = await scheduled(script, 'bad', { allow: ['10.0.0.9:*'] });
    expect(denied.logs).toMatchObject([{ fields: { code: 'denied' } }]);
    expect(denied.dialed).toEqual([]);`));

test('closed(): what a script tells about a flow', () =>
  pass(`const r = await closed(script, about(80), { bytesUp: 12 });
    expect(text(r.upstreamGot['10.0.0.3:514'])).toBe('10.0.0.5 12 eof');`));

test('load(): once more, with what the one before handed over', () =>
  pass(`const upstreams = { '10.0.0.1:80': { answers: 'hot' } };
    const env = { vars: { warm: 'yes' } };
    const first = await load(script, { env, upstreams });
    expect(text(first.upstreamGot['10.0.0.1:80'])).toBe('warm new');
    expect(first.kv.warm).toBe('hot');
    const second = await load(script, {
      env,
      upstreams: { '10.0.0.1:80': { refuses: 'timeout' } },
    });
    expect(second.kv.warm).toBe('timeout');
    const third = await load(script, { env, upstreams });
    expect(text(third.upstreamGot['10.0.0.1:80'])).toBe('warm state');`));

test('run(): a decision that asks somebody', () =>
  pass(`const upstreams = {
      '10.0.0.1:80': { answers: 'x' },
      'asked.example:53': { answers: '10.0.0.7:8080' },
    };
    const r = await run(script, about(99), { upstreams });
    expect(r.dialed).toEqual(['asked.example:53', '10.0.0.7:8080']);
    expect(text(r.upstreamGot['asked.example:53'])).toBe('10.0.0.5');`));

test('a hook that the script lacks, and arguments that are none, are told', async () => {
  expect(await failureOf(`await scheduled(script, 5);`)).toContain('the name of the event is text');
  expect(await failureOf(`await scheduled(script, 'x', { clientSends: 'x' });`)).toContain(
    'scheduled has no option "clientSends"',
  );
  expect(await failureOf(`await closed(script, about(80), { bytesUp: 'x' });`)).toContain(
    'a result has bytesUp, bytesDown, durationMs and reason',
  );
  expect(await failureOf(`await scheduled({}, 'x');`)).toContain('the script comes first');
});

test('in a replay there is nobody to dial', async () => {
  const [first] = await replayFlows(bundleOf({ route: SCRIPT }), [flowTo('203.0.113.7', 99)]);
  expect(first?.text).toBe('failed error');
});
