/**
 * Packets that the gateway saw, as tcpdump and tshark read them.
 *
 *   client                    gw                          server
 *     agent ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── echo
 *                               │
 *                               └── culvert capture → file → tcpdump, tshark
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCapture } from '../../src/gateway/author/capture.ts';
import { culvertBinary } from '../support/gateway.ts';
import { IPV4, IPV6 } from '../support/netns.ts';
import { intact, transferBetween } from '../support/transfers.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

/** Port 81 is dropped, the rest is forwarded. */
const SCRIPT = `
import { forward, reject } from "culvert";
export default {
  flow(flow) { return flow.dst.port === 81 ? reject({ with: "drop" }) : forward(); }
};
`;
const FAMILIES = [
  { name: 'IPv4', host: IPV4.server },
  { name: 'IPv6', host: IPV6.server },
];

let world: World;
beforeAll(async () => {
  world = await World.start({ scripts: { route: SCRIPT } });
});
afterAll(() => world?.[Symbol.asyncDispose]());

const file = (name: string) => join(world.gateway.folder, name);

/** Runs `culvert capture` while `traffic` lasts. @returns the path of the file */
async function captured(
  name: string,
  args: readonly string[],
  traffic: () => Promise<unknown>,
): Promise<string> {
  const path = file(name);
  const before = await world.gateway.metric('culvert_captures_active');
  const done = world.gateway.cli('capture', ...args, '-w', path);
  await waitFor('the capture to begin', async () => {
    return existsSync(path) && (await world.gateway.metric('culvert_captures_active')) > before;
  });
  await traffic();
  const { code, stderr } = await done;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return path;
}

async function tshark(path: string, ...args: string[]): Promise<string[]> {
  const { gw } = world.topology;
  const { code, stdout, stderr } = await world.topology.run(
    gw,
    'tshark',
    '-n',
    '-r',
    path,
    ...args,
  );
  if (code !== 0) throw new Error(stderr);
  return stdout.trimEnd().split('\n');
}

describe.each(FAMILIES)('$name', ({ name, host }) => {
  test('a transfer: every checksum is right, and comments say whose packet it is', async () => {
    const transfer = { up: 200_000, down: 300_000 };
    const path = await captured(`${name}.pcapng`, ['--seconds', '3', `dst = ${host}`], async () => {
      const result = await transferBetween(world.client, world.server, host, transfer);
      expect(result).toMatchObject(intact(transfer));
    });
    const check = ['-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE'];
    const bad = await tshark(
      path,
      ...check,
      '-Y',
      'tcp.checksum.status == 0 || ip.checksum.status == 0',
    );
    expect(bad).toEqual(['']);
    expect(await tshark(path, '-Y', '_ws.malformed')).toEqual(['']);
    const comments = await tshark(path, '-T', 'fields', '-e', 'frame.comment');
    expect(comments[0]).toMatch(/^flow \w+, tcp /);
    expect(comments.some((text) => /forward by script route@\d+/.test(text))).toBe(true);
    expect(comments.some((text) => text.includes('superpacket'))).toBe(true);
    // What was sent is all there: the sequence numbers have no hole.
    const lost = await tshark(
      path,
      '-Y',
      'tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment',
    );
    expect(lost).toEqual(['']);
    const names = await tshark(path, '-T', 'fields', '-e', 'frame.interface_name');
    expect(new Set(names)).toEqual(new Set(['culvert0']));
    expect([...readCapture(readFileSync(path))].length).toBe(comments.length);
  });

  test('only what is dropped, with the reason', async () => {
    const path = await captured(`drops-${name}.pcapng`, ['--drops', '--seconds', '2'], () =>
      world.client.call('connect', { host, port: 81, timeoutMs: 500 }),
    );
    const comments = await tshark(
      path,
      '-Y',
      'tcp.dstport == 81',
      '-T',
      'fields',
      '-e',
      'frame.comment',
    );
    expect(comments[0]).toMatch(/^dropped after a wait: verdict-drop; flow \w+, tcp/);
  });
});

test('tcpdump reads it from a pipe', async () => {
  const port = await world.server.call('echo', { port: 0 });
  const socket = join(world.gateway.folder, 'admin.sock');
  const capture = `"$0" capture --count 3 --admin unix://${socket} dport = ${port}`;
  const command = `${capture} | tcpdump -n -vv -r -`;
  const done = world.topology.run(world.topology.gw, 'sh', '-c', command, culvertBinary());
  await waitFor('the capture to begin', async () => {
    return (await world.gateway.metric('culvert_captures_active')) > 0;
  });
  await world.client.call('connect', { host: IPV4.server, port, timeoutMs: 5000 });
  const { code, stdout } = await done;
  expect(code).toBe(0);
  expect(stdout).toContain('Flags [S]');
  expect(stdout).toContain('Flags [S.]');
  expect(stdout).not.toContain('incorrect');
});

test('one flow, and no more of each packet than is wanted', async () => {
  const port = await world.server.call('echo', { port: 0 });
  const id = await world.client.call('hold', {
    ...{ host: IPV4.server, port, flows: 2, blockBytes: 4000, intervalMs: 50 },
  });
  await world.client.call('holdLive', { id });
  const { flows } = await world.gateway.json<{ flows: { id: string; src_port: number }[] }>(
    `/v1/flows?filter=dport=${port}`,
  );
  const flow = flows[0]!;
  const path = await captured(
    'flow.pcapng',
    ['--flow', flow.id, '--snaplen', '60', '--seconds', '1'],
    async () => {},
  );
  const rows = await tshark(path, '-T', 'fields', '-e', 'tcp.port', '-e', 'frame.cap_len');
  expect(rows.length).toBeGreaterThan(5);
  for (const row of rows) {
    const [ports = '', length = '0'] = row.split('\t');
    expect(ports.split(',')).toContain(String(flow.src_port));
    expect(Number(length)).toBeLessThanOrEqual(60);
  }
  await world.client.call('holdStop', { id });
});

test('both ends of a connection, as ss -ti shows them', async () => {
  const port = await world.server.call('echo', { port: 0 });
  const id = await world.client.call('hold', {
    ...{ host: IPV4.server, port, flows: 1, blockBytes: 4000, intervalMs: 50 },
  });
  await world.client.call('holdLive', { id });
  const { code, stdout } = await world.gateway.cli('flows', '--info', `dport=${port}`);
  expect(code).toBe(0);
  const [flow, client, upstream] = stdout.split('\n');
  expect(flow).toMatch(/^tcp ESTABLISHED .* -> .* id:\w+ forward by route@\d+ up /);
  expect(client).toMatch(
    /client .*cubic wscale:\d+,\d+ rto:[\d.]+ rtt:[\d.]+\/[\d.]+ mss:1\d\d\d /,
  );
  expect(upstream).toMatch(/upstream .*ESTABLISHED rto:\d+ rtt:[\d.]+\/[\d.]+ mss:\d+ /);
  await world.client.call('holdStop', { id });
});

test('a client that goes away ends its capture', async () => {
  const stop = new AbortController();
  const response = await world.gateway.api('/v1/capture', { signal: stop.signal });
  await response.body?.getReader().read();
  // The head of the file is there before the data plane has begun.
  const active = () => world.gateway.metric('culvert_captures_active');
  await waitFor('the capture to run', async () => (await active()) === 1);
  stop.abort();
  await waitFor('the capture to end', async () => {
    return (await world.gateway.metric('culvert_captures_active')) === 0;
  });
});

test('the sums of all frames hold, and every frame out has a cause', async () => {
  await waitFor('the sums to agree', async () => {
    const metric = (name: string) => world.gateway.metric(name);
    const into = (kind: string) =>
      metric(`culvert_tun_packets_total{direction="in",kind="${kind}"}`);
    const accounted =
      (await metric('culvert_ingress_frames_total')) +
      (await metric('culvert_ingress_frames_waiting'));
    return accounted === (await into('frame')) + (await into('superframe')) && accounted > 0;
  });
});

describe('with two queues', () => {
  const SOCKETS = 20;
  const listeners = [{ name: 'out', protocol: 'any', action: 'nat' }] as const;

  test.each(FAMILIES)(
    'an error that comes to another queue than its $name flow is there once, with it, in order',
    async ({ name, host }) => {
      const config = { device: { queues: 2 }, listeners: [...listeners] };
      await using natWorld = await World.startNat({ config });
      const { gateway, client, topology } = natWorld;
      const family = name === 'IPv4' ? 4 : 6;
      // Else the kernel of the server tells only some of them.
      const limit = family === 4 ? 'net.ipv4.icmp_ratelimit' : 'net.ipv6.icmp.ratelimit';
      topology.exec(topology.server, 'sysctl', '-qw', `${limit}=0`);
      const path = join(gateway.folder, 'queues.pcapng');
      const done = gateway.cli('capture', '--seconds', '3', 'dport = 9', '-w', path);
      await waitFor('the capture to begin', async () => {
        return (await gateway.metric('culvert_captures_active')) > 0;
      });
      for (let i = 0; i < SOCKETS; i++) {
        const { id } = await client.call('udpOpen', { family, to: { host, port: 9 } });
        await client.call('udpSend', { id, text: 'x' });
        const news = await client.call('udpNext', { id, timeoutMs: 3000 });
        expect(news).toEqual({ error: 'ECONNREFUSED' });
      }
      expect((await done).code).toBe(0);
      const handedOver = await gateway.metric('culvert_queue_frames_handed_over_total');
      expect(handedOver).toBeGreaterThan(0);
      const columns = ['-e', 'frame.comment', '-e', 'frame.time_epoch'];
      const args = ['-n', '-r', path, '-T', 'fields', ...columns];
      const { stdout } = await topology.run(topology.gw, 'tshark', ...args);
      const rows = stdout.trimEnd().split('\n');
      // Datagram and error, each into the gateway and out of it.
      expect(rows).toHaveLength(SOCKETS * 2 * 2);
      const [comments, times] = [0, 1].map((at) => rows.map((row) => row.split('\t')[at] ?? ''));
      expect(comments?.filter((comment) => !/(^|; )flow \w+, udp /.test(comment))).toEqual([]);
      expect(times).toEqual(times?.toSorted((a, b) => Number(a) - Number(b)));
    },
    60_000,
  );
});
