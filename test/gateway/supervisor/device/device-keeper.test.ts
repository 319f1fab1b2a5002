/** A device under a keeper, in a namespace of its own, and a data plane that only listens. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { TunDevice } from '../../../../src/ffi/tun-device.ts';
import { parseConfig } from '../../../../src/gateway/config/load.ts';
import type { DeviceFacts } from '../../../../src/gateway/messages/control.ts';
import { Device } from '../../../../src/gateway/supervisor/device/device.ts';
import {
  DeviceKeeper,
  type DevicePlane,
  type DeviceQueues,
  SwapError,
} from '../../../../src/gateway/supervisor/device/device-keeper.ts';
import { Notices } from '../../../../src/gateway/supervisor/notices.ts';
import { COUNTERS_BYTES, Counters } from '../../../../src/stack/counters.ts';
import { ip, isRoot, NetworkNamespace, OtherNamespace } from '../../../ffi/support/namespace.ts';
import { rememberingLog, until } from '../support.ts';

const NAME = 'cvkeep0';
const ADDRESSES =
  'addresses: [10.9.0.1/24, fd09::1/64], routes: [198.51.100.0/24, 2001:db8:5::/48]';

/** A data plane that takes what it is given, or does not. */
class FakePlane implements DevicePlane {
  readonly swapped: DeviceFacts[] = [];
  readonly changes: DeviceFacts[] = [];
  released = 0;
  queues = 0;
  refusal: SwapError | undefined;

  async swapDevice({ fds, facts }: DeviceQueues): Promise<void> {
    if (this.refusal !== undefined) throw this.refusal;
    this.queues = fds.length;
    this.swapped.push(facts);
  }

  async releaseDevice(): Promise<void> {
    this.released += 1;
  }

  deviceChanged(facts: DeviceFacts): void {
    this.changes.push(facts);
  }
}

describe.skipIf(!isRoot)('a device', () => {
  let namespace: NetworkNamespace;
  let device: Device;
  let keeper: DeviceKeeper;
  let plane: FakePlane;
  let fatal: number;
  let backs: number;
  let lines: ReturnType<typeof rememberingLog>['lines'];

  beforeEach(() => {
    namespace = new NetworkNamespace();
  });

  afterEach(() => {
    keeper[Symbol.dispose]();
    device[Symbol.dispose]();
    namespace[Symbol.dispose]();
  });

  const sectionOf = (more: string, name: string) =>
    parseConfig(`device: {name: '${name}', ${ADDRESSES}, ${more}}`, 'c').device;

  function keep(more = '', name = NAME): void {
    const config = sectionOf(more, name);
    device = Device.open(config, {});
    device.routePool(['203.0.113.7']);
    plane = new FakePlane();
    fatal = 0;
    backs = 0;
    const remembered = rememberingLog();
    lines = remembered.lines;
    keeper = new DeviceKeeper({
      log: remembered.log,
      device,
      counters: new Counters(new ArrayBuffer(COUNTERS_BYTES)),
      notices: new Notices(),
      plane: () => plane,
      onFatal: () => fatal++,
      onBack: () => backs++,
    });
  }

  const events = () => keeper.events.last.map(({ event }) => event);
  const happens = (event: string) => until(() => events().includes(event), event);
  const logged = (message: string) => lines.find(({ msg }) => msg === message);
  const routes = () => ip('route') + ip('-6', 'route');
  const leadsTo = (name: string) => {
    const all = routes();
    expect(all).toContain(`198.51.100.0/24 dev ${name}`);
    expect(all).toContain(`2001:db8:5::/48 dev ${name}`);
    expect(all).toContain(`203.0.113.7 dev ${name}`);
    const addresses = ip('addr', 'show', name);
    expect(addresses).toContain('10.9.0.1/24');
    expect(addresses).toContain('fd09::1/64');
  };

  test('is up, with addresses and routes, and tells what happens to it', async () => {
    keep();
    leadsTo(NAME);
    ip('link', 'set', NAME, 'mtu', '1400');
    await happens('mtu');
    expect(plane.changes.at(-1)).toMatchObject({ name: NAME, mtu: 1400 });
    expect(logged('device-mtu')).toMatchObject({ device: NAME, mtu: 1400, before: 1500 });
    ip('link', 'set', NAME, 'txqueuelen', '77');
    await happens('queue');
    ip('link', 'set', NAME, 'down');
    await happens('down');
    ip('link', 'set', NAME, 'up');
    await happens('up');
    leadsTo(NAME);
    expect(backs).toBe(1);
    ip('link', 'set', NAME, 'name', 'cvkeep1');
    await happens('renamed');
    expect(device.name()).toBe('cvkeep1');
    expect(keeper.state.name).toBe('cvkeep1');
    expect(plane.changes.at(-1)).toMatchObject({ name: 'cvkeep1' });
    expect(keeper.view()).toMatchObject({ name: 'cvkeep1', mtu: 1400, tx_queue_length: 77 });
    expect(keeper.events.counts.get('down')).toBe(1);
  });

  test('that goes down without IPv6 gets its IPv4 routes back', async () => {
    keep();
    ip('link', 'set', NAME, 'down');
    await happens('down');
    writeFileSync(`/proc/sys/net/ipv6/conf/${NAME}/disable_ipv6`, '1');
    ip('link', 'set', NAME, 'up');
    await happens('up');
    expect(ip('route')).toContain(`198.51.100.0/24 dev ${NAME}`);
    expect(ip('route')).toContain(`203.0.113.7 dev ${NAME}`);
    expect(String(logged('device-not-restored')?.['why'])).toContain('EACCES');
  });

  test('down and up again at once is seen, both', async () => {
    keep();
    ip('link', 'set', NAME, 'down');
    ip('link', 'set', NAME, 'up');
    await happens('up');
    expect(events()).toEqual(['down', 'up']);
  });

  test('is followed to another namespace and back', async () => {
    keep();
    await using other = await OtherNamespace.create();
    other.take(NAME);
    await happens('moved');
    expect(keeper.state).toMatchObject({ isHere: false, isUp: false });
    other.ip('link', 'set', NAME, 'mtu', '1333', 'up');
    await happens('mtu');
    await happens('up');
    expect(plane.changes.at(-1)).toMatchObject({ mtu: 1333 });
    expect(fatal).toBe(0);
  });

  test('that somebody deletes is made again, with all that was set', async () => {
    keep();
    ip('link', 'del', NAME);
    await happens('recreated');
    leadsTo(NAME);
    expect(keeper.state).toMatchObject({ name: NAME, isUp: true });
    expect(plane.swapped).toHaveLength(1);
    expect(plane.released).toBe(1);
    expect(logged('device-gone')).toMatchObject({ again_in_ms: 0 });
    // It is watched as the first one was.
    ip('link', 'del', NAME);
    await until(() => plane.swapped.length === 2, 'the second');
    leadsTo(NAME);
    expect(fatal).toBe(0);
  });

  test('has its name after a swap and a deletion, and tells when it is back', async () => {
    keep();
    await keeper.swap();
    expect(device.name()).toBe(NAME);
    expect(backs).toBe(1);
    ip('link', 'del', NAME);
    expect(device.name()).toBe(NAME);
    await happens('recreated');
    expect(device.name()).toBe(NAME);
    await until(() => backs === 2, 'the device is back');
  });

  test('that is made again has the MTU and the queue that were seen last', async () => {
    keep();
    ip('link', 'set', NAME, 'mtu', '1400', 'txqueuelen', '0');
    await happens('queue');
    ip('link', 'del', NAME);
    await happens('recreated');
    expect(keeper.state).toMatchObject({ mtu: 1400, txQueueLength: 0 });
    expect(plane.swapped).toMatchObject([{ mtu: 1400 }]);
  });

  test('is made as soon as it can be', async () => {
    keep();
    plane.refusal = new SwapError('DATA_PLANE_NOT_READY', 'it does not run');
    ip('link', 'del', NAME);
    await until(() => logged('device-not-recreated') !== undefined, 'a refusal');
    expect(routes()).not.toContain(NAME);
    plane.refusal = undefined;
    await happens('recreated');
    leadsTo(NAME);
  });

  test('is not made again where the config says so, and the gateway ends', async () => {
    keep('recreate: false');
    ip('link', 'del', NAME);
    await until(() => fatal === 1, 'the end');
    expect(logged('device-lost')).toMatchObject({
      why: 'the interface was deleted, and device.recreate is false',
    });
  });

  test('that was handed over and is deleted is an end with its reason', async () => {
    const theirs = TunDevice.open({ name: NAME, offload: true });
    keep('', `fd://${theirs.fd}`);
    leadsTo(NAME);
    ip('link', 'del', NAME);
    await until(() => fatal === 1, 'the end');
    expect(String(logged('device-lost')?.['why'])).toContain('a descriptor that was handed over');
  });

  test('that was handed over keeps the offload that it was opened with', async () => {
    const theirs = TunDevice.open({ name: NAME, offload: true });
    keep('', `fd://${theirs.fd}`);
    const wanted = sectionOf('offload: false', `fd://${theirs.fd}`);
    await expect(keeper.change(wanted)).rejects.toMatchObject({
      path: ['device', 'offload'],
      message: 'a descriptor that was handed over stays as it is',
    });
  });

  describe('is swapped', () => {
    test('for one of the same name', async () => {
      keep();
      const before = device.tun.fd;
      await keeper.swap();
      leadsTo(NAME);
      expect(device.tun.fd).not.toBe(before);
      expect(ip('link')).not.toContain('culvert-swap');
      expect(plane.swapped).toHaveLength(1);
      expect(plane.released).toBe(1);
      expect(events()).toContain('swapped');
      expect(events()).not.toContain('gone');
      expect(plane.changes.at(-1)).toMatchObject({ name: NAME });
      await keeper.swap();
      leadsTo(NAME);
    });

    test('with the MTU that somebody has given it', async () => {
      keep();
      ip('link', 'set', NAME, 'mtu', '1400');
      await keeper.swap('cvkeep1');
      expect(keeper.state).toMatchObject({ name: 'cvkeep1', mtu: 1400 });
      expect(plane.swapped).toMatchObject([{ mtu: 1400 }]);
    });

    test('for one of our own, which is made again when somebody deletes it', async () => {
      const theirs = TunDevice.open({ name: NAME, offload: true });
      keep('', `fd://${theirs.fd}`);
      await keeper.swap('cvkeep1');
      ip('link', 'del', 'cvkeep1');
      await happens('recreated');
      leadsTo('cvkeep1');
      expect(fatal).toBe(0);
    });

    test('with all its queues, also for more queues of a persistent one', async () => {
      keep('queues: 2');
      await keeper.swap();
      leadsTo(NAME);
      expect(plane.queues).toBe(2);
      expect(device.tuns).toHaveLength(2);
      ip('tuntap', 'add', 'cvstay0', 'mode', 'tun', 'multi_queue');
      await keeper.swap('cvstay0');
      await keeper.swap('cvstay0');
      leadsTo('cvstay0');
      expect(plane.swapped).toHaveLength(3);
    });

    test('for one of another name, and the one before is gone', async () => {
      keep();
      await keeper.swap('cvkeep1');
      leadsTo('cvkeep1');
      expect(ip('link')).not.toContain(NAME);
      expect(logged('device-swapped')).toMatchObject({ device: 'cvkeep1', before: NAME });
    });

    test('and routes that the operator has made come with it, in every table', async () => {
      keep();
      ip('route', 'add', 'default', 'dev', NAME, 'table', '88');
      ip('-6', 'route', 'add', 'default', 'dev', NAME, 'table', '1088', 'metric', '7');
      ip('route', 'add', '192.0.2.0/24', 'via', '10.9.0.9', 'dev', NAME, 'src', '10.9.0.1');
      await keeper.swap('cvkeep1');
      expect(ip('route', 'show', 'table', '88')).toContain('default dev cvkeep1');
      expect(ip('-6', 'route', 'show', 'table', '1088')).toContain('default dev cvkeep1 metric 7');
      expect(ip('route')).toContain('192.0.2.0/24 via 10.9.0.9 dev cvkeep1 src 10.9.0.1');
      leadsTo('cvkeep1');
    });

    test('for a persistent one, and back: what is ours goes, the device stays', async () => {
      keep();
      ip('tuntap', 'add', 'cvstay0', 'mode', 'tun');
      await keeper.swap('cvstay0');
      leadsTo('cvstay0');
      await keeper.swap(NAME);
      leadsTo(NAME);
      expect(ip('addr', 'show', 'cvstay0')).not.toContain('10.9.0.1');
      expect(ip('route') + ip('-6', 'route', 'show', 'proto', 'static')).not.toContain('cvstay0');
    });

    test('of a persistent one for itself is refused, with what to do', async () => {
      keep();
      ip('tuntap', 'add', 'cvstay0', 'mode', 'tun');
      await keeper.swap('cvstay0');
      const error = await keeper.swap().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'DEVICE_REFUSED' });
      expect(String(error)).toEndWith('one queue, which is in use: name another device');
      leadsTo('cvstay0');
      await keeper.swap(NAME);
    });

    test('for one that is in use: nothing has changed', async () => {
      keep();
      using _theirs = TunDevice.open({ name: 'cvkeep1', offload: true });
      expect(keeper.swap('cvkeep1')).rejects.toThrow('EBUSY');
      await keeper.swap('cvkeep1').catch(() => {});
      leadsTo(NAME);
      expect(plane.swapped).toEqual([]);
    });

    test('and the data plane does not take it: routes come back, the new one is gone', async () => {
      keep();
      plane.refusal = new SwapError('DATA_PLANE_NOT_READY', 'it does not run');
      const error = await keeper.swap('cvkeep1').catch((thrown: unknown) => thrown);
      expect(error).toBe(plane.refusal);
      leadsTo(NAME);
      expect(ip('link')).not.toContain('cvkeep1');
      expect(keeper.state.name).toBe(NAME);
    });
  });

  test('that is persistent is cleaned up at the end, and taken as it is at the next start', () => {
    ip('tuntap', 'add', NAME, 'mode', 'tun', 'vnet_hdr');
    keep();
    leadsTo(NAME);
    // As after a crash: everything is still there.
    device.tun[Symbol.dispose]();
    keeper[Symbol.dispose]();
    keep();
    leadsTo(NAME);
    device[Symbol.dispose]();
    expect(ip('link', 'show', NAME)).toContain(NAME);
    expect(ip('route') + ip('-6', 'route', 'show', 'proto', 'static')).not.toContain(NAME);
    keep();
  });
});
