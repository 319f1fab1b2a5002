/**
 * The same traffic through the kernel's NAT and through the gateway: what clients and servers find
 * out must be the same, and so must be the states of what is tracked.
 *
 *   client       gw                                                       server       far
 *     c0 ═══ g0 ───────── nftables: dnat, snat to the pool ────────── up0 ═══ dn0   f0 ═══ r0
 *     c0 ═══ g0 ─► culvert0 [ culvert run ] ─► up0, and back by the pool  ═══ dn0   f0 ═══ r0
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { Agent } from '../support/agent-handle.ts';
import { kernelConntrack, type TrackedFlow } from '../support/kernel-conntrack.ts';
import { NAT_ALL } from '../support/lanes.ts';
import { natInKernel } from '../support/nat-network.ts';
import * as survey from '../support/nat-survey.ts';
import { FAMILIES, IPV4, IPV6, Topology } from '../support/netns.ts';
import { makeTrackedFlows, trackedFlows } from '../support/tracked-flows.ts';
import { World } from '../support/world.ts';

/** Hops in gw: the gateway's, and the kernel's before and after it. */
const OWN_HOPS = ['10.88.1.1', '10.99.0.1', IPV4.gateway, 'fd88:1::1', 'fd99::1', IPV6.gateway];

let kernel: survey.Ends & AsyncDisposable;
let culvert: World;

beforeAll(async () => {
  kernel = await startKernel();
  culvert = await World.startNat({ config: NAT_ALL, scripts: {} });
});
afterAll(async () => {
  await culvert?.[Symbol.asyncDispose]();
  await kernel?.[Symbol.asyncDispose]();
});

async function startKernel(): Promise<survey.Ends & AsyncDisposable> {
  const topology = Topology.create();
  topology.addFar();
  natInKernel(topology);
  const client = await Agent.start(topology, topology.client);
  const server = await Agent.start(topology, topology.server);
  const dispose = () => topology[Symbol.asyncDispose]();
  return { topology, client, server, [Symbol.asyncDispose]: dispose };
}

async function culvertConntrack(): Promise<TrackedFlow[]> {
  const { code, stdout, stderr } = await culvert.gateway.cli('conntrack', 'list', '-o', 'json');
  if (code !== 0) throw new Error(`culvert conntrack list: ${stderr}`);
  return JSON.parse(stdout);
}

describe.each([...FAMILIES])('$name', (family) => {
  test('who the server sees, and which destination', async () => {
    const expected = await survey.whoAmI(kernel, family);
    expect(expected.tcp).toContain(family.pool);
    expect(await survey.whoAmI(culvert, family)).toEqual(expected);
  });

  test('who the server sees behind a port that leads elsewhere', async () => {
    const expected = await survey.whoAmIElsewhere(kernel, family);
    expect(expected.udpAnswersFrom).toBe(true);
    expect(await survey.whoAmIElsewhere(culvert, family)).toEqual(expected);
  });

  test('curl, DNS, and iperf3 over TCP and UDP, both ways', async () => {
    const expected = await survey.programs(kernel, family);
    expect(expected).toMatchObject({ iperfUp: true, iperfDown: true });
    expect(expected.dns.errors).toEqual({});
    expect(await survey.programs(culvert, family)).toEqual(expected);
  });

  test('ping and traceroute', async () => {
    const expected = await survey.routes(kernel, family, OWN_HOPS);
    expect(expected.udpHops).toHaveLength(2);
    expect(await survey.routes(culvert, family, OWN_HOPS)).toEqual(expected);
  });

  test('what refuses, and what does not answer', async () => {
    const expected = await survey.refusals(kernel, family);
    expect(expected.udpRefused).toEqual({ error: 'ECONNREFUSED' });
    expect(await survey.refusals(culvert, family)).toEqual(expected);
  });

  test('the MTU of a path', async () => {
    const expected = await survey.pathMtu(kernel, family);
    expect(expected.errors).toHaveLength(1);
    expect(await survey.pathMtu(culvert, family)).toEqual(expected);
  });

  test('states of tracked flows', async () => {
    kernel.topology.exec(kernel.topology.gw, 'conntrack', '-F');
    await makeTrackedFlows(kernel, family);
    const expected = trackedFlows(kernelConntrack(kernel.topology), family);
    expect(new Set(expected.map(({ state }) => state)).size).toBe(8);

    expect((await culvert.gateway.cli('conntrack', 'flush', '--all')).code).toBe(0);
    await makeTrackedFlows(culvert, family);
    expect(trackedFlows(await culvertConntrack(), family)).toEqual(expected);
  });
});
