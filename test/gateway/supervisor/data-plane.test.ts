import { afterEach, describe, expect, test } from 'bun:test';
import { createEventFd } from '../../../src/ffi/eventfd.ts';
import { socketPair } from '../../../src/ffi/sockets.ts';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { toLiveConfig, toPlaneBounds, toStartConfig } from '../../../src/gateway/config/plane.ts';
import { DataPlane } from '../../../src/gateway/supervisor/data-plane.ts';
import { fakeCommand, rememberingLog, told, until } from './support.ts';

const planes: DataPlane[] = [];
afterEach(async () => {
  await Promise.all(planes.splice(0).map((plane) => plane.stop()));
});

const factsOf = (name: string) => ({ name, mtu: 1500, vnetHeader: true, offloads: 0 });

function setUp(mode = 'plain') {
  const config = parseConfig('', 'c');
  const { lines, log } = rememberingLog();
  const seen = { rows: 0, givenUp: 0 };
  const loop = { turns: 0, stands: false };
  const plane = new DataPlane({
    log,
    start: toStartConfig(config, factsOf('x0')),
    bounds: toPlaneBounds(config),
    live: toLiveConfig(config, 1),
    scripts: { state: 'up', epoch: 4 },
    fds: [createEventFd()],
    handover: socketPair('seqpacket')[0],
    // Less than a late answer takes, and more than half of it.
    answerTimeoutMs: 200,
    onDeviceState: () => {},
    onHostSocketShut: () => {},
    loopTurns: () => (loop.stands ? loop.turns : ++loop.turns),
    lookPeriodMs: 5,
    onFlowRows: (rows) => {
      seen.rows += rows.length;
    },
    onGivenUp: () => {
      seen.givenUp++;
    },
    command: fakeCommand(mode),
  });
  planes.push(plane);
  const starts = () => told(lines, 'start');
  return { plane, lines, seen, starts, config, loop };
}

describe('a data plane', () => {
  test('is started with config and scripts, and reports rows of flows', async () => {
    const { plane, seen, starts, config } = setUp();
    await plane.ready;
    await until(() => starts().length === 1, 'the start');
    expect(starts()[0]).toMatchObject({ scripts: { state: 'up', epoch: 4 } });
    plane.configure(toLiveConfig(config, 2));
    await until(() => seen.rows === 256, 'a row');
  });

  test('that ends is started again at once on what was told last', async () => {
    const { plane, lines, starts } = setUp();
    await plane.ready;
    const { pid } = plane;
    plane.setScripts({ state: 'down', epoch: 5 });
    await until(() => starts().length === 2, 'the second start');
    expect(starts()[1]).toMatchObject({ scripts: { state: 'down', epoch: 5 } });
    expect(plane.pid).not.toBe(pid as number);
    expect(plane.restarts).toBe(1);
    expect(lines.find((line) => line.msg === 'data-plane-exited')).toMatchObject({
      code: 5,
      restart_in_ms: 0,
    });
  });

  test('whose loop stands still is said to be stuck, killed and replaced', async () => {
    const { plane, lines, starts, loop } = setUp();
    await plane.ready;
    const { pid } = plane;
    await Bun.sleep(50);
    expect(plane.isStuck).toBe(false);
    loop.stands = true;
    await until(() => plane.isStuck, 'the watch');
    loop.stands = false;
    await until(() => starts().length === 2 && plane.isReady, 'the second process');
    expect(plane.isStuck).toBe(false);
    expect(plane.pid).not.toBe(pid as number);
    const said = lines.map((line) => line.msg).filter((msg) => msg?.startsWith('data-plane'));
    expect(said).toEqual(['data-plane-stuck', 'data-plane-exited']);
  });

  test('answers kills and a drain', async () => {
    const { plane } = setUp();
    await plane.ready;
    expect(await plane.kill([{ row: 3, serial: 99 }])).toBe(1);
    expect(await plane.drain(1000)).toBe(2);
  });

  test('is asked to end many flows in batches, each when the one before is done', async () => {
    const { plane, lines } = setUp();
    await plane.ready;
    const flows = Array.from({ length: 80 }, (_, row) => ({ row, serial: row + 1 }));
    expect(await plane.kill(flows)).toBe(80);
    const batches = told(lines, 'kill').map((message) => message['flows'] as typeof flows);
    expect(batches.map((batch) => batch.length)).toEqual([32, 32, 16]);
    expect(batches.flat()).toEqual(flows);
  });

  test('that does not answer a kill is not asked for the rest', async () => {
    const { plane, lines } = setUp('deaf');
    await plane.ready;
    const flows = Array.from({ length: 40 }, (_, row) => ({ row, serial: row + 1 }));
    expect(await plane.kill(flows)).toBe(0);
    expect(told(lines, 'kill')).toHaveLength(1);
  });

  test('that never ran has nothing to drain', async () =>
    expect(await setUp('crash').plane.drain(1000)).toBe(0));

  test('that talks garbage is replaced', async () => {
    const { lines } = setUp('garbage');
    await until(() => lines.some((line) => line.msg === 'data-plane-exited'), 'the end');
    expect(JSON.stringify(lines)).toContain('impossible frame');
  });

  describe('that takes a device when nobody waits for that any more', () => {
    const given = (lines: ReturnType<typeof setUp>['lines']) =>
      told(lines, 'device').map(({ device }) => (device as { name: string }).name);

    test('is called back to the one before, and lives on', async () => {
      const { plane, lines } = setUp();
      await plane.ready;
      const { pid } = plane;
      await expect(plane.swapDevice(createEventFd(), factsOf('late0'))).rejects.toThrow(
        'does not answer',
      );
      await until(() => told(lines, 'device-release').length === 1, 'the way back');
      expect(given(lines)).toEqual(['late0', 'x0']);
      expect([plane.pid, plane.restarts]).toEqual([pid, 0]);
    });

    test('is left alone when it has taken another one by then', async () => {
      const { plane, lines } = setUp();
      await plane.ready;
      await plane.swapDevice(createEventFd(), factsOf('late0')).catch(() => {});
      await plane.swapDevice(createEventFd(), factsOf('x1'));
      await plane.releaseDevice();
      expect(given(lines)).toEqual(['late0', 'x1']);
      expect(plane.restarts).toBe(0);
    });

    test('is replaced when it cannot go back, however often, and that is no crash', async () => {
      const { plane, lines, seen, starts } = setUp();
      for (let round = 1; round <= 10; round++) {
        await until(() => plane.isReady && starts().length === round, `start ${round}`);
        await plane.swapDevice(createEventFd(), factsOf('astray0')).catch(() => {});
      }
      await until(() => starts().length === 11, 'the last');
      expect(seen.givenUp).toBe(0);
      expect(plane.restarts).toBe(10);
      expect(lines.filter(({ msg }) => msg === 'data-plane-exited')).toEqual([]);
      expect(lines.find(({ msg }) => msg === 'data-plane-replaced')).toMatchObject({
        why: 'refused',
      });
      expect(starts()[10]).toMatchObject({ start: { device: { name: 'x0' } } });
    }, 20_000);
  });

  test('that is to begin with another device while it is down has not crashed twice', async () => {
    const { plane, seen, starts, lines } = setUp();
    await plane.ready;
    plane.setScripts({ state: 'down', epoch: 5 });
    await until(() => !plane.isReady, 'the end');
    plane.replaceOn(createEventFd(), factsOf('x1'));
    const isOnOther = () => JSON.stringify(starts().at(-1)).includes('x1');
    await until(() => isOnOther() && plane.isReady, 'one with the other device');
    // One may have begun with the device before, in the moment between: it is replaced.
    expect(lines.filter(({ msg }) => msg === 'data-plane-exited')).toHaveLength(1);
    expect(seen.givenUp).toBe(0);
  });

  test('that is stopped stays so', async () => {
    const { plane, lines } = setUp();
    await plane.ready;
    await plane.stop();
    await Bun.sleep(50);
    expect(lines.filter((line) => line.msg === 'data-plane-exited')).toEqual([]);
  });
});
