/**
 * Bytes through the gateway: all arrive, once, in order, and the ends of both directions too.
 *
 *   client                    gw                        server
 *     agent ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── agent, HTTP, iperf3
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES, hostPort } from '../support/netns.ts';
import { gigabitsPerSecond, intact, type Transfer, transferBetween } from '../support/transfers.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

/** Of a TUN with MTU 1500: less the headers, and less the timestamps as well. */
const MSS_OF = { IPv4: [1460, 1448], IPv6: [1440, 1428] } as const;
const KIB = 1024;
const MB = 1_000_000;
const GB = 1000 * MB;

const around = (size: number): number[] => [size - 1, size, size + 1];

/** What `iperf3 -J` prints; when it fails, `end` is empty and the exit code may still be 0. */
interface IperfReport {
  readonly end: { readonly sum_received?: { readonly bits_per_second: number } };
}

let world: World;
beforeAll(async () => {
  world = await World.start();
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** Runs a transfer and expects every byte to arrive. */
async function expectIntact(host: string, transfer: Transfer) {
  const result = await transferBetween(world.client, world.server, host, transfer);
  expect(result).toMatchObject(intact(transfer));
  return result;
}

describe.each([...FAMILIES])('$name', ({ name, server: host }) => {
  const sizes = [0, 1, ...MSS_OF[name].flatMap(around), ...around(64 * KIB), 10 * MB];

  test('curl gets a page because the script said forward', async () => {
    const port = await world.server.call('http', { port: 0, text: 'from the server' });
    const url = `http://${hostPort(host, port)}/`;
    const curl = await world.topology.run(world.topology.client, 'curl', '-sS', '-m', '10', url);
    expect(curl).toMatchObject({ code: 0, stdout: 'from the server' });
    expect(await world.gateway.flowLog(host, port)).toMatchObject({
      verdict: 'forward',
      script: 'all',
      close_reason: 'eof',
    });
  });

  test.each(sizes)('%d bytes up arrive', async (size) => {
    await expectIntact(host, { up: size, down: 0 });
  });

  test.each(sizes)('%d bytes down arrive', async (size) => {
    await expectIntact(host, { up: 0, down: size });
  });

  test.each(sizes)('%d bytes in both directions at once arrive', async (size) => {
    await expectIntact(host, { up: size, down: size });
  });

  test('1 GB up arrives', async () => {
    const { server } = await expectIntact(host, { up: GB, down: 0 });
    console.log(`${name} up: ${gigabitsPerSecond(GB, server.ms).toFixed(1)} Gbit/s`);
  });

  test('1 GB down arrives', async () => {
    const { client } = await expectIntact(host, { up: 0, down: GB });
    console.log(`${name} down: ${gigabitsPerSecond(GB, client.ms).toFixed(1)} Gbit/s`);
  });

  test('after the FIN of the client, the server still sends', async () => {
    await expectIntact(host, { up: 100 * KIB, down: MB, waits: 'server' });
  });

  test('after the FIN of the server, the client still sends', async () => {
    await expectIntact(host, { up: MB, down: 100 * KIB, waits: 'client' });
  });

  test('a reset by the server is a reset for the client', async () => {
    const port = await world.server.call('resetter', { port: 0 });
    const end = { send: 0, receive: 0, seed: 1, peerSeed: 2, sendWhen: 'after-fin' } as const;
    const report = await world.client.call('transfer', { host, port, ...end });
    expect(report).toMatchObject({ received: 0, fin: false, error: 'ECONNRESET' });
    await world.gateway.flowLog(host, port, 'upstream-reset');
  });
});

test('what both sides wrote is what the log counted', async () => {
  const transfer = { up: 123_457, down: 7_654_321 };
  const result = await expectIntact(FAMILIES[0]?.server ?? '', transfer);
  expect(result.client.sent).toBe(transfer.up);
  const line = await world.gateway.waitForLog(
    'the flow with these bytes',
    (entry) => entry['bytes_up'] === transfer.up && entry['bytes_down'] === transfer.down,
  );
  expect(line).toMatchObject({ event: 'flow', proto: 'tcp', close_reason: 'eof' });
});

test('when all is done, no flow is left but in TIME-WAIT, and at most four slabs', async () => {
  await waitFor('the flows to end', async () => {
    return (await world.gateway.metric('culvert_flows_active')) === 0;
  });
  // Those that the next read of an upstream goes into.
  expect(await world.gateway.metric('culvert_slab_bytes')).toBeLessThan(5 * 64 * KIB);
});

describe.each([true, false])('iperf3 with offload %p', (offload) => {
  test.each([...FAMILIES])('both ways over $name', async ({ name, server: host }) => {
    await using other = await World.start({ config: { device: { offload } } });
    const { topology } = other;
    topology.spawn(topology.server, ['iperf3', '-s']);
    for (const direction of ['', '-R']) {
      const args = ['-c', host, '-t', '2', '-J', ...(direction === '' ? [] : [direction])];
      // The server needs a moment to listen, and one more to end the run before.
      const bits = await waitFor('iperf3', async () => {
        const { stdout } = await topology.run(topology.client, 'iperf3', ...args);
        const { end } = JSON.parse(stdout) as IperfReport;
        return end.sum_received?.bits_per_second;
      });
      console.log(
        `${name}, offload ${offload}, iperf3 ${direction}: ${(bits / 1e9).toFixed(2)} Gbit/s`,
      );
      expect(bits).toBeGreaterThan(20e6);
    }
  });
});
