/**
 * Scripts that do not want to end, one by one, in a real script host. What the interrupt handler
 * of QuickJS does not stop, the watchdog kills; and whatever happens, the flow gets its refusal
 * within a bound, and the scripts beside it go on deciding, in this host or in the next.
 */
import { expect, test } from 'bun:test';
import { VerdictCode } from '../../../src/stack/flow-row.ts';
import { GREEDY_SCRIPTS, hostileScript } from '../../support/hostile-scripts.ts';
import { HostProcess, makeBundle } from './host-process.ts';

/** Bound of the supervisor's watchdog on a starved machine, and some. */
const BOUND_MS = 4_000;
const TEST_TIMEOUT_MS = 30_000;
const HOSTILE_PORT = 666;

const bundleWith = (body: string, generation = 1) =>
  makeBundle(
    {
      hostile: hostileScript(body, HOSTILE_PORT),
      honest: `import { reject } from 'culvert';
        export default { flow: async (flow: any) => reject({ reason: flow.id }) };`,
    },
    { generation },
  );

test.each(Object.entries(GREEDY_SCRIPTS))(
  '%s: the flow is refused in time, and the script beside it goes on deciding',
  async (_, body) => {
    await using host = new HostProcess(1);
    await using bystander = new HostProcess(1);
    const bundle = bundleWith(body);
    expect(await Promise.all([host.load(bundle), bystander.load(bundle)])).toEqual([[], []]);
    expect((await host.decide()).script).toBe(1);

    const askedAt = performance.now();
    const request = host.ask('192.0.2.1', HOSTILE_PORT);
    const [hostile, beside] = await Promise.all([host.outcome(request), bystander.decide()]);
    expect(performance.now() - askedAt).toBeLessThan(BOUND_MS);
    expect(['cpu', 'memory', 'error', 'bad-verdict', 'lost']).toContain(
      hostile.failure ?? 'a verdict',
    );
    expect(beside).toMatchObject({ verdict: VerdictCode.REJECT, script: 1 });

    if (hostile.failure === 'lost') {
      expect(host.culprit).toBe(0);
      await using next = new HostProcess(2);
      expect(await next.load(bundleWith(body, 2))).toEqual([]);
      expect(await next.decide()).toMatchObject({
        verdict: VerdictCode.REJECT,
        script: 1,
        generation: 2,
      });
    } else {
      expect(await decideOnceRevived(host)).toMatchObject({
        verdict: VerdictCode.REJECT,
        script: 1,
      });
      expect(host.isAlive).toBe(true);
    }
  },
  TEST_TIMEOUT_MS,
);

/** The hostile script is asked first, and fails until its sandbox is made again. */
async function decideOnceRevived(host: HostProcess) {
  for (;;) {
    const outcome = await host.decide();
    if (outcome.failure !== 'killed') return outcome;
    await Bun.sleep(5);
  }
}

test('a script cannot bring WebAssembly of its own', async () => {
  await using host = new HostProcess();
  await host.load(
    makeBundle({
      a: `import { reject } from 'culvert';
        export default { flow: () => reject({ reason: typeof (globalThis as any).WebAssembly }) };`,
    }),
  );
  expect((await host.decide()).text).toBe('undefined');
});

test('a process in an endless loop of WebAssembly is gone soon after SIGKILL', async () => {
  // (module (func (export "spin") (loop br 0)))
  const module = '0061736d0100000001040160000003020100070801047370696e00000a0901070003400c000b0b';
  const script = `const bytes = Buffer.from('${module}', 'hex');
    const { instance } = await WebAssembly.instantiate(bytes);
    console.log('spinning'); instance.exports.spin();`;
  const child = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' });
  await child.stdout.getReader().read();
  await Bun.sleep(50);
  expect(child.exitCode).toBeNull();
  const killedAt = performance.now();
  child.kill('SIGKILL');
  await child.exited;
  expect(performance.now() - killedAt).toBeLessThan(1000);
});
