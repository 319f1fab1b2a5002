import { describe, expect, test } from 'bun:test';
import { LiveFlows } from '../../../../src/gateway/supervisor/flows/live-flows.ts';
import { Revalidation } from '../../../../src/gateway/supervisor/scripts/revalidation.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';
import { Decider } from '../../../../src/stack/flow-row.ts';
import { command } from '../../script-host/host-process.ts';
import { FlowMemory, flowContext } from '../flows/flow-memory.ts';
import { rememberingLog } from '../support.ts';

const ROWS = 8;

/** Flows 1 to 4 were forwarded by scripts, 5 by a listener. */
function setUp(body: string, mode: 'report' | 'close') {
  const memory = new FlowMemory(ROWS);
  memory.put(1, { serial: 1, upstream: '10.1.0.1', upstreamPort: 80 });
  memory.put(2, { serial: 2, upstream: '10.9.9.9', upstreamPort: 80 });
  memory.put(3, { serial: 3, upstream: '10.7.7.7', upstreamPort: 5432, source: '10.0.0.66' });
  memory.put(4, { serial: 4, upstream: '10.1.0.1', upstreamPort: 80, source: '10.0.0.13' });
  memory.put(5, { serial: 5, decider: Decider.LISTENER });
  const killed: number[] = [];
  const { log, lines } = rememberingLog();
  const revalidation = new Revalidation(
    {
      log,
      live: new LiveFlows(memory.reader, flowContext),
      resolver: { resolve: async () => ({ addresses: ['10.7.7.6', '10.7.7.7'] }) },
      kill: async (refs) => {
        killed.push(...refs.map(({ serial }) => serial));
        return refs.length;
      },
      asideOptions: () => ({ iface: 'x0', command: command('__script-check') }),
    },
    {
      ...{ number: 9, hash: '', origin: 'api', createdAt: 0, vars: {} },
      limits: DEFAULT_SCRIPT_LIMITS,
      scripts: [
        {
          name: 'a',
          file: 'a.ts',
          source: `import { forward, reject } from 'culvert';
export default { flow(flow) { ${body} } };`,
        },
      ],
    },
    mode,
  );
  return { revalidation, killed, lines };
}

const POLICY = `
  if (flow.src.ip === '10.0.0.66') return forward('db.example:5432');
  if (flow.src.ip === '10.0.0.13') throw new Error('unlucky');
  return forward();`;

describe('flows that live are asked about', () => {
  test('and those that would be decided otherwise are told of', async () => {
    const { revalidation, killed, lines } = setUp(POLICY, 'report');
    await revalidation.run();
    expect(revalidation).toMatchObject({
      ...{ isOver: true, asked: 4, different: 1, failed: 1, closed: 0 },
      differences: [
        {
          flow: 'tcp 10.0.0.2:1000 > 10.1.0.1:80',
          before: 'forward 10.9.9.9:80',
          after: 'forward',
        },
      ],
    });
    expect(killed).toEqual([]);
    expect(lines.map(({ msg }) => msg)).toEqual(['flow-differs', 'flows-revalidated']);
  }, 20_000);

  test('and ended when that is asked for, but not those about which it fails', async () => {
    const body = POLICY.replace('return forward();', 'return reject();');
    const { revalidation, killed } = setUp(body, 'close');
    await revalidation.run();
    expect(killed).toEqual([1, 2]);
    expect(revalidation).toMatchObject({ asked: 4, different: 2, failed: 1, closed: 2 });
  }, 20_000);

  test('and left alone when the bundle is not up', async () => {
    const { revalidation, killed } = setUp('syntax error', 'close');
    await revalidation.run();
    expect(revalidation).toMatchObject({ asked: 0, problem: 'the bundle was not up in time' });
    expect(killed).toEqual([]);
  }, 20_000);
});
