/**
 * Scripts that fail, and a script host that is killed: what becomes of new flows is what
 * `scripts.onError` says, as it says it now.
 *
 *   client                    gw                              server
 *     agent ── culvert0 ── [ data plane ]        up0 ═══ dn0 ── echo
 *                          [ script host ]  throws, then ✗ kill -9
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FAMILIES } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

/** The script throws for it, and declines the other. */
const THROWS_PORT = 6401;
const OPEN_PORT = 6402;
const SCRIPT = `
import { decline, forward } from 'culvert';
export default {
  flow(flow) {
    if (flow.dst.port === ${THROWS_PORT}) throw new Error('thrown on purpose');
    return decline();
  },
};
`;

let world: World;
beforeAll(async () => {
  world = await World.start({
    config: { scripts: { onError: 'forward' } },
    scripts: { bad: SCRIPT },
  });
  for (const port of [THROWS_PORT, OPEN_PORT]) await world.server.call('echo', { port });
});
afterAll(() => world?.[Symbol.asyncDispose]());

const connect = (host: string, port: number) =>
  world.client.call('connect', { host, port, timeoutMs: 5000 });

async function reloadWith(onError: string): Promise<void> {
  const file = join(world.gateway.folder, 'config.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/onError: \w+/, `onError: ${onError}`));
  const { code, stderr } = await world.gateway.cli('reload');
  expect([code, stderr]).toEqual([0, '']);
  world.gateway.logs.length = 0;
}

describe.each([...FAMILIES])('$name', ({ server: host }) => {
  test('forward: a script that throws lets its flow through, and the log says so', async () => {
    await reloadWith('forward');
    const failed = () => world.gateway.metric('culvert_script_decisions_failed_total');
    const before = await failed();
    expect(await connect(host, THROWS_PORT)).toMatchObject({ open: true });
    expect(await connect(host, OPEN_PORT)).toMatchObject({ code: 'ECONNREFUSED' });
    const line = await world.gateway.flowLog(host, THROWS_PORT, 'eof');
    expect(line).toMatchObject({ verdict: 'forward', decider: 'fallback' });
    const said = await world.gateway.waitForLog('the error', ({ msg }) => {
      return String(msg).includes('on purpose');
    });
    expect(said).toMatchObject({ error: 'error', onError: 'forward' });
    await waitFor('the counter', async () => (await failed()) === before + 1);
  });

  test('forward: while there is no host, all flows are let through', async () => {
    await reloadWith('forward');
    const [pid = 0] = world.gateway.children('__script-host');
    process.kill(pid, 'SIGSTOP');
    const held = connect(host, OPEN_PORT);
    await Bun.sleep(200);
    process.kill(pid, 'SIGKILL');
    expect(await held).toMatchObject({ open: true });
    const line = await world.gateway.flowLog(host, OPEN_PORT, 'eof');
    expect(line).toMatchObject({ verdict: 'forward', decider: 'fallback' });
    await world.gateway.ready();
  });

  test.each([
    ['decline', 'decline', 'unclaimed'],
    ['reject', 'reject', 'script-failed'],
  ])('%s, from a reload on: the flow is refused', async (onError, verdict, reason) => {
    await reloadWith(onError);
    expect(await connect(host, THROWS_PORT)).toMatchObject({ code: 'ECONNREFUSED' });
    const line = await world.gateway.flowLog(host, THROWS_PORT, reason);
    expect(line).toMatchObject({ verdict, decider: 'fallback' });
  });
});
