/**
 * `bun test/bench/micro/decisions.ts`: what a decision costs in the script host, from the request
 * to the answer, with the sandbox and without the sockets around it.
 */
import type { ScriptBundle } from '../../../src/scripts-runtime/bundle/bundle.ts';
import { NO_CONNS } from '../../../src/scripts-runtime/conns/no-conns.ts';
import { ScriptHost } from '../../../src/scripts-runtime/host.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../src/scripts-runtime/limits.ts';
import type { ConnectionRequest } from '../../../src/stack/verdict.ts';

const WARM_UP = 20_000;
const DECISIONS = 100_000;
const SET_ENTRIES = 100_000;
const US_PER_MS = 1000;

const SCRIPTS: Readonly<Record<string, string>> = {
  'one verdict for all': 'flow() { return forward(); }',
  'by port, to an address': `flow(f) {
    return f.dst.port === 443 ? forward('10.0.0.1:8443', { proxyProtocol: 2 }) : decline(); }`,
  async: 'async flow() { await null; return forward(); }',
  'a counter in KV': `flow(f, env) {
    return env.KV.incr(f.src.ip, 1, { ttlMs: 60000 }) > 1e9 ? reject() : forward(); }`,
  'a set of 100,000 networks': `flow(f, env) {
    return env.sets.has('blocked', f.src.ip) ? reject() : forward(); }`,
  'a counter in metrics': `flow(f, env, ctx) {
    ctx.metrics.counter('seen', { port: '443' }).inc(); return forward(); }`,
};

const networks = Array.from(
  { length: SET_ENTRIES },
  (_, i) => `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`,
).join('\n');

function makeHost(onAnswer: () => void): ScriptHost {
  const now = () => performance.now() * US_PER_MS;
  const nothing = () => {};
  return new ScriptHost(
    {
      now,
      cpuTime: now,
      epochMs: () => Date.now(),
      enter: nothing,
      leave: nothing,
      answer: onAnswer,
      resolve: nothing,
      conns: NO_CONNS,
      log: ({ message }) => console.error(message),
      kv: nothing,
      stats: nothing,
      metrics: nothing,
      closedTold: nothing,
    },
    [],
  );
}

const bundleOf = (body: string): ScriptBundle => ({
  generation: 1,
  scripts: [
    {
      name: 'a',
      file: 'a.ts',
      source: `import { decline, forward, reject } from 'culvert';\nexport default { ${body} };`,
    },
  ],
  limits: DEFAULT_SCRIPT_LIMITS,
  vars: {},
  sets: { blocked: { type: 'cidr', text: networks } },
  kv: [],
  iface: 'culvert0',
});

const requestOf = (i: number): ConnectionRequest => ({
  flow: i,
  protocol: 'tcp',
  source: { ip: `10.0.${(i >> 8) & 3}.${i & 255}`, port: 40_000, family: 4 },
  destination: { ip: '203.0.113.7', port: 443, family: 4 },
  syn: { mss: 1460, windowScale: 7, ttl: 64, ecn: false },
});

async function measure(what: string, body: string): Promise<void> {
  let answered = 0;
  const host = makeHost(() => {
    answered++;
  });
  const issues = await host.load(bundleOf(body));
  if (issues.length > 0) throw new Error(JSON.stringify(issues));
  const took = new Float64Array(DECISIONS);
  let since = 0;
  for (let i = -WARM_UP; i < DECISIONS; i++) {
    const start = performance.now();
    if (i === 0) since = start;
    host.request(i + WARM_UP + 1, requestOf(i + WARM_UP));
    if (i >= 0) took[i] = (performance.now() - start) * US_PER_MS;
    // As the loop does it between flows.
    const now = performance.now() * US_PER_MS;
    if (host.nextDeadline() <= now) host.expire(now);
  }
  const perSecond = DECISIONS / ((performance.now() - since) / 1000);
  if (answered !== DECISIONS + WARM_UP) throw new Error(`${answered} answers`);
  took.sort();
  const at = (share: number) => took[Math.floor(DECISIONS * share)]!.toFixed(1).padStart(7);
  const rate = Math.round(perSecond).toLocaleString('en').padStart(8);
  console.log(`${what.padEnd(28)} ${rate} /s, p50 ${at(0.5)} µs, p99 ${at(0.99)} µs`);
}

for (const [what, body] of Object.entries(SCRIPTS)) await measure(what, body);
