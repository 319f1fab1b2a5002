import { describe, expect, test } from 'bun:test';
import { parseDeviceSource } from '../../../../src/gateway/config/device-schema.ts';
import { parseConfig } from '../../../../src/gateway/config/load.ts';
import { passedDescriptor } from '../../../../src/gateway/supervisor/device/device-source.ts';

const PID = 77;
const ENV = { LISTEN_PID: '77', LISTEN_FDS: '3', LISTEN_FDNAMES: 'api:tun:tun' };

describe('a device from the service manager', () => {
  test('is the first descriptor of that name', () =>
    expect(passedDescriptor('tun', ENV, PID)).toBe(4));

  test.each([
    [{}, 'no descriptor was passed (LISTEN_FDS)'],
    [{ ...ENV, LISTEN_FDS: '0' }, 'no descriptor was passed (LISTEN_FDS)'],
    [{ ...ENV, LISTEN_FDS: 'x' }, 'no descriptor was passed (LISTEN_FDS)'],
    [{ ...ENV, LISTEN_PID: '78' }, 'for process 78, and this is 77 (LISTEN_PID)'],
    [{ ...ENV, LISTEN_FDNAMES: 'api:web' }, 'what was passed are "api", "web" (LISTEN_FDNAMES)'],
    [{ ...ENV, LISTEN_FDS: '1' }, 'what was passed are "api" (LISTEN_FDNAMES)'],
    [{ LISTEN_PID: '77', LISTEN_FDS: '1' }, 'what was passed are "" (LISTEN_FDNAMES)'],
  ])('with %p is an error that says why', (env, why) =>
    expect(() => passedDescriptor('tun', env, PID)).toThrow(why),
  );
});

describe('device.name', () => {
  test.each([
    ['culvert0', { kind: 'interface', name: 'culvert0' }],
    ['fd://3', { kind: 'descriptor', fd: 3 }],
    ['systemd://tun', { kind: 'systemd', fdName: 'tun' }],
  ])('%s', (name, source) => {
    expect(parseDeviceSource(name)).toEqual(source as ReturnType<typeof parseDeviceSource>);
    expect(parseConfig(`device: {name: '${name}'}`, 'c').device.name).toBe(name);
  });

  test.each(['fd://', 'fd://x', 'fd:3', 'systemd://', 'systemd://a:b', 'a/b', 'sixteen-bytes-aa'])(
    '%s is refused',
    (name) => expect(() => parseConfig(`device: {name: '${name}'}`, 'c')).toThrow('device.name'),
  );

  test('a descriptor is one queue', () => {
    expect(() => parseConfig("device: {name: 'fd://3', queues: 2}", 'c')).toThrow(
      'device.queues: a descriptor that is handed over is one queue',
    );
  });

  test('only of an interface that is made here the MTU has a default', () => {
    expect(parseConfig('', 'c').device.mtu).toBe(1500);
    expect(parseConfig("device: {name: 'fd://3'}", 'c').device.mtu).toBeUndefined();
    expect(parseConfig("device: {name: 'fd://3', mtu: 1400}", 'c').device.mtu).toBe(1400);
  });
});
