/**
 * Datagrams through the gateway, over sockets of its own (`forward`) and rewritten (`nat`).
 *
 *   client         gw                                          server
 *     agent c0 ═══ g0 ─► culvert0 [ culvert run ] ─► up0 ═══ dn0 agent: echo, who, dns, silent
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { LANES, startLane } from '../support/lanes.ts';
import { flowsTo } from '../support/live-flows.ts';
import { FAMILIES } from '../support/netns.ts';
import type { UdpNews } from '../support/udp-socket.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const CLOSED_PORT = 9;
const DNS_PORT = 53;
const SILENCE: UdpNews = { error: 'SILENCE' };
const REFUSED: UdpNews = { error: 'ECONNREFUSED' };
/** Nothing, one byte, what just fits an MTU of 1500 and does not, fragments, the longest. */
const SIZES = [0, 1, 1452, 1453, 1472, 1473, 9000, 65_507];
/** The fill of `udpAsk`. */
const LETTER = 'x';

/** Of datagrams that iperf3 sends at a steady rate, in the best of so many runs. */
const LOST_SHARE = 0.02;
const RUNS_MAX = 3;

describe.each([...LANES])('$name', (lane) => {
  let world: World;
  beforeAll(async () => {
    world = await startLane(lane);
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  describe.each([...FAMILIES])('$name', (family) => {
    const host = family.server;
    const ask = (port: number, bytes = 1, timeoutMs = 2000) =>
      world.client.call('udpAsk', { host, port, family: family.version, bytes, timeoutMs });

    test.each(SIZES)('a datagram of %d bytes comes back', async (bytes) => {
      const port = await world.server.call('udpServe', { host, port: 0, kind: 'echo' });
      const news = await ask(port, bytes);
      expect(news).toEqual({ text: LETTER.repeat(bytes), bytes, from: { host, port } });
      const [flow] = await flowsTo(world.gateway, host, port);
      expect(flow).toMatchObject({ proto: 'udp', verdict: lane.verdict });
    });

    test('streams as QUIC has them: each of 40,000 datagrams goes there and back', async () => {
      const port = await world.server.call('udpServe', { host, port: 0, kind: 'echo' });
      // A flow that waits for its verdict keeps eight datagrams.
      const load = { flows: 8, datagrams: 5000, bytes: 1350, window: 8 };
      const report = await world.client.call('udpStreams', { host, port, ...load });
      console.log(
        `${lane.name}, ${family.name}: ` +
          `${((report.returned / report.ms) * 1000).toFixed(0)} datagrams/s there and back`,
      );
      const all = load.flows * load.datagrams;
      expect(report).toMatchObject({ sent: all, returned: all, duplicates: 0, reordered: 0 });
      expect(report).toMatchObject({ wrong: 0 });
      expect(report.errors).toEqual({});
      const seen = await world.server.call('udpReport', { host, port });
      expect(seen.datagrams).toBe(all);
      expect(Object.values(seen.senders)).toEqual(Array(load.flows).fill(load.datagrams));
    });

    test('iperf3 loses next to nothing at 100 Mbit/s, up and down', async () => {
      const { topology } = world;
      const server = topology.spawn(topology.server, ['iperf3', '-s', '-B', host]);
      for (const direction of [[], ['-R']]) {
        const flags = ['-u', '-b', '100M', '-l', '1200', '-t', '2', '-J', ...direction];
        const lost: number[] = [];
        // A receiver that does not run for 9 ms loses some by itself, and a machine can be busy.
        while (lost.length < RUNS_MAX && !lost.some((share) => share < LOST_SHARE)) {
          const sum = await waitFor('iperf3', async () => {
            const { stdout } = await topology.run(topology.client, 'iperf3', '-c', host, ...flags);
            return JSON.parse(stdout).end?.sum as { packets: number; lost_packets: number };
          });
          expect(sum.packets).toBeGreaterThan(15_000);
          lost.push(sum.lost_packets / sum.packets);
        }
        expect(Math.min(...lost), `lost shares: ${lost.join(', ')}`).toBeLessThan(LOST_SHARE);
      }
      server.kill();
      await server.exited;
    });

    test('500 DNS queries are answered, and soon hold no socket any more', async () => {
      const server = { host, port: DNS_PORT };
      await world.server.call('udpServe', { ...server, kind: 'dns' });
      const load = { server, family: family.version, queries: 500, atOnce: 20 };
      const report = await world.client.call('dnsQueries', load);
      expect(report).toEqual({ right: 500, errors: {} });
      // The time-out of such flows is 10 s; that of others 30 s and more.
      const noFlows = async () => (await flowsTo(world.gateway, host, DNS_PORT)).length === 0;
      await waitFor('the flows of DNS to end', noFlows, 20_000);
      await world.server.call('udpUnserve', server);
    });

    test('a port that nobody has is refused', async () => {
      expect(await ask(CLOSED_PORT)).toEqual(REFUSED);
    });

    test('who does not answer is not answered for', async () => {
      const port = await world.server.call('udpServe', { host, port: 0, kind: 'silent' });
      expect(await ask(port, 1, 500)).toEqual(SILENCE);
      expect((await world.server.call('udpReport', { host, port })).datagrams).toBe(1);
    });
  });
});

/** Ports of listeners and of the script that say something else than to carry the flow. */
const PORTS = {
  listenerRejects: 7001,
  listenerProhibits: 7002,
  listenerDrops: 7003,
  listenerForwards: 7004,
  scriptRejects: 7011,
  scriptDrops: 7012,
  scriptNats: 7013,
  scriptForwards: 7014,
  scriptRedirects: 7015,
  brief: 7021,
  gone: 7022,
};

describe('verdicts', () => {
  let world: World;
  beforeAll(async () => {
    const listener = { protocol: 'udp' } as const;
    world = await World.startNat({
      config: {
        listeners: [
          { ...listener, name: 'rejects', ports: PORTS.listenerRejects, action: 'reject' },
          {
            ...{ ...listener, name: 'prohibits', ports: PORTS.listenerProhibits },
            ...{ action: 'reject', with: 'icmp' },
          },
          { ...listener, name: 'drops', ports: PORTS.listenerDrops, action: 'drop' },
          { ...listener, name: 'forwards', ports: PORTS.listenerForwards, action: 'forward' },
          { ...listener, name: 'gone', ports: PORTS.gone, action: 'forward' },
          { ...listener, name: 'brief', ports: PORTS.brief, action: 'forward', idle: '1s' },
        ],
      },
      scripts: {
        ports: `
          import { decline, forward, nat, redirect, reject } from "culvert";
          export default {
            flow(f) {
              if (f.proto !== "udp") return decline();
              switch (f.dst.port) {
                case ${PORTS.scriptRejects}: return reject();
                case ${PORTS.scriptDrops}: return reject({ with: "drop" });
                case ${PORTS.scriptNats}: return nat();
                case ${PORTS.scriptForwards}: return forward();
                case ${PORTS.scriptRedirects}: return redirect("welcome");
              }
              return decline();
            },
          };`,
      },
    });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  describe.each([...FAMILIES])('$name', (family) => {
    const host = family.server;
    const ask = (port: number, timeoutMs = 2000) =>
      world.client.call('udpAsk', { host, port, family: family.version, timeoutMs });
    const answered = (port: number) => ({ text: LETTER, bytes: 1, from: { host, port } });
    const serve = (port: number) => world.server.call('udpServe', { host, port, kind: 'echo' });

    test('listeners reject, drop and forward', async () => {
      for (const port of [PORTS.listenerRejects, PORTS.listenerDrops, PORTS.listenerForwards]) {
        await serve(port);
      }
      expect(await ask(PORTS.listenerRejects)).toEqual(REFUSED);
      expect(await ask(PORTS.listenerDrops, 500)).toEqual(SILENCE);
      expect(await ask(PORTS.listenerForwards)).toEqual(answered(PORTS.listenerForwards));
      await world.gateway.flowLog(host, PORTS.listenerRejects, 'rejected');
      await world.gateway.flowLog(host, PORTS.listenerDrops, 'dropped');
    });

    test('"administratively prohibited" is what a listener with icmp says', async () => {
      // A UDP socket hears of it in IPv6 only, RFC 4443 §3.1 code 1; so the log has to do.
      await ask(PORTS.listenerProhibits, 300);
      const line = await world.gateway.flowLog(host, PORTS.listenerProhibits, 'rejected');
      expect(line).toMatchObject({ proto: 'udp', rule: 'prohibits' });
    });

    test('scripts reject, drop, forward and nat', async () => {
      for (const port of [PORTS.scriptRejects, PORTS.scriptDrops]) await serve(port);
      expect(await ask(PORTS.scriptRejects)).toEqual(REFUSED);
      expect(await ask(PORTS.scriptDrops, 500)).toEqual(SILENCE);
      for (const [port, verdict] of [
        [PORTS.scriptForwards, 'forward'],
        [PORTS.scriptNats, 'nat'],
      ] as const) {
        await serve(port);
        expect(await ask(port)).toEqual(answered(port));
        const [flow] = await flowsTo(world.gateway, host, port);
        expect(flow).toMatchObject({ verdict, script: 'ports' });
      }
    });

    test('a verdict that does not fit UDP refuses the flow, and the log says so', async () => {
      expect(await ask(PORTS.scriptRedirects)).toEqual(REFUSED);
      await world.gateway.flowLog(host, PORTS.scriptRedirects, 'script-failed');
      await world.gateway.waitForLog('why', (line) => line['error'] === 'bad-verdict');
    });

    test('when all scripts decline, the port is refused', async () => {
      expect(await ask(CLOSED_PORT)).toEqual(REFUSED);
      await world.gateway.flowLog(host, CLOSED_PORT, 'unclaimed');
    });

    test('a client that is gone ends its session; its upstream finds a closed port', async () => {
      const { client, server, gateway } = world;
      const { version } = family;
      const open = { family: version, host, port: PORTS.gone };
      const upstream = await server.call('udpOpen', open);
      const { id } = await client.call('udpOpen', { family: version, to: open });
      await client.call('udpSend', { id, text: 'hello' });
      const news = await server.call('udpNext', { id: upstream.id, timeoutMs: 2000 });
      if (!('from' in news)) throw new Error(`the upstream got ${news.error}`);
      const answer = { id: upstream.id, text: 'answer', to: news.from };
      await server.call('udpSend', answer);
      expect(await client.call('udpNext', { id, timeoutMs: 2000 })).toMatchObject({ bytes: 6 });
      await client.call('udpClose', { id });
      await server.call('udpSend', answer);
      await gateway.flowLog(host, PORTS.gone, 'client-unreachable');
      const later = await server.call('udpOpen', { family: version, to: news.from });
      await server.call('udpSend', { id: later.id, text: 'x' });
      expect(await server.call('udpNext', { id: later.id, timeoutMs: 2000 })).toEqual(REFUSED);
    });

    test('a flow ends after the silence that its listener allows', async () => {
      await serve(PORTS.brief);
      expect(await ask(PORTS.brief)).toEqual(answered(PORTS.brief));
      const line = await world.gateway.flowLog(host, PORTS.brief, 'idle');
      expect(line).toMatchObject({ bytes_up: 1, bytes_down: 1, pkts_up: 1, pkts_down: 1 });
    });
  });
});
