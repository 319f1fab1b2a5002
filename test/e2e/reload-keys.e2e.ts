/**
 * Keys that are for what comes from then on: a reload changes them in the data planes of both
 * queues, flows that live keep what they began with, and a refused reload changes none.
 *
 *   client                     gw                               server
 *     agent ── culvert0 ═╦═ [ data plane 0 ]        up0 ═══ dn0 ── echo
 *                        ╚═ [ data plane 1 ]
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { ConfigInput } from '../../src/gateway/config/schema.ts';
import { FAMILIES, IPV4 } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { expectWhole } from '../support/whole-flows.ts';
import { World } from '../support/world.ts';

/** Of each family; that all are with one of the two queues happens once in 2^19. */
const FLOWS = 10;
const ROWS = 4096;
const LIMITS: ConfigInput['limits'] = { flows: ROWS, slabBytes: '64MiB' };

interface FlowAnswer {
  readonly tcp: {
    readonly congestion: string;
    readonly options: readonly string[];
    readonly bytes_received: number;
  };
}

let world: World;
beforeAll(async () => {
  world = await World.start({ config: { device: { queues: 2 }, limits: LIMITS } });
  const { topology } = world;
  topology.exec(topology.client, 'sysctl', '-qw', 'net.ipv4.tcp_ecn=1');
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** Writes other sections into the config file, and has it read. */
function reload(sections: ConfigInput) {
  const file = join(world.gateway.folder, 'config.yaml');
  const config = parse(readFileSync(file, 'utf8'));
  writeFileSync(file, stringify({ ...config, ...sections }));
  return world.gateway.cli('reload');
}

/** Flows of both families to a service of their own; they move bytes until `end` is called. */
async function hold() {
  const port = await world.server.call('echo', { port: 0 });
  const load = { port, flows: FLOWS, blockBytes: 3001, intervalMs: 50 };
  const ids = await Promise.all(
    FAMILIES.map(({ server: host }) => world.client.call('hold', { ...load, host })),
  );
  const filter = encodeURIComponent(`dst_port = ${port}`);
  return {
    /** Controls and ECN that they have. */
    seen: async () => {
      const path = `/v1/flows?view=tcp&limit=100&filter=${filter}`;
      // The client takes a connection for open a moment before it is here, and has its control.
      const flows = await waitFor('bytes on each flow', async () => {
        const answer = await world.gateway.json<{ flows: FlowAnswer[] }>(path);
        return answer.flows.every(({ tcp }) => tcp.bytes_received > 0) && answer.flows;
      });
      expect(flows).toHaveLength(2 * FLOWS);
      const words = flows.map(({ tcp }) => `${tcp.congestion} ${tcp.options.includes('ecn')}`);
      return [...new Set(words)];
    },
    end: async () => {
      for (const id of ids) expectWhole(await world.client.call('holdStop', { id }), FLOWS);
    },
  };
}

/** What flows begin with now. */
async function seenOfNew(): Promise<string[]> {
  const flows = await hold();
  const seen = await flows.seen();
  await flows.end();
  return seen;
}

test('tcp.congestion and tcp.ecn are for flows that begin later, in every queue', async () => {
  const old = await hold();
  expect(await old.seen()).toEqual(['cubic true']);
  expect(await reload({ tcp: { congestion: 'newreno', ecn: false } })).toMatchObject({ code: 0 });
  expect(await seenOfNew()).toEqual(['newreno false']);
  expect(await old.seen()).toEqual(['cubic true']);
  await old.end();
  for (const pid of world.gateway.children('__data-plane')) process.kill(pid, 'SIGKILL');
  await world.gateway.waitForLog('the end', ({ msg }) => msg === 'data-plane-exited');
  await world.gateway.ready();
  expect(await seenOfNew()).toEqual(['newreno false']);
}, 60_000);

test('they stay as they are when another part of the reload is refused', async () => {
  const { topology } = world;
  topology.ip(topology.client, 'route add 10.57.0.1 dev lo');
  const nat = { addresses: ['10.57.0.1'] };
  const refused = await reload({ tcp: { congestion: 'bbr', ecn: true }, nat });
  expect(refused.code).toBe(4);
  expect(refused.stderr).toContain('nat.addresses');
  expect(await seenOfNew()).toEqual(['newreno false']);
  expect(await reload({ tcp: { congestion: 'bbr' }, nat: {} })).toMatchObject({ code: 0 });
  // BBR has no answer to marks, but echoes those of the client.
  expect(await seenOfNew()).toEqual(['bbr true']);
}, 60_000);

test('limits.flows and limits.slabBytes may be less than at the start, and as much', async () => {
  const { gateway } = world;
  const limits = async () => [
    await gateway.metric('culvert_conntrack_entries_limit'),
    await gateway.metric('culvert_slab_bytes_limit'),
  ];
  const [flows, slabBytes] = await limits();
  expect(flows).toBe(ROWS);
  // Each queue has more of them than it may have of 16.
  const held = [await hold(), await hold()];
  const few = { flows: 16, flowsPerSource: ROWS, heldSyns: 8, slabBytes: '16MiB', claims: 7 };
  expect(await reload({ limits: few })).toMatchObject({ code: 0 });
  await waitFor('the bounds', async () => (await limits())[0] === 16);
  expect((await limits())[1]).toBeLessThan(slabBytes! / 2);
  expect(await gateway.json('/v1/conntrack/count')).toMatchObject({ limit: 16 });
  const port = await world.server.call('echo', { port: 0 });
  const target = { host: IPV4.server, port, timeoutMs: 1500 };
  expect((await world.client.call('connect', target)).open).toBe(false);
  const full = 'culvert_dropped_packets_total{reason="flow-table-full",layer="limit"}';
  expect(await gateway.metric(full)).toBeGreaterThan(0);
  // Those that were there live on.
  for (const flows of held) await flows.end();
  const beyond = await reload({ limits: { flows: ROWS + 2, slabBytes: '65MiB' } });
  expect(beyond.code).toBe(4);
  expect(beyond.stderr).toMatch(/limits\.flows: needs a restart beyond 4096: memory is laid out/);
  expect(beyond.stderr).toContain('limits.slabBytes: needs a restart beyond 67108864');
  expect((await limits())[0]).toBe(16);
  expect(await reload({ limits: LIMITS })).toMatchObject({ code: 0 });
  await waitFor('the bounds', async () => (await limits())[1] === slabBytes);
  expect((await world.client.call('connect', target)).open).toBe(true);
}, 60_000);

test('log.format changes from one line to the next', async () => {
  expect(await reload({ log: { format: 'logfmt' } })).toMatchObject({ code: 0 });
  await waitFor('a line', () => /^time=\S+ level=info msg=/m.test(world.gateway.transcript()));
  expect(await reload({ log: {} })).toMatchObject({ code: 0 });
  expect(await reload({ log: { level: 'debug' } })).toMatchObject({ code: 0 });
  await world.gateway.waitForLog(
    'JSON again',
    ({ msg, to }) => msg === 'log-level' && to === 'debug',
  );
});
