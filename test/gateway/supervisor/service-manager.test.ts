import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { monotonicNow } from '../../../src/ffi/clock.ts';
import { ServiceManager } from '../../../src/gateway/supervisor/service-manager.ts';
import { DatagramReceiver } from '../../support/datagram-receiver.ts';
import { rememberingLog } from './support.ts';

let receiver: DatagramReceiver;
let environment: Record<string, string>;
let count = 0;

beforeEach(() => {
  environment = { NOTIFY_SOCKET: `@culvert-test-${process.pid}-${count++}` };
  receiver = new DatagramReceiver(environment['NOTIFY_SOCKET'] ?? '');
});
afterEach(() => receiver[Symbol.dispose]());

const manager = (more = {}) =>
  new ServiceManager({ ...environment, ...more }, rememberingLog().log);
const status = () => 'two\nlines';

describe('a service manager', () => {
  test('is told when packets are answered, by whom, and how it is', () => {
    using service = manager();
    service.ready(status, () => true);
    expect(receiver.all()).toEqual([
      { READY: '1', MAINPID: String(process.pid), STATUS: 'two lines' },
    ]);
  });

  test('is told of a reload with its time, and of its end', async () => {
    using service = manager();
    const decided = Promise.withResolvers<void>();
    const before = monotonicNow();
    const told = service.reloading(decided.promise, status);
    const [began, ...more] = receiver.all();
    expect(began).toMatchObject({ RELOADING: '1' });
    expect(Number(began?.['MONOTONIC_USEC'])).toBeWithin(before, monotonicNow() + 1);
    expect(more).toEqual([]);
    decided.resolve();
    await told;
    expect(receiver.all()).toEqual([{ READY: '1', STATUS: 'two lines' }]);
  });

  test('hears of the end of overlapping reloads once, behind the last', async () => {
    using service = manager();
    const slow = Promise.withResolvers<void>();
    const first = service.reloading(slow.promise, status);
    await service.reloading(Promise.resolve(), status);
    expect(receiver.all().map((message) => message['READY'])).toEqual([undefined, undefined]);
    slow.resolve();
    await first;
    expect(receiver.all()).toMatchObject([{ READY: '1' }]);
  });

  test('is told once that the gateway ends, and how long that may take', async () => {
    using service = manager();
    service.stopping(10_000);
    service.stopping(0);
    await service.reloading(Promise.resolve(), status);
    const [stopping, ...more] = receiver.all();
    expect(stopping).toMatchObject({ STOPPING: '1', EXTEND_TIMEOUT_USEC: '15000000' });
    expect(more.map((message) => message['READY'])).toEqual([undefined]);
  });

  test('that went away is no failure of the gateway, and is logged once', () => {
    const { log, lines } = rememberingLog();
    const service = new ServiceManager({ NOTIFY_SOCKET: '@culvert-nobody' }, log);
    service.ready(status, () => true);
    service.stopping(0);
    expect(lines.map((line) => line.msg)).toEqual(['service-manager-lost']);
  });

  test('that is not there is told nothing', () => {
    const { log, lines } = rememberingLog();
    new ServiceManager({}, log).ready(status, () => true);
    expect(lines).toEqual([]);
    expect(receiver.all()).toEqual([]);
  });
});

describe('the watchdog', () => {
  const WATCHDOG = { WATCHDOG_USEC: '60000', WATCHDOG_PID: String(process.pid) };
  const beats = () => receiver.all().filter((message) => message['WATCHDOG'] === '1').length;

  test('is fed at half of its time', async () => {
    using service = manager(WATCHDOG);
    service.ready(status, () => true);
    expect(beats()).toBe(1);
    await Bun.sleep(100);
    expect(beats()).toBeWithin(1, 5);
  });

  test('is not fed while a part is down, and at once when it is back', async () => {
    let healthy = false;
    using service = manager(WATCHDOG);
    service.ready(status, () => healthy);
    await Bun.sleep(80);
    expect(beats()).toBe(0);
    healthy = true;
    await Bun.sleep(60);
    expect(beats()).toBeGreaterThan(0);
  });

  test('of another process, or none, is not fed', async () => {
    using other = manager({ ...WATCHDOG, WATCHDOG_PID: '1' });
    using none = manager({ WATCHDOG_USEC: '0' });
    for (const service of [other, none]) service.ready(status, () => true);
    await Bun.sleep(50);
    expect(beats()).toBe(0);
  });
});
