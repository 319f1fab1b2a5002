/**
 * The tarpit, with the kernel as the client that is held: it believes in its connection, may say
 * nothing, and asks in vain. The gateway keeps a row for it and no memory.
 *
 *   client                    gw
 *     agent ── culvert0 ── [ culvert run ]     nobody behind it
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES, IPV4 } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const LISTENER_PORT = 2323;
const SCRIPT_PORT = 2424;
const LIMIT = 300;
const SCRIPT = `
import { decline, reject } from "culvert";
export default {
  flow({ dst }) { return dst.port === ${SCRIPT_PORT} ? reject({ with: "tarpit" }) : decline(); },
};
`;

let world: World;
beforeAll(async () => {
  world = await World.start({
    scripts: { trap: SCRIPT },
    config: {
      device: { queues: 1 },
      limits: { tarpit: LIMIT },
      listeners: [{ name: 'trap', ports: LISTENER_PORT, action: 'reject', with: 'tarpit' }],
    },
  });
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** Connects, and has bytes to say; the number names them. */
const hold = (host: string, port: number, flows: number) =>
  world.client.call('hold', { host, port, flows, blockBytes: 4000, intervalMs: 5 });
const heldNow = () => world.gateway.metric('culvert_tarpit_active');

/** What the kernel of the client says of its connections to a port. */
async function sockets(port: number): Promise<string> {
  const { topology } = world;
  const { stdout } = await topology.run(topology.client, 'ss', '-tnoi', `dport = :${port}`);
  return stdout;
}

/** Ends all that are held, and waits until they are. */
async function letGo(id: number): Promise<void> {
  expect((await world.gateway.cli('flows', 'kill', '--filter', 'service = tarpit')).code).toBe(0);
  await world.client.call('holdEnded', { id });
  await waitFor('none held', async () => (await heldNow()) === 0 || undefined);
}

describe.each([...FAMILIES])('$name', ({ server }) => {
  test.each([
    ['listener', LISTENER_PORT, { rule: 'trap', close_by: 'gateway' }],
    ['script', SCRIPT_PORT, { script: 'trap', close_by: 'script' }],
  ])('a client that a %s caught is ESTABLISHED, and its write stalls', async (_, port, line) => {
    const id = await hold(server, port, 1);
    const shown = await waitFor('the persist timer', async () => {
      const text = await sockets(port);
      return text.includes('timer:(persist') && text;
    });
    expect(shown).toContain('ESTAB');
    // All that it wanted to say is still its own.
    expect(shown).toMatch(/ESTAB\s+0\s+4000\s/);
    expect(shown).toContain('notsent:4000');
    await Bun.sleep(1000);
    expect(await world.client.call('holdLive', { id })).toBe(1);
    expect((await world.gateway.cli('flows', `dport = ${port}`)).stdout).toContain('tarpit');
    await letGo(id);
    const verdict = { verdict: 'reject', close_reason: 'tarpit', upstream: 'tarpit', bytes_up: 0 };
    expect(await world.gateway.flowLog(server, port)).toMatchObject({ ...verdict, ...line });
  });
});

test('many cost no memory, one more than the limit is reset, a reload loses none', async () => {
  const slabs = () => world.gateway.metric('culvert_slab_bytes');
  const before = await slabs();
  const id = await hold(IPV4.server, LISTENER_PORT, LIMIT);
  expect(await world.client.call('holdLive', { id })).toBe(LIMIT);
  expect(await heldNow()).toBe(LIMIT);
  await Bun.sleep(1500);
  expect(await slabs()).toBe(before);
  const connect = { host: IPV4.server, port: LISTENER_PORT, timeoutMs: 5000 };
  expect(await world.client.call('connect', connect)).toMatchObject({ code: 'ECONNREFUSED' });
  expect(await world.gateway.cli('reload')).toMatchObject({ code: 0 });
  expect((await world.gateway.putScript('trap', `${SCRIPT}\n`)).ok).toBe(true);
  expect(await world.client.call('holdLive', { id })).toBe(LIMIT);
  await letGo(id);
});

test('a gateway that is asked to stop does not wait for them', async () => {
  const id = await hold(IPV4.server, SCRIPT_PORT, 20);
  const began = performance.now();
  expect(await world.gateway.stop()).toBe(0);
  expect(performance.now() - began).toBeLessThan(4000);
  await world.client.call('holdEnded', { id });
});
