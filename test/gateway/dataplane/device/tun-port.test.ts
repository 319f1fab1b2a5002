/** Every answer of the kernel to a read or a write has its action, and is counted. */
import { beforeEach, describe, expect, test } from 'bun:test';
import { Errno } from '../../../../src/ffi/errno.ts';
import { TunPort } from '../../../../src/gateway/dataplane/device/tun-port.ts';
import type { Reports } from '../../../../src/gateway/dataplane/reports.ts';
import type { FromDataPlane } from '../../../../src/gateway/messages/control.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../../../src/stack/counters.ts';
import type { Instant } from '../../../../src/stack/time.ts';
import { FULL_OFFLOAD } from '../../../support/memory-device.ts';
import { allocatedTypes } from '../../../support/no-alloc.ts';

const LENGTH = 60;
const SUPERFRAME_AT = 128;

/** A device that answers as it is told, the last answer for ever. */
class FakeTun {
  readonly fd = -1;
  answers: number[] = [];
  state: 'up' | 'down' | 'gone' = 'up';
  calls = 0;

  read(): number {
    return this.#next();
  }

  write(_address: number, length: number): number {
    const answer = this.#next();
    return answer === 0 ? length : answer;
  }

  probe(): 'up' | 'down' | 'gone' {
    return this.state;
  }

  #next(): number {
    const answer = this.answers[Math.min(this.calls, this.answers.length - 1)] ?? 0;
    this.calls += 1;
    return answer;
  }
}

let tun: FakeTun;
let counters: Counters;
let told: FromDataPlane[];
let port: TunPort;

beforeEach(() => {
  tun = new FakeTun();
  counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  told = [];
  const buffer = new ArrayBuffer(256);
  new DataView(buffer).setUint16(SUPERFRAME_AT + 4, 1448, true);
  const reports = { message: (message: FromDataPlane) => told.push(message) } as unknown as Reports;
  const memory = { buffer, address: 0 };
  const capabilities = { ...FULL_OFFLOAD };
  port = new TunPort({ device: tun, capabilities, memory, counters, reports });
});

const states = () =>
  told.flatMap((message) => (message.kind === 'device-state' ? [message.state] : []));
const downgrades = () => told.filter((message) => message.kind === 'log');

describe('a read', () => {
  test.each([
    ['EINVAL', Counter.DEVICE_READ_REFUSED],
    ['EMSGSIZE', Counter.DEVICE_READ_REFUSED],
    ['ENOMEM', Counter.DEVICE_READ_MEMORY],
    ['ENOBUFS', Counter.DEVICE_READ_MEMORY],
    ['EFAULT', Counter.DEVICE_READ_FAULT],
    ['EPERM', Counter.DEVICE_READ_OTHER],
  ] as const)('%s loses that frame, counted, and the next one is read', (name, counter) => {
    tun.answers = [-Errno[name], LENGTH];
    expect(port.read(0, 256)).toBe(LENGTH);
    expect(counters.get(counter)).toBe(1);
    expect(told).toEqual([]);
  });

  test('that is interrupted is repeated, and nothing is counted', () => {
    tun.answers = [-Errno.EINTR, LENGTH];
    expect(port.read(0, 256)).toBe(LENGTH);
    expect(counters.get(Counter.DEVICE_READ_OTHER)).toBe(0);
  });

  test('that fails again and again leaves the loop its turn', () => {
    tun.answers = [-Errno.EINVAL];
    expect(port.read(0, 256)).toBe(0);
    expect(tun.calls).toBe(16);
  });

  test.each(['EBADFD', 'EBADF'] as const)('%s: the interface is gone, told once', (name) => {
    tun.answers = [-Errno[name]];
    expect(port.read(0, 256)).toBe(0);
    expect(port.read(0, 256)).toBe(0);
    expect(port.isGone).toBe(true);
    expect(states()).toEqual(['gone']);
    expect(counters.get(Counter.DEVICE_UP_NOW)).toBe(0);
  });
});

describe('a write', () => {
  test.each([
    ['EINVAL', Counter.DEVICE_WRITE_REFUSED],
    ['EMSGSIZE', Counter.DEVICE_WRITE_TOO_LONG],
    ['EAGAIN', Counter.DEVICE_WRITE_BUSY],
    ['EINTR', Counter.DEVICE_WRITE_BUSY],
    ['ENOBUFS', Counter.DEVICE_WRITE_MEMORY],
    ['ENOMEM', Counter.DEVICE_WRITE_MEMORY],
    ['EFAULT', Counter.DEVICE_WRITE_FAULT],
    ['EPERM', Counter.DEVICE_WRITE_OTHER],
  ] as const)('%s loses that frame, counted, and nothing else', (name, counter) => {
    tun.answers = [-Errno[name], 0];
    expect(port.transmit(0, LENGTH)).toBe(false);
    expect(port.transmit(0, LENGTH)).toBe(true);
    expect(counters.get(counter)).toBe(1);
    expect(told).toEqual([]);
  });

  test('EIO: the device is down until a look says otherwise', () => {
    tun.answers = [-Errno.EIO];
    tun.state = 'down';
    expect(port.transmit(0, LENGTH)).toBe(false);
    expect(port.transmit(0, LENGTH)).toBe(false);
    expect(states()).toEqual(['down']);
    expect(counters.get(Counter.DEVICE_WRITE_DOWN)).toBe(2);
    port.check(1_000_000 as Instant);
    tun.state = 'up';
    port.check(1_100_000 as Instant);
    expect(states()).toEqual(['down']);
    port.check(1_600_000 as Instant);
    expect(states()).toEqual(['down', 'up']);
  });

  test('to an interface that is gone calls nobody', () => {
    tun.answers = [-Errno.EBADFD];
    expect(port.transmit(0, LENGTH)).toBe(false);
    expect(port.transmit(0, LENGTH)).toBe(false);
    expect(tun.calls).toBe(1);
    expect(counters.get(Counter.DEVICE_WRITE_GONE)).toBe(2);
    expect(states()).toEqual(['gone']);
  });
});

describe('superframes', () => {
  test.each([
    ['EINVAL', Counter.OFFLOAD_DOWNGRADES],
    ['EMSGSIZE', Counter.OFFLOAD_DOWNGRADES],
    ['EIO', Counter.OFFLOAD_DOWNGRADES_EIO],
  ] as const)('%s three times in a row: they are given up, with a reason', (name, counter) => {
    tun.answers = [-Errno[name]];
    for (let i = 0; i < 2; i++) port.transmit(SUPERFRAME_AT, LENGTH);
    expect(port.capabilities.tso4).toBe(true);
    port.transmit(SUPERFRAME_AT, LENGTH);
    expect(port.capabilities).toMatchObject({ tso4: false, tso6: false, uso: false });
    expect(counters.get(counter)).toBe(1);
    expect(counters.get(Counter.OFFLOAD_NOW)).toBe(0);
    expect(downgrades()).toHaveLength(1);
    expect(states()).toEqual([]);
  });

  test('one that is taken begins the count anew, a plain frame does not count', () => {
    tun.answers = [-Errno.EINVAL, -Errno.EINVAL, 0, -Errno.EINVAL, -Errno.EINVAL, 0];
    for (let i = 0; i < 5; i++) port.transmit(SUPERFRAME_AT, LENGTH);
    for (let i = 0; i < 9; i++) port.transmit(0, LENGTH);
    tun.answers = [-Errno.EINVAL];
    for (let i = 0; i < 9; i++) port.transmit(0, LENGTH);
    expect(port.capabilities.tso4).toBe(true);
  });

  test('another device has them again', () => {
    tun.answers = [-Errno.EINVAL];
    for (let i = 0; i < 3; i++) port.transmit(SUPERFRAME_AT, LENGTH);
    const { capabilities } = port;
    const next = new FakeTun();
    expect(port.swap(next, { ...FULL_OFFLOAD, mtu: 9000 })).toBe(tun);
    expect(port.capabilities).toBe(capabilities);
    expect(capabilities).toEqual({ ...FULL_OFFLOAD, mtu: 9000 });
    expect(counters.get(Counter.OFFLOAD_NOW)).toBe(1);
    expect(port.transmit(SUPERFRAME_AT, LENGTH)).toBe(true);
    expect(next.calls).toBe(1);
  });
});

test('a device in the place of one that is gone is used', () => {
  tun.answers = [-Errno.EBADFD];
  port.read(0, 256);
  const next = new FakeTun();
  next.answers = [LENGTH];
  port.swap(next, { ...FULL_OFFLOAD });
  expect(port.isGone).toBe(false);
  expect(port.read(0, 256)).toBe(LENGTH);
  expect(counters.get(Counter.DEVICE_UP_NOW)).toBe(1);
});

test('no error allocates', () => {
  const errors = [-Errno.EINVAL, -Errno.EAGAIN, -Errno.ENOBUFS, 0];
  expect(
    allocatedTypes((call) => {
      tun.answers[0] = errors[call % errors.length]!;
      port.transmit(0, LENGTH);
      port.read(0, 256);
    }),
  ).toEqual([]);
});
