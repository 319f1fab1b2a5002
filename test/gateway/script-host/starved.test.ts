/** A script that is slow but within its limits: the host does its bidding, and still hears us. */
import { expect, test } from 'bun:test';
import { flowId } from '../../../src/gateway/flow-filter/flow-id.ts';
import { VerdictCode } from '../../../src/stack/flow-row.ts';
import { HostProcess, makeBundle } from './host-process.ts';

/** Nearly the hard limit of a call. */
const BURN_MS = 45;
const FLOWS_PER_SECOND = 100;
/** What a change of scripts may take on a busy machine; on a quiet one it takes half a second. */
const LOAD_MS = 10_000;
const TEST_TIMEOUT_MS = 30_000;

const BURN = `const end = Date.now() + ${BURN_MS}; while (Date.now() < end) {}`;
const LIMITS = { cpuHardMs: 200, cpuSoftMs: 200, watchdogMs: 400 };

const scriptOf = (body: string, top = '') => `import { forward, reject } from 'culvert';
${top}
export default { flow(flow: any) { ${body} } };`;

const NEXT = makeBundle(
  { a: scriptOf("return reject({ reason: 'next' })") },
  { generation: 2, limits: LIMITS },
);

async function expectNextLoads(host: HostProcess): Promise<void> {
  const startedAt = performance.now();
  expect(await host.load(NEXT)).toEqual([]);
  expect(performance.now() - startedAt).toBeLessThan(LOAD_MS);
}

test(
  'a bundle loads while a script burns 45 ms for each of 100 flows a second',
  async () => {
    await using host = new HostProcess();
    const slow = scriptOf(`${BURN} return forward()`);
    await host.load(makeBundle({ a: slow }, { limits: { ...LIMITS, wallMs: 60_000 } }));
    const asked: number[] = [];
    const flood = setInterval(() => asked.push(host.ask()), 1000 / FLOWS_PER_SECOND);
    await Bun.sleep(1500);
    // Twenty a second are answered: a queue has grown.
    expect(asked.filter((id) => !host.poll(id)).length).toBeGreaterThan(20);
    await expectNextLoads(host);
    clearInterval(flood);
    expect(await host.decide()).toMatchObject({ generation: 2, text: 'next' });
  },
  TEST_TIMEOUT_MS,
);

test(
  'a bundle loads, and flows are decided, while a thousand timers burn 45 ms each',
  async () => {
    await using host = new HostProcess();
    const storm = `const burn = () => { ${BURN} setTimeout(burn, 10); };
      for (let i = 0; i < 1000; i++) setTimeout(burn, 10);`;
    await host.load(makeBundle({ a: scriptOf('return forward()', storm) }, { limits: LIMITS }));
    await Bun.sleep(300);
    expect(await host.decide()).toMatchObject({ verdict: VerdictCode.FORWARD });
    await expectNextLoads(host);
    expect(await host.decide()).toMatchObject({ generation: 2, text: 'next' });
  },
  TEST_TIMEOUT_MS,
);

test(
  'requests that waited longer than the limit are refused and cost no time of the script',
  async () => {
    await using host = new HostProcess();
    const slow = scriptOf(`${BURN} return forward()`);
    await host.load(makeBundle({ a: slow }, { limits: { ...LIMITS, wallMs: 500 } }));
    const ids = Array.from({ length: 300 }, () => host.ask());
    const startedAt = performance.now();
    const outcomes = [];
    for (const id of ids) outcomes.push(await host.outcome(id));
    // To ask the script about all of them takes 13.5 s.
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(outcomes[0]).toMatchObject({ verdict: VerdictCode.FORWARD });
    expect(outcomes.at(-1)).toMatchObject({ failure: 'wall', script: 0xffff_ffff });
  },
  TEST_TIMEOUT_MS,
);

test(
  'a request that is cancelled before its turn is never asked',
  async () => {
    await using host = new HostProcess();
    const slow = scriptOf(`${BURN} console.log('asked ' + flow.id); return forward()`);
    await host.load(makeBundle({ a: slow }, { limits: { ...LIMITS, wallMs: 60_000 } }));
    const ids = Array.from({ length: 20 }, () => host.ask());
    for (const id of ids.slice(10)) host.cancel(id);
    const last = await host.decide();
    expect(last).toMatchObject({ verdict: VerdictCode.FORWARD });
    await host.message((m) => m.kind === 'log' && m.message === `asked ${flowId(1021)}`);
    const asked = host.messages.filter(({ kind }) => kind === 'log').length;
    expect(asked).toBeLessThan(20);
    expect(ids.slice(19).some((id) => host.poll(id))).toBe(false);
  },
  TEST_TIMEOUT_MS,
);
