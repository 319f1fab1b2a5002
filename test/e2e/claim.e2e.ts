/**
 * Claimed connections: a script talks to the client, and hands the rest over to the gateway.
 *
 *   client                    gw                                       server
 *     agent ── culvert0 ── [ data plane ── script host ]  up0 ═══ dn0 ── agent
 *                                  └──── splice ────────────┘
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { gigabitsPerSecond, intact, transferBetween } from '../support/transfers.ts';
import { waitFor } from '../support/wait.ts';
import { expectWhole } from '../support/whole-flows.ts';
import { World } from '../support/world.ts';

/** Nobody listens there: the script itself answers. */
const ECHO_PORT = 7001;
const KIB = 1024;
const MB = 1_000_000;

/** Echoes on one port; on all others joins the client with whom it wanted. */
const SCRIPT = `
import { claim, connect } from "culvert";

const echo = async (conn) => {
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    await conn.write(bytes);
  }
  await conn.closeWrite();
};

export default {
  flow() { return claim(); },
  async connect(conn, env, ctx) {
    if (conn.flow.dst.port === ${ECHO_PORT}) return echo(conn);
    const socket = connect(conn.flow.dst.toString());
    await socket.opened;
    BEFORE
    const result = await conn.splice(socket);
    ctx.log.info({ up: result.bytesUp, down: result.bytesDown, why: result.reason }, "spliced");
  },
};
`;

/** What a script does before it splices: nothing, looks, or takes some and passes it on. */
const BEFORE = {
  nothing: '',
  peek: 'await conn.peek({ min: 1, timeoutMs: 50 });',
  read: `
    const first = await conn.read();
    if (first !== null) await socket.write(first);
  `,
} as const;

const scriptOf = (before: keyof typeof BEFORE): string => SCRIPT.replace('BEFORE', BEFORE[before]);

/** The only script host; waits for it. */
function scriptHost(world: World): Promise<number> {
  return waitFor('one script host', () => {
    const pids = world.gateway.children('__script-host');
    return pids.length === 1 && pids[0];
  });
}

describe.each([...FAMILIES])('$name', ({ name, server: host }) => {
  let world: World;
  beforeAll(async () => {
    const device = { queues: 1 };
    world = await World.start({ scripts: { all: scriptOf('nothing') }, config: { device } });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  test('a script echoes: every byte comes back, and then the FIN', async () => {
    const load = { host, port: ECHO_PORT, flows: 20, blockBytes: 5000, intervalMs: 5 };
    const id = await world.client.call('hold', load);
    await Bun.sleep(500);
    const report = await world.client.call('holdStop', { id });
    expectWhole(report, load.flows);
    expect(await world.gateway.flowLog(host, ECHO_PORT)).toMatchObject({
      verdict: 'claim',
      script: 'all',
      close_reason: 'eof',
    });
  });

  test('100 MB up and 100 MB down pass a splice, byte for byte', async () => {
    const size = 100 * MB;
    for (const transfer of [
      { up: size, down: 0 },
      { up: 0, down: size },
    ]) {
      const result = await transferBetween(world.client, world.server, host, transfer);
      expect(result).toMatchObject(intact(transfer));
      const rate = gigabitsPerSecond(size, (transfer.up ? result.server : result.client).ms);
      console.log(`${name} spliced claim: ${rate.toFixed(1)} Gbit/s`);
    }
    expect(await world.gateway.metric('culvert_claims_active')).toBe(0);
  });

  test('a splice is half-closed both ways', async () => {
    for (const waits of ['server', 'client'] as const) {
      const transfer = { up: 300 * KIB, down: 200 * KIB, waits };
      const result = await transferBetween(world.client, world.server, host, transfer);
      expect(result).toMatchObject(intact(transfer));
    }
    const line = await world.gateway.waitForLog('the result of a splice', ({ msg, up, down }) => {
      return msg === 'spliced' && up === 300 * KIB && down === 200 * KIB;
    });
    expect(line).toMatchObject({ why: 'eof' });
  });

  test('the script host is killed: what is spliced goes on, the rest is reset', async () => {
    const port = await world.server.call('echo', { port: 0 });
    const spliced = { host, port, flows: 20, blockBytes: 1000, intervalMs: 10 };
    const talking = { ...spliced, port: ECHO_PORT };
    const [first, second] = [
      await world.client.call('hold', spliced),
      await world.client.call('hold', talking),
    ];
    await waitFor('the splices', async () => {
      return (await world.gateway.metric('culvert_claims_active')) === talking.flows;
    });
    const pid = await scriptHost(world);
    process.kill(pid, 'SIGKILL');
    const reset = await world.client.call('holdEnded', { id: second });
    expect(reset.errors).toEqual({ ECONNRESET: talking.flows });
    await world.gateway.flowLog(host, ECHO_PORT, 'script-failed');
    await Bun.sleep(300);
    const report = await world.client.call('holdStop', { id: first });
    expectWhole(report, spliced.flows);
    await waitFor('new flows to work', async () => {
      const probe = { host, port: ECHO_PORT, timeoutMs: 3000 };
      return (await world.client.call('connect', probe)).open;
    });
    expect(await scriptHost(world)).not.toBe(pid);
    const next = await world.client.call('hold', talking);
    await Bun.sleep(200);
    const whole = await world.client.call('holdStop', { id: next });
    expectWhole(whole, talking.flows);
  });

  test('the data plane is killed: the host forgets its conns, and new ones work', async () => {
    const load = { host, port: ECHO_PORT, flows: 5, blockBytes: 1000, intervalMs: 10 };
    const id = await world.client.call('hold', load);
    const [pid = 0] = world.gateway.children('__data-plane');
    process.kill(pid, 'SIGKILL');
    const report = await world.client.call('holdEnded', { id });
    expect(report.errors).toEqual({ ECONNRESET: load.flows });
    await waitFor('new flows to work', async () => {
      const probe = { host, port: ECHO_PORT, timeoutMs: 3000 };
      return (await world.client.call('connect', probe)).open;
    });
    const next = await world.client.call('hold', load);
    await Bun.sleep(200);
    expectWhole(await world.client.call('holdStop', { id: next }), load.flows);
  });
});

test.each(['peek', 'read'] as const)('a splice after %s loses nothing', async (before) => {
  await using world = await World.start({ scripts: { all: scriptOf(before) } });
  const host = FAMILIES[0]?.server ?? '';
  for (const transfer of [
    { up: 5 * MB, down: 0 },
    { up: 0, down: 5 * MB },
    { up: 5 * MB, down: 5 * MB },
  ]) {
    const result = await transferBetween(world.client, world.server, host, transfer);
    expect(result).toMatchObject(intact(transfer));
  }
});
