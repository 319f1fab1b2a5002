import { expect, setDefaultTimeout, test } from 'bun:test';
import { Errno } from '../../../src/ffi/errno.ts';
import { SystemError } from '../../../src/ffi/errors.ts';
import { createEventFd } from '../../../src/ffi/eventfd.ts';
import { socketPair } from '../../../src/ffi/sockets.ts';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { toLiveConfig, toPlaneBounds, toStartConfig } from '../../../src/gateway/config/plane.ts';
import { DataPlanes } from '../../../src/gateway/supervisor/data-planes.ts';
import type { HostSocketFds } from '../../../src/gateway/supervisor/host-sockets.ts';
import { fakeCommand, PATIENT_TEST_MS, rememberingLog, told, until } from './support.ts';

setDefaultTimeout(PATIENT_TEST_MS);

const config = parseConfig('device: { queues: 2 }\nlimits: { flows: 100, heldSyns: 10 }', 'c');
const ROWS_EACH = 50;

const factsOf = (name: string) => ({ name, mtu: 1500, vnetHeader: true, offloads: 0 });

/** A device with two queues, as far as it matters here. */
const queuesOf = (name: string) => ({
  fds: [createEventFd(), createEventFd()],
  facts: factsOf(name),
});

function setUp(mode = 'plain', refusals = 0) {
  let refused = 0;
  const { lines, log } = rememberingLog();
  const replaced: HostSocketFds[] = [];
  let turns = 0;
  const planes = new DataPlanes({
    log,
    start: toStartConfig(config, factsOf('x0')),
    bounds: toPlaneBounds(config),
    live: toLiveConfig(config, 1),
    scripts: { state: 'none', epoch: 0 },
    queues: [1, 2].map(() => ({
      fds: Array.from({ length: 8 }, createEventFd),
      handover: socketPair('seqpacket')[0],
      loopTurns: () => ++turns,
    })),
    replaceHostSockets: () => {
      if (refused++ < refusals) throw new SystemError(Errno.EMFILE, 'socketpair');
      const made = { decisions: createEventFd(), conns: createEventFd() };
      replaced.push(made);
      return [made, made];
    },
    onDeviceState: () => undefined,
    onFlowRows: () => undefined,
    onGivenUp: () => undefined,
    command: fakeCommand(mode),
  });
  return { planes, lines, replaced };
}

test('each is started as one of two, with one secret', async () => {
  const { planes, lines } = setUp();
  await planes.untilReady();
  await until(() => told(lines, 'start').length === 2, 'two starts');
  const queues = told(lines, 'start').map(({ start }) => (start as { queue: object }).queue);
  expect(queues).toContainEqual(expect.objectContaining({ index: 0, count: 2 }));
  expect(queues).toContainEqual(expect.objectContaining({ index: 1, count: 2 }));
  const secrets = queues.map((queue) => JSON.stringify((queue as { hashSecret: [] }).hashSecret));
  expect(new Set(secrets).size).toBe(1);
  expect(planes.isReady).toBe(true);
  expect(new Set(planes.pids).size).toBe(2);
  await planes.stop();
});

test('a flow is ended by the one that has its row', async () => {
  const { planes, lines } = setUp();
  await planes.untilReady();
  const killed = await planes.kill([
    { row: 3, serial: 1 },
    { row: ROWS_EACH + 7, serial: 2 },
  ]);
  const orders = told(lines, 'kill').map(({ flows }) => flows);
  expect(orders).toContainEqual([{ row: 3, serial: 1 }]);
  expect(orders).toContainEqual([{ row: 7, serial: 2 }]);
  expect(killed).toBe(2);
  await planes.stop();
});

test('upstream sockets are asked for where their rows are, and captures everywhere', async () => {
  const { planes, lines } = setUp();
  await planes.untilReady();
  const sockets = await planes.inspect([
    { row: 3, serial: 1 },
    { row: ROWS_EACH + 7, serial: 2 },
  ]);
  expect(sockets).toEqual([]);
  const asked = told(lines, 'inspect').map(({ flows }) => flows);
  expect(asked).toContainEqual([{ row: 3, serial: 1 }]);
  expect(asked).toContainEqual([{ row: 7, serial: 2 }]);
  planes.setCaptures([{ slot: 0, number: 1, filter: '', snapLength: 96 }]);
  await until(() => told(lines, 'captures').length === 2, 'two orders');
  await planes.stop();
});

test('bounds of another config are shared as those of the start, and outlive a crash', async () => {
  const { planes, lines } = setUp();
  await planes.untilReady();
  planes.setBounds(toPlaneBounds(config));
  const wanted = parseConfig(
    'device: { queues: 2 }\nconntrack: { buckets: 64 }\n' +
      'limits: { flows: 80, heldSyns: 20, claims: 9, slabBytes: 64MiB, slabBytesPerFlow: 8MiB }',
    'c',
  );
  planes.setBounds(toPlaneBounds(wanted));
  await until(() => told(lines, 'bounds').length === 2, 'two orders');
  const MiB = 1024 * 1024;
  const share = {
    limits: { flows: 40, heldSyns: 10, slabBytes: 32 * MiB, slabBytesPerFlow: 8 * MiB },
    sessions: { limit: 8192 },
    claims: 5,
  };
  // What is as it was is not told.
  expect(told(lines, 'bounds')[0]).toMatchObject(share);
  planes.setScripts({ state: 'down', epoch: 5 });
  await until(() => told(lines, 'start').length === 4, 'other processes');
  const again = told(lines, 'start').slice(2) as { start: { limits: object }; bounds: object }[];
  for (const { start, bounds } of again) {
    // Memory is laid out as before, or the rows of those who died would not be found.
    expect(start.limits).toMatchObject({ flows: 50, slabBytes: 128 * MiB });
    expect(start.limits).not.toHaveProperty('flowBuckets');
    expect(bounds).toMatchObject(share);
  }
  await planes.stop();
});

/** Names of devices that a queue was given, in order. */
const given = (lines: ReturnType<typeof setUp>['lines']) =>
  told(lines, 'device').map(({ device }) => (device as { name: string }).name);

test('each goes on with its queue of another device', async () => {
  const { planes, lines } = setUp();
  await planes.untilReady();
  await planes.swapDevice(queuesOf('x1'), queuesOf('x0'));
  await planes.releaseDevice();
  expect(given(lines)).toEqual(['x1', 'x1']);
  expect(told(lines, 'device-release')).toHaveLength(2);
  await planes.stop();
});

test('when one of them cannot, those that did go back to the device before', async () => {
  const { planes, lines } = setUp();
  await planes.untilReady();
  const swapping = planes.swapDevice(queuesOf('half0'), queuesOf('x0'));
  await expect(swapping).rejects.toThrow('refused');
  expect(given(lines)).toEqual(['half0', 'half0', 'x0']);
  expect(told(lines, 'device-release')).toHaveLength(1);
  expect(planes.restarts).toBe(0);
  await planes.stop();
});

test('when a script host shuts a socket of one down, all go on with others', async () => {
  const { planes, lines, replaced } = setUp('shut');
  await planes.untilReady();
  const orders = () => told(lines, 'host-sockets');
  await until(() => orders().length === 2, 'the other sockets');
  // Both see it, and the first to say so is enough.
  expect(lines.find(({ msg }) => msg === 'script-socket-shut')).toMatchObject({
    level: 'error',
    queue: expect.any(Number),
    socket: 'decisions',
  });
  expect(replaced).toHaveLength(1);
  expect(planes.restarts).toBe(0);
  planes.setScripts({ state: 'none', epoch: 1 });
  await until(() => told(lines, 'start').length === 4, 'the next processes');
  await planes.untilReady();
  expect(orders()).toHaveLength(2);
  await planes.stop();
});

test('others that cannot be made are made later, and meanwhile all goes on', async () => {
  const { planes, lines, replaced } = setUp('shut', 2);
  await planes.untilReady();
  await until(() => told(lines, 'host-sockets').length === 2, 'the other sockets');
  const refused = lines.filter(({ msg }) => msg === 'script-socket-not-made');
  expect(refused.length).toBeGreaterThan(0);
  expect(refused[0]).toMatchObject({ why: expect.stringContaining('EMFILE'), again_in_ms: 0 });
  expect([replaced.length, planes.restarts]).toEqual([1, 0]);
  await planes.stop();
});
