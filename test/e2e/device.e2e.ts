/**
 * The device changes under flows that live: it is swapped, goes down and up, gets another MTU, and
 * is deleted. Nothing hangs, and TCP loses nothing.
 *
 *   client                    gw                                server
 *     agent ── c0 ═══ g0 ──► culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── agent, iperf3
 */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { ConfigInput } from '../../src/gateway/config/schema.ts';
import { FAMILIES, IPV4, IPV6 } from '../support/netns.ts';
import {
  intact,
  type Transfer,
  type TransferResult,
  transferBetween,
} from '../support/transfers.ts';
import { waitFor } from '../support/wait.ts';
import { DEVICE, World } from '../support/world.ts';

const MB = 1_000_000;
/** The gateway's own packets have another way than those that it shall get. */
const MARK = 77;
const OWN_TABLE = 99;

const CONFIG: ConfigInput = {
  device: { routes: ['198.18.0.0/15', '2001:db8::/32'], name: DEVICE },
  egress: { fwmark: MARK },
};

/** Passes everything on, and talks itself to port 7: claimed flows live as others do. */
const SCRIPT = `
import { claim, forward } from "culvert";
export default {
  flow(flow) { return flow.dst.port === 7007 ? claim() : forward(); },
  async connect(conn) {
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
      await conn.write(bytes);
    }
    await conn.close();
  },
};
`;

interface DeviceAnswer {
  readonly name: string;
  readonly up: boolean;
  readonly mtu: number;
  readonly offload: boolean;
  readonly events: readonly { readonly event: string }[];
}

let world: World;

async function start(device: ConfigInput['device'] = {}): Promise<void> {
  world = await World.startRouted({
    config: { ...CONFIG, device: { ...CONFIG.device, ...device } },
    scripts: { all: SCRIPT },
  });
  const { topology } = world;
  for (const family of ['-4', '-6']) {
    const via = family === '-4' ? '10.99.0.2' : 'fd99::2';
    topology.ip(topology.gw, `${family} route add default via ${via} table ${OWN_TABLE}`);
    // While there is no device, nothing for it goes elsewhere.
    const prefix = family === '-4' ? '198.18.0.0/15' : '2001:db8::/32';
    topology.ip(topology.gw, `${family} route add blackhole ${prefix} metric 4096`);
    topology.ip(topology.gw, `${family} rule add fwmark ${MARK} table ${OWN_TABLE}`);
  }
}

beforeEach(() => start());
afterEach(() => world?.[Symbol.asyncDispose]());

const device = () => world.gateway.json<DeviceAnswer>('/v1/device');
const askSwap = (body: object, tag: string) =>
  world.gateway.api('/v1/device/swap', {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json', 'If-Match': tag },
  });
async function swap(body: object = {}): Promise<void> {
  const answer = await askSwap(body, '*');
  if (!answer.ok) throw new Error(await answer.text());
}
/** Writes other values of `device` into the config file, and has it read. */
function reload(change: ConfigInput['device']) {
  const file = join(world.gateway.folder, 'config.yaml');
  const config = parse(readFileSync(file, 'utf8'));
  writeFileSync(file, stringify({ ...config, device: { ...config.device, ...change } }));
  return world.gateway.cli('reload');
}
const inGateway = (command: string) => world.topology.ip(world.topology.gw, command);
const happened = (event: string, times = 1) =>
  waitFor(`event ${event}`, async () => {
    const { events } = await device();
    return events.filter((entry) => entry.event === event).length >= times || undefined;
  });

/** Runs transfers of both families and directions, and `work` meanwhile; every byte arrives. */
async function during(work: () => Promise<void>, transfer: Transfer): Promise<void> {
  const running = FAMILIES.map(({ server }) =>
    transferBetween(world.client, world.server, server, transfer),
  );
  let results: TransferResult[] | undefined;
  const all = Promise.all(running).then((done) => {
    results = done;
    return done;
  });
  await waitFor(
    'the transfers',
    async () => (await world.gateway.metric('culvert_flows_active')) >= 2,
  );
  await work();
  expect(results).toBeUndefined();
  for (const result of await all) expect(result).toMatchObject(intact(transfer));
}

const LONG: Transfer = { up: 150 * MB, down: 150 * MB };

describe('during transfers', () => {
  test('swaps of the device, of the same name and of others', async () => {
    await during(async () => {
      await swap();
      expect(await device()).toMatchObject({ name: DEVICE, up: true, offload: true });
      await swap({ name: 'culvert1' });
      expect(await device()).toMatchObject({ name: 'culvert1', up: true });
      await swap({ name: DEVICE });
    }, LONG);
    expect(inGateway('link')).not.toContain('culvert1');
    expect(inGateway('link')).not.toContain('culvert-swap');
    await world.gateway.waitForLog('device-swapped', ({ msg }) => msg === 'device-swapped');
    expect(await world.gateway.metric('culvert_tun_events_total{event="swapped"}')).toBe(3);
    expect(await world.gateway.metric('culvert_data_plane_restarts_total')).toBe(0);
  }, 60_000);

  test('the interface is deleted: it is made again', async () => {
    await during(async () => {
      inGateway(`link del ${DEVICE}`);
      await happened('recreated');
      inGateway(`link del ${DEVICE}`);
      await happened('recreated', 2);
    }, LONG);
    await world.gateway.waitForLog('device-gone', ({ msg }) => msg === 'device-gone');
    await world.gateway.waitForLog('device-recreated', ({ msg }) => msg === 'device-recreated');
    expect((await world.gateway.api('/readyz')).status).toBe(200);
    expect(await world.gateway.metric('culvert_data_plane_restarts_total')).toBe(0);
  }, 60_000);

  test('link down and up', async () => {
    await during(async () => {
      inGateway(`link set ${DEVICE} down`);
      await happened('down');
      inGateway(`link set ${DEVICE} up`);
      await happened('up');
    }, LONG);
    await world.gateway.waitForLog('device-down', ({ msg }) => msg === 'device-down');
    await world.gateway.waitForLog('device-up', ({ msg }) => msg === 'device-up');
  }, 60_000);

  test('reloads change MTU, queue, addresses and routes', async () => {
    const routes = CONFIG.device?.routes ?? [];
    const more = { addresses: ['10.55.0.1/24', 'fd55::1/64'], routes: [...routes, '10.56.0.0/16'] };
    await during(async () => {
      expect(await reload({ mtu: 1280, txQueueLength: 77, ...more })).toMatchObject({ code: 0 });
      // The data plane knows when the reload is done, and not a message of the kernel later.
      expect(await device()).toMatchObject({ mtu: 1280, tx_queue_length: 77 });
      expect(inGateway(`addr show ${DEVICE}`)).toContain('10.55.0.1/24');
      expect(inGateway('route')).toContain(`10.56.0.0/16 dev ${DEVICE}`);
      const back = { mtu: 9000, txQueueLength: 1000, addresses: [], routes };
      expect(await reload(back)).toMatchObject({ code: 0 });
    }, LONG);
    expect(await device()).toMatchObject({ mtu: 9000, tx_queue_length: 1000 });
    expect(inGateway(`addr show ${DEVICE}`)).not.toContain('55::1');
    expect(inGateway('route')).not.toContain('10.56.0.0');
    expect(await world.gateway.metric('culvert_data_plane_restarts_total')).toBe(0);
    expect(await world.gateway.metric('culvert_tun_events_total{event="mtu"}')).toBe(2);
  }, 60_000);

  test('reloads turn offload off and on', async () => {
    await during(async () => {
      for (const offload of [false, true]) {
        expect(await reload({ offload })).toMatchObject({ code: 0 });
        expect((await device()).offload).toBe(offload);
      }
    }, LONG);
    expect(await world.gateway.metric('culvert_data_plane_restarts_total')).toBe(0);
  }, 60_000);

  test('the MTU becomes smaller and larger', async () => {
    await during(async () => {
      for (const mtu of [1280, 1400, 9000, 1500]) {
        inGateway(`link set ${DEVICE} mtu ${mtu}`);
        await waitFor(`MTU ${mtu}`, async () => (await device()).mtu === mtu || undefined);
      }
    }, LONG);
    await world.gateway.waitForLog(
      'device-mtu',
      ({ msg, mtu }) => msg === 'device-mtu' && mtu === 1280,
    );
  }, 60_000);
});

test('a reload that the kernel refuses changes nothing, and names the place', async () => {
  const routes = [...(CONFIG.device?.routes ?? []), '10.56.0.0/16', '10.57.0.0/16'];
  inGateway('route add 10.57.0.0/16 dev up0');
  const before = inGateway(`addr show ${DEVICE}`);
  const refused = await reload({ mtu: 1400, addresses: ['10.55.0.1/24'], routes });
  expect(refused.code).toBe(4);
  expect(refused.stderr).toMatch(/config\.yaml:\d+:\d+: device\.routes\[3\]: .*EEXIST/);
  expect(inGateway(`addr show ${DEVICE}`)).toBe(before);
  expect(inGateway('route')).not.toContain('10.56.0.0');
  expect(await reload({ mtu: 1400, addresses: [], routes: routes.slice(0, 2) })).toMatchObject({
    code: 0,
  });
  const fixed = await reload({ queues: 3, name: 'other0' });
  expect(fixed.code).toBe(4);
  expect(fixed.stderr).toMatch(
    /device\.name: needs a restart[\s\S]*device\.queues: needs a restart/,
  );
});

test('of two who swap the device that they have seen, one does; all hear of it', async () => {
  const listening = new AbortController();
  const { signal } = listening;
  const stream = await world.gateway.api('/v1/events?type=DEVICE', { signal });
  const tag = (await world.gateway.api('/v1/device')).headers.get('ETag') ?? '';
  const answers = await Promise.all([askSwap({}, tag), askSwap({ name: 'culvert1' }, tag)]);
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 412]);
  let heard = '';
  for await (const bytes of stream.body!) {
    heard += new TextDecoder().decode(bytes);
    if (heard.includes('swapped')) break;
  }
  listening.abort();
  expect(heard).toMatch(/event: DEVICE\ndata: .*"what":"swapped","device":{"name":"culvert[01]"/);
  expect((await world.gateway.api('/v1/device/events')).status).toBe(404);
});

test('what is set by hand lives through a swap', async () => {
  inGateway(`link set ${DEVICE} mtu 1400 txqueuelen 77`);
  inGateway(`addr add 10.58.0.1/24 dev ${DEVICE}`);
  await swap();
  expect(await device()).toMatchObject({ name: DEVICE, mtu: 1400, tx_queue_length: 77 });
  expect(inGateway(`addr show ${DEVICE}`)).toContain('10.58.0.1/24');
  const transfer = { up: MB, down: MB };
  const result = await transferBetween(world.client, world.server, IPV4.server, transfer);
  expect(result).toMatchObject(intact(transfer));
});

test('a gateway without descriptors keeps its device, and says once what it lacks', async () => {
  const pid = String(world.gateway.pid);
  const limit = (soft: string) => {
    const { exitCode, stderr } = Bun.spawnSync(['prlimit', '--pid', pid, `--nofile=${soft}:`]);
    if (exitCode !== 0) throw new Error(stderr.toString());
  };
  limit('3');
  const unseen = ({ msg }: { msg?: unknown }) => msg === 'device-not-seen';
  const line = await world.gateway.waitForLog('the trouble', unseen);
  expect(String(line['why'])).toContain('EMFILE');
  await Bun.sleep(2500);
  limit('4096');
  await world.gateway.waitForLog('its end', ({ msg }) => msg === 'device-seen-again');
  const errors = 'culvert_tun_watch_errors_total{code="EMFILE"}';
  expect(await world.gateway.metric(errors)).toBeGreaterThanOrEqual(2);
  expect(world.gateway.logs.filter(unseen)).toHaveLength(1);
  expect((await device()).events).not.toContainEqual(expect.objectContaining({ event: 'gone' }));
  expect((await world.gateway.api('/readyz')).status).toBe(200);
}, 30_000);

test('a claimed flow lives through a swap and a deletion', async () => {
  const { topology } = world;
  const talk = topology.spawnPiped(topology.client, ['nc', '-N', IPV4.server, '7007']);
  const reader = talk.stdout.getReader();
  const say = async (word: string) => {
    talk.stdin.write(`${word}\n`);
    await talk.stdin.flush();
    let got = '';
    while (!got.includes('\n')) got += new TextDecoder().decode((await reader.read()).value);
    expect(got).toBe(`${word}\n`);
  };
  await say('before');
  await swap();
  await say('swapped');
  inGateway(`link del ${DEVICE}`);
  await happened('recreated');
  await say('recreated');
});

test('a data plane that dies after a swap is replaced by one with the new device', async () => {
  await swap({ name: 'culvert1' });
  for (const pid of world.gateway.children('__data-plane')) process.kill(pid, 'SIGKILL');
  await world.gateway.waitForLog('the end', ({ msg }) => msg === 'data-plane-exited');
  await world.gateway.ready();
  const transfer = { up: MB, down: MB };
  const result = await transferBetween(world.client, world.server, IPV4.server, transfer);
  expect(result).toMatchObject(intact(transfer));
  expect(await device()).toMatchObject({ name: 'culvert1', up: true });
});

test('flows that begin after a change of the MTU have segments that fit', async () => {
  inGateway(`link set ${DEVICE} mtu 1300`);
  await waitFor('the MTU', async () => (await device()).mtu === 1300 || undefined);
  const result = await transferBetween(world.client, world.server, IPV6.server, {
    up: MB,
    down: MB,
  });
  expect(result).toMatchObject(intact({ up: MB, down: MB }));
});

test('without virtio-net headers everything works, and a swap too', async () => {
  await world[Symbol.asyncDispose]();
  await start({ offload: false });
  expect(await device()).toMatchObject({ offload: false });
  await during(
    async () => {
      await swap();
    },
    { up: 60 * MB, down: 60 * MB },
  );
  expect(await world.gateway.metric('culvert_tun_packets_coalesced_total')).toBeGreaterThan(1000);
}, 60_000);
