/**
 * Scripts that give flows to listeners of the configuration by their names.
 *
 *   client                    gw                        server
 *     agent ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── HTTP
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES, hostPort, IPV4 } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const BEHIND = 7999;
/** Which listener a port is given to. */
const PORTS = { web: 8001, no: 8002, dns: 8003, nowhere: 8004 };
const SCRIPT = `
import { redirect } from "culvert";
const names = new Map(${JSON.stringify(Object.entries(PORTS).map(([name, port]) => [port, name]))});
export default {
  flow({ dst }) {
    const name = names.get(dst.port) ?? "nowhere";
    return redirect(name === "web" ? "web-" + dst.family : name);
  },
};
`;
/** That no client of the test asks for. */
const UNASKED = 1;

let world: World;
beforeAll(async () => {
  const listeners = [
    ...FAMILIES.map(({ server }) => ({
      ...{ name: `web-${server.includes(':') ? 6 : 4}`, ports: UNASKED },
      ...{ action: 'forward' as const, to: hostPort(server, BEHIND) },
    })),
    { name: 'no', ports: UNASKED, action: 'reject' as const },
    { name: 'dns', protocol: 'udp' as const, ports: UNASKED, action: 'forward' as const },
  ];
  world = await World.start({ scripts: { give: SCRIPT }, config: { listeners } });
  await world.server.call('http', { port: BEHIND, text: 'behind' });
});
afterAll(() => world?.[Symbol.asyncDispose]());

const curl = (host: string, port: number) => {
  const { topology } = world;
  return topology.run(topology.client, 'curl', '-sS', '-m', '5', `http://${hostPort(host, port)}/`);
};
const saysWhy = (text: string) =>
  world.gateway.waitForLog(text, ({ msg = '' }) => String(msg).includes(text));

describe.each([...FAMILIES])('$name', ({ server }) => {
  test('a flow goes where the listener says, and shows it as its rule', async () => {
    expect(await curl(server, PORTS.web)).toMatchObject({ code: 0, stdout: 'behind' });
    const rule = `web-${server.includes(':') ? 6 : 4}`;
    expect(await world.gateway.flowLog(server, PORTS.web)).toMatchObject({
      ...{ verdict: 'redirect', script: 'give', rule },
      upstream_addr: hostPort(server, BEHIND),
    });
  });

  test('a listener that rejects does', async () => {
    expect((await curl(server, PORTS.no)).code).toBe(7);
    expect(await world.gateway.flowLog(server, PORTS.no)).toMatchObject({
      ...{ verdict: 'redirect', rule: 'no', close_reason: 'rejected' },
    });
  });

  test('a listener of another protocol, and none, fail, and the log says why', async () => {
    expect((await curl(server, PORTS.dns)).code).toBe(7);
    expect((await curl(server, PORTS.nowhere)).code).toBe(7);
    await saysWhy('redirect(): listener "dns" takes udp, and the flow is tcp');
    await saysWhy('redirect(): there is no listener "nowhere"; there is: welcome, web-4');
    const flow = await world.gateway.flowLog(server, PORTS.nowhere);
    expect(flow).toMatchObject({ close_reason: 'script-failed' });
  });
});

test('explain shows the listener, and what it does', async () => {
  const { stdout } = await world.gateway.cli('explain', '10.0.0.5:1', hostPort(IPV4.server, 8002));
  expect(stdout).toContain('redirect no');
  expect(stdout).toContain('listener "no" does: reject');
});

test('a listener that a reload brings is known from then on', async () => {
  const patch = (action: 'drop' | 'reject') =>
    world.gateway.api('/v1/config', {
      method: 'PATCH',
      body: JSON.stringify({ listeners: [{ name: 'nowhere', ports: UNASKED, action }] }),
      headers: { 'If-Match': '*', 'Content-Type': 'application/merge-patch+json' },
    });
  expect((await patch('reject')).status).toBe(200);
  await waitFor('a flow by the new listener', async () => {
    await curl(IPV4.server, PORTS.nowhere);
    return world.gateway.logs.some(
      (line) => line['event'] === 'flow' && line['rule'] === 'nowhere',
    );
  });
});
