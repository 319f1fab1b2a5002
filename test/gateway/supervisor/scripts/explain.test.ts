/** Scripts are asked in a real process aside. */
import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { AsideOptions } from '../../../../src/gateway/supervisor/scripts/aside.ts';
import { BundleRejectedError } from '../../../../src/gateway/supervisor/scripts/change-errors.ts';
import {
  type ExplainParts,
  type Explanation,
  explain,
  explainNotes,
} from '../../../../src/gateway/supervisor/scripts/explain.ts';
import { toRecordedFlow } from '../../../../src/gateway/supervisor/scripts/recorded-flow.ts';
import { unnumbered } from '../../../../src/gateway/supervisor/scripts/script-check.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';

/** A busy machine takes its time to start a process. */
setDefaultTimeout(30_000);

const flow = toRecordedFlow({
  ...{ proto: 'tcp', src: '10.0.0.5', src_port: 40_000 },
  ...{ dst: '203.0.113.7', dst_port: 443 },
});

const live: ExplainParts['live'] = {
  listeners: [
    { name: 'web', protocol: 'tcp', destinations: [], ports: [[80, 80]], action: { kind: 'drop' } },
  ],
  localAddresses: [],
};

const script = (name: string, body: string) => ({
  name,
  file: `${name}.ts`,
  source: `import { decline, forward, reject } from 'culvert';
export default { flow(f, env, ctx) { ${body} } };`,
});

function explained(
  scripts: readonly ReturnType<typeof script>[],
  aside: Partial<AsideOptions> = {},
): Promise<Explanation> {
  const generation = unnumbered({ scripts, vars: {}, limits: DEFAULT_SCRIPT_LIMITS });
  return explain(flow, { live, generation, aside: { iface: 'x0', ...aside } });
}

/** How long a turn takes depends on the machine. */
const withoutSlow = (found: Explanation): Explanation => ({
  ...found,
  steps: found.steps.map((step) =>
    step.kind === 'listener'
      ? step
      : { ...step, logs: step.logs.filter(({ fields }) => fields?.['limit'] !== 'cpuSoftMs') },
  ),
});

describe('explain', () => {
  test('tells what a prefix rule translates, and why it does not translate the rest', async () => {
    const generation = unnumbered({ scripts: [], vars: {}, limits: DEFAULT_SCRIPT_LIMITS });
    const action = { kind: 'prefix', inside: 'fd01::/48', outside: '2001:db8::/48' } as const;
    const rule = { name: 'site', protocol: 'any', destinations: [], ports: [], action } as const;
    const parts = { live: { ...live, listeners: [rule] }, generation, aside: { iface: 'x0' } };
    const ofClient = (src: string, dst: string) =>
      explain(
        toRecordedFlow({ ...{ proto: 'udp', src, src_port: 40_000 }, ...{ dst, dst_port: 443 } }),
        parts,
      );
    for (const found of [
      await ofClient('fd01::5', '2001:db8:9::1'),
      await ofClient('2001:db8:9::1', '2001:db8::5'),
    ]) {
      expect(found).toMatchObject({
        ...{ decided_by: 'listener', name: 'site' },
        verdict: 'prefix fd01::/48 to 2001:db8::/48',
      });
    }
    expect((await ofClient('fd02::5', '2001:db8:9::1')).steps).toEqual([
      {
        ...{ kind: 'listener', index: 0, name: 'site', matches: false },
        why: 'prefix: takes what comes from fd01::/48 or goes to 2001:db8::/48',
      },
    ]);
  });

  test('tells by which upstream a flow goes: a named one, or that of egress.via', async () => {
    const generation = unnumbered({ scripts: [], vars: {}, limits: DEFAULT_SCRIPT_LIMITS });
    const ofListener = (via: { via?: string }) =>
      explain(flow, {
        live: {
          listeners: [
            {
              ...{ name: 'web', protocol: 'tcp', destinations: [], ports: [] },
              action: { kind: 'forward', ...via },
            },
          ],
          localAddresses: [],
          egress: { fwmark: 0, interface: '', via: 'proxy' },
        },
        generation,
        aside: { iface: 'x0' },
      });
    expect(await ofListener({ via: 'web' })).toMatchObject({
      verdict: 'forward via=web',
      notes: [],
    });
    expect(await ofListener({})).toMatchObject({
      verdict: 'forward',
      notes: ['it goes by upstream "proxy", as egress.via says'],
    });
  });

  test('asks scripts with the name that it is given', async () => {
    const named = toRecordedFlow({
      ...{ proto: 'tcp', src: '10.0.0.5', src_port: 40_000 },
      ...{ dst: '203.0.113.7', dst_port: 443, dns_name: 'a.example' },
    });
    const scripts = [script('a', 'return f.dnsName === "a.example" ? forward() : decline();')];
    const generation = unnumbered({ scripts, vars: {}, limits: DEFAULT_SCRIPT_LIMITS });
    const parts = { live, generation, aside: { iface: 'x0' } };
    expect(await explain(named, parts)).toMatchObject({ decided_by: 'script' });
    expect(await explain(flow, parts)).toMatchObject({ decided_by: 'nobody' });
  });

  test('knows the upstreams that there are', async () => {
    const scripts = [script('a', `return forward(undefined, { via: 'web' });`)];
    expect(await explained(scripts, { upstreams: { web: 'pool' } })).toMatchObject({
      verdict: 'forward via=web',
    });
    expect(await explained(scripts, { upstreams: {} })).toMatchObject({
      verdict: 'failed bad-verdict',
    });
  });

  test('asks the scripts in order: outcome, cost and log lines of each', async () => {
    const found = await explained([
      script('first', `console.warn('seen', { port: f.dst.port }); return decline();`),
      script('second', `return forward('10.9.9.9');`),
      script('third', `return reject();`),
    ]);
    expect(withoutSlow(found)).toEqual({
      flow: 'tcp 10.0.0.5:40000 > 203.0.113.7:443',
      decided_by: 'script',
      name: 'second',
      index: 1,
      verdict: 'forward 10.9.9.9:443',
      steps: [
        { kind: 'listener', index: 0, name: 'web', matches: false, why: 'port: takes 80' },
        {
          ...{ kind: 'script', index: 0, name: 'first', outcome: 'declined' },
          cpu_us: expect.any(Number),
          logs: [{ level: 'warn', message: 'seen {"port":443}' }],
        },
        {
          ...{ kind: 'script', index: 1, name: 'second', outcome: 'forward 10.9.9.9:443' },
          ...{ cpu_us: expect.any(Number), logs: [] },
        },
      ],
      notes: [],
    });
    expect(found.steps.some((step) => step.kind === 'script' && step.cpu_us > 0)).toBe(true);
  });

  test('shows scripts a copy of the KV, and leaves the KV as it was', async () => {
    const body = `return reject({ reason: String(env.KV.incr('n', 1)) });`;
    const count = [script('count', body)];
    const kv = [{ script: 'count', key: 'n', value: 41 }];
    for (let i = 0; i < 2; i++) {
      expect((await explained(count, { kv })).verdict).toBe('reject reason=42');
    }
  });

  test('says that nobody decides when all decline', async () => {
    const found = await explained([script('shy', 'return decline();')]);
    expect(found).toMatchObject({ decided_by: 'nobody', verdict: 'reject' });
    expect(found.notes.join()).toContain('unclaimed');
  });

  test('shows a decision that fails with what the script said', async () => {
    const found = await explained([script('bad', `throw new Error('oh dear');`)]);
    expect(found).toMatchObject({ decided_by: 'script', name: 'bad', verdict: 'failed error' });
    expect(JSON.stringify(found.steps)).toContain('oh dear');
  });

  test('a script that fails has declined, where the configuration says so', async () => {
    const scripts = [script('bad', `throw new Error('oh');`), script('good', 'return forward();')];
    const found = await explained(scripts, { onError: 'decline' });
    expect(found).toMatchObject({ decided_by: 'script', name: 'good', verdict: 'forward' });
    expect(found.steps.slice(1)).toMatchObject([{ outcome: 'failed error' }, { name: 'good' }]);
    const [bad, shy] = [scripts.slice(0, 1), script('shy', 'return decline();')];
    const nobody = await explained([...bad, shy], { onError: 'decline' });
    expect(nobody).toMatchObject({ name: 'bad', verdict: 'failed error onError=decline' });
    expect(nobody.steps.slice(1)).toMatchObject([{ outcome: 'failed error' }, { name: 'shy' }]);
    expect(nobody.notes.join()).toContain('unclaimed');
  });

  test('a decision that fails lets the flow through, where it says so', async () => {
    const found = await explained([script('bad', 'return 7;')], { onError: 'forward' });
    expect(found.verdict).toBe('failed bad-verdict onError=forward');
    expect(found.notes.join()).toContain('lets the flow through');
  });

  test('does not ask a script that is disabled', async () => {
    const found = await explained([script('off', `return reject();`)], { disabled: ['off'] });
    expect(found.verdict).toStartWith('failed');
  });

  test('rejects with the places when the scripts do not load', async () => {
    const broken = explained([script('broken', 'return ((;')]);
    expect(await broken.catch((error) => error)).toBeInstanceOf(BundleRejectedError);
  });
});

test('notes tell of a host that is gone, and of a canary', () => {
  const [reject, forward] = [{ onError: 'reject' }, { onError: 'forward' }] as const;
  expect(explainNotes('running', undefined, reject)).toEqual([]);
  expect(explainNotes('waiting', undefined, reject).join()).toContain('"script-failed"');
  expect(explainNotes('waiting', undefined, forward).join()).toContain('is forwarded');
  const generation = { ...unnumbered({ scripts: [], vars: {}, limits: DEFAULT_SCRIPT_LIMITS }) };
  const plan = { mode: 'canary', share: 0.1, errors: 1, windowMs: 1, forMs: 1 } as const;
  expect(explainNotes('running', { generation, plan }, reject).join()).toContain(
    'generation 1 is a canary',
  );
});
