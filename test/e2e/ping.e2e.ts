/**
 * Honest ping and traceroute: what answers is the target, and every hop on the way says who it is.
 *
 *   client         gw                                          server             far
 *     ping c0 ═══ g0 ─► culvert0 [ culvert run ] ─► up0 ═══ dn0  router  f0 ═══ r0
 *     10.88.1.2   10.88.1.1      10.88.0.1                 10.99.0.2         198.19.0.10
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { LANES, startLane } from '../support/lanes.ts';
import { flowsTo } from '../support/live-flows.ts';
import { pathMtu } from '../support/nat-survey.ts';
import { FAMILIES } from '../support/netns.ts';
import { ping, traceroute } from '../support/route-tools.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

/** Addresses of the kernel in gw, which is a hop before and after the gateway. */
const KERNEL = ['10.88.1.1', '10.99.0.1', 'fd88:1::1', 'fd99::1'];
const ROUTER = { IPv4: '10.99.0.2', IPv6: 'fd99::2' } as const;
const ALL_ANSWERED = { sent: 3, received: 3, errors: [] };

describe.each([...LANES])('$name', (lane) => {
  let world: World;
  beforeAll(async () => {
    world = await startLane(lane);
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  describe.each([...FAMILIES])('$name', (family) => {
    const router = ROUTER[family.name];

    test('ping is answered by the server, and by a host behind it', async () => {
      expect(await ping(world.topology, family.server)).toEqual(ALL_ANSWERED);
      expect(await ping(world.topology, family.far)).toEqual(ALL_ANSWERED);
      const [flow] = await flowsTo(world.gateway, family.far, 0);
      expect(flow).toMatchObject({ proto: 'icmp', verdict: lane.verdict });
    });

    test.each([0, 1, 1400, 1473, 8000, 60_000])('%d bytes come back', async (size) => {
      const report = await ping(world.topology, family.server, '-s', `${size}`);
      expect(report).toEqual(ALL_ANSWERED);
    });

    test('1000 pings in a flood are answered, each once', async () => {
      const { client } = world.topology;
      const argv = ['ping', '-n', '-q', '-f', '-c', '1000', '-W', '2', family.server];
      const { stdout } = await world.topology.run(client, ...argv);
      expect(stdout).toContain('1000 packets transmitted, 1000 received');
      expect(stdout).not.toContain('duplicates');
    });

    test('a black hole does not answer, and nobody does for it', async () => {
      const report = await ping(world.topology, family.blackHole, '-W', '1');
      expect(report).toEqual({ sent: 3, received: 0, errors: [] });
    });

    test('what a router calls unreachable is told by that router', async () => {
      const report = await waitFor('an ICMP error', async () => {
        const each = await ping(world.topology, family.unreachable, '-W', '1');
        return each.errors.length > 0 && each;
      });
      expect(report.received).toBe(0);
      expect(report.errors[0]).toMatch(/^\S+ Destination (Host Unreachable|unreachable)/);
      expect(report.errors[0]).toStartWith(`${router} `);
    });

    test.each(['udp', 'icmp'] as const)('traceroute by %s tells each hop', async (mode) => {
      const hops = await traceroute(world.topology, family.far, mode);
      expect(hops).not.toContain('*');
      expect(KERNEL).toContain(hops[0] ?? '');
      expect(hops[1]).toBe(family.gateway);
      expect(hops.slice(-2)).toEqual([router, family.far]);
      // What is rewritten goes through the kernel of gw a second time.
      expect(hops).toHaveLength(lane.verdict === 'nat' ? 5 : 4);
      if (lane.verdict === 'nat') expect(KERNEL).toContain(hops[2] ?? '');
    });

    test('traceroute by TCP tells each hop where the flow really ends', async () => {
      const hops = await traceroute(world.topology, family.far, 'tcp');
      expect(hops).not.toContain('*');
      expect(hops.at(-1)).toBe(family.far);
      if (lane.verdict === 'nat') expect(hops.at(-2)).toBe(router);
    });

    test('a packet that must not be cut and is too big is told the size of the link', async () => {
      const { errors } = await pathMtu(world, family);
      const told = family.name === 'IPv6' ? 'Packet too big: mtu=1300' : /mtu = 1300/;
      expect(errors[0]).toMatch(told);
    });
  });
});

const SCRIPT = `
import { decline, forward, nat, reject } from "culvert";
const verdicts = {
  "198.18.0.20": reject, "2001:db8::20": reject,
  "198.18.0.21": () => reject({ with: "drop" }), "2001:db8::21": () => reject({ with: "drop" }),
  "198.18.0.22": nat, "2001:db8::22": nat,
  "198.18.0.23": forward, "2001:db8::23": forward,
};
export default {
  flow(f) { return f.proto === "icmp" ? (verdicts[f.dst.ip] ?? decline)() : decline(); },
};
`;

describe('verdicts', () => {
  let world: World;
  beforeAll(async () => {
    const destination = ['198.18.0.30/32', '2001:db8::30/128'];
    world = await World.startNat({
      config: { listeners: [{ name: 'no-ping', protocol: 'icmp', destination, action: 'reject' }] },
      scripts: { pings: SCRIPT },
    });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  test.each([...FAMILIES])('of listeners and scripts about pings over $name', async (family) => {
    const pingTo = (host: string) =>
      ping(world.topology, family.server.replace(/10$/, host), '-W', '1');
    for (const refused of ['20', '30', '40']) {
      const { received, errors } = await pingTo(refused);
      expect({ refused, received }).toEqual({ refused, received: 0 });
      expect(errors.length).toBeGreaterThan(0);
    }
    expect(await pingTo('21')).toEqual({ sent: 3, received: 0, errors: [] });
    expect(await pingTo('22')).toEqual(ALL_ANSWERED);
    expect(await pingTo('23')).toEqual(ALL_ANSWERED);
  });

  test.each([...FAMILIES])(
    'a local address of the gateway answers by itself over $name',
    async ({ gateway }) => {
      expect(await ping(world.topology, gateway)).toEqual(ALL_ANSWERED);
    },
  );
});
