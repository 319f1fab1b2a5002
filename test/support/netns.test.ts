import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { Agent } from './agent-handle.ts';
import { FAMILIES, Topology } from './netns.ts';
import { expectWhole } from './whole-flows.ts';

/** The harness itself, with the kernel's routing where the gateway will stand. */
const canMakeNetworks = process.getuid?.() === 0 && Bun.which('nft') !== null;

test.skipIf(!canMakeNetworks)(
  'through the kernel: bytes arrive, refusals and holes are what they are, nothing stays behind',
  async () => {
    const topology = Topology.create();
    const namespaces = [topology.client, topology.gw, topology.server];
    {
      await using _ = topology;
      topology.routeThroughKernel();
      const client = await Agent.start(topology, topology.client);
      const server = await Agent.start(topology, topology.server);
      for (const family of FAMILIES) {
        // An ICMP error that comes while connect() owns the socket is taken at the second SYN.
        const codeOf = async (host: string, timeoutMs = 3000) =>
          (await client.call('connect', { host, port: 9, timeoutMs })).code;
        expect(await codeOf(family.server)).toBe('ECONNREFUSED');
        expect(await codeOf(family.unreachable)).toMatch(/^E(HOST|NET)UNREACH$/);
        expect(await codeOf(family.blackHole, 300)).toBe('PENDING');
      }

      topology.lose(topology.client, 'c0', 2);
      for (const family of FAMILIES) {
        const size = 2_000_000;
        const end = { send: size, receive: size, seed: 1, peerSeed: 2 };
        const port = await server.call('serveTransfer', { ...end, seed: 2, peerSeed: 1 });
        const right = { sent: size, received: size, wrongAt: -1, fin: true, error: '' };
        expect(await client.call('transfer', { host: family.server, port, ...end })).toMatchObject(
          right,
        );
        expect(await server.call('transferReport', { port })).toMatchObject(right);
      }
      expect(topology.lost(topology.client)).toBeGreaterThan(0);

      const echo = await server.call('echo', { port: 0 });
      const host = FAMILIES[0]?.server ?? '';
      const id = await client.call('hold', {
        host,
        port: echo,
        flows: 20,
        blockBytes: 5000,
        intervalMs: 10,
      });
      expectWhole(await client.call('holdStop', { id }), 20);
      const scan = await client.call('scan', { host, from: echo - 20, to: echo + 20 });
      expect(scan.open).toContain(echo);
      expect(Object.keys(scan.codes)).toEqual(['ECONNREFUSED']);
    }
    expect(namespaces.filter((name) => existsSync(`/run/netns/${name}`))).toEqual([]);
  },
  60_000,
);
