import { describe, expect, test } from 'bun:test';
import {
  parseStat,
  processCpuMs,
  WALL_BOUND_MS,
  Watchdog,
} from '../../../src/gateway/supervisor/watchdog.ts';

const LIMIT_MS = 100;
const START_US = 1_000_000;

/** A host that entered a script at START_US, looked at once; its clocks are moved by hand. */
function busyHost() {
  let cpuMs = 40;
  const watchdog = new Watchdog(() => cpuMs);
  const look = (afterMs: number, burntMs: number, busySince = START_US) => {
    cpuMs = 40 + burntMs;
    return watchdog.judge({ now: START_US + afterMs * 1000, busySince }, LIMIT_MS);
  };
  look(0, 0);
  return look;
}

describe('a host that stays inside a script', () => {
  test('is innocent until the limit', () => expect(busyHost()(LIMIT_MS, 100)).toBe('innocent'));

  test('is killed when it burnt the limit as well', () =>
    expect(busyHost()(LIMIT_MS + 1, LIMIT_MS)).toBe('cpu'));

  test('is innocent while a busy machine does not let it run', () => {
    const look = busyHost();
    expect(look(1500, 60)).toBe('innocent');
    expect(look(1600, 100)).toBe('cpu');
  });

  test('is killed at the bound of the clock, whatever it burnt', () =>
    expect(busyHost()(WALL_BOUND_MS + 1, 0)).toBe('wall'));

  test('starts anew with each entry', () => {
    const look = busyHost();
    expect(look(150, 90, START_US + 140_000)).toBe('innocent');
    expect(look(190, 180, START_US + 140_000)).toBe('innocent');
    expect(look(250, 195, START_US + 140_000)).toBe('cpu');
  });

  test('is innocent when it left in between', () => {
    const look = busyHost();
    expect(look(90, 90, 0)).toBe('innocent');
    expect(look(150, 150, 0)).toBe('innocent');
  });

  test('is innocent while its entry lies ahead, as it does during a load', () => {
    const look = busyHost();
    expect(look(800, 800, START_US + 900_000)).toBe('innocent');
    expect(look(950, 950, START_US + 900_000)).toBe('innocent');
  });
});

describe('processor time', () => {
  test('is read from behind a name that holds anything', () => {
    const stat = '42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0 1 0 5 6 7';
    expect(parseStat(stat)).toBe(1000);
  });

  test('of this process grows', () => {
    const before = processCpuMs(process.pid);
    const until = performance.now() + 60;
    while (performance.now() < until);
    expect(processCpuMs(process.pid)).toBeGreaterThan(before);
  });

  test('of a process that is gone is 0', () => expect(processCpuMs(2 ** 22 + 1)).toBe(0));
});
