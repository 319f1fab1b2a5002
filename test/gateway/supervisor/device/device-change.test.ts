/** What a reload changes on a device in use, in a namespace of its own. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { parseConfig } from '../../../../src/gateway/config/load.ts';
import type { DeviceFacts } from '../../../../src/gateway/messages/control.ts';
import { Device } from '../../../../src/gateway/supervisor/device/device.ts';
import { DeviceChangeError } from '../../../../src/gateway/supervisor/device/device-change.ts';
import {
  DeviceKeeper,
  SwapError,
} from '../../../../src/gateway/supervisor/device/device-keeper.ts';
import { Notices } from '../../../../src/gateway/supervisor/notices.ts';
import { COUNTERS_BYTES, Counters } from '../../../../src/stack/counters.ts';
import { ip, isRoot, NetworkNamespace } from '../../../ffi/support/namespace.ts';
import { rememberingLog, until } from '../support.ts';

const NAME = 'cvlive0';
const START = 'addresses: [10.9.0.1/24, fd09::1/64], routes: [198.51.100.0/24, 2001:db8:5::/48]';

const sectionOf = (text: string) => parseConfig(`device: {name: ${NAME}, ${text}}`, 'c').device;

describe.skipIf(!isRoot)('the device of another config', () => {
  let namespace: NetworkNamespace;
  let device: Device;
  let keeper: DeviceKeeper;
  let told: DeviceFacts[];
  let refusal: SwapError['code'] | undefined;
  let lines: ReturnType<typeof rememberingLog>['lines'];

  beforeEach(() => {
    namespace = new NetworkNamespace();
    device = Device.open(sectionOf(START), {});
    device.routePool(['203.0.113.7']);
    told = [];
    refusal = undefined;
    const remembered = rememberingLog();
    lines = remembered.lines;
    keeper = new DeviceKeeper({
      log: remembered.log,
      device,
      counters: new Counters(new ArrayBuffer(COUNTERS_BYTES)),
      notices: new Notices(),
      plane: () => ({
        swapDevice: async () => {
          if (refusal !== undefined) throw new SwapError(refusal, 'not now');
        },
        releaseDevice: async () => {},
        deviceChanged: (facts) => void told.push(facts),
      }),
      onFatal: () => {},
      onBack: () => {},
    });
  });

  afterEach(() => {
    keeper[Symbol.dispose]();
    device[Symbol.dispose]();
    namespace[Symbol.dispose]();
  });

  /** Takes the section as a reload does that nobody refuses. */
  async function take(text: string): Promise<void> {
    await (await keeper.change(sectionOf(text))).finish();
  }

  /** Everything that is set on it, in an order of its own. */
  const shown = () => {
    const [{ mtu, txqlen }] = JSON.parse(ip('-json', 'link', 'show', NAME));
    const [{ addr_info: addresses }] = JSON.parse(ip('-json', 'addr', 'show', 'dev', NAME));
    const given = addresses
      .filter(({ scope }: { scope: string }) => scope !== 'link')
      .map(({ local, prefixlen }: { local: string; prefixlen: number }) => `${local}/${prefixlen}`);
    const routes = ['-4', '-6'].flatMap((family) =>
      JSON.parse(ip('-json', family, 'route', 'show', 'dev', NAME, 'proto', 'static')),
    );
    return {
      ...{ mtu, txqlen, addresses: given.sort() },
      routes: routes.map(({ dst }: { dst: string }) => dst).sort(),
    };
  };
  const STARTED = {
    ...{ mtu: 1500, txqlen: 1000, addresses: ['10.9.0.1/24', 'fd09::1/64'] },
    routes: ['198.51.100.0/24', '2001:db8:5::/48', '203.0.113.7'],
  };

  test('is taken in a gateway that runs, and the data plane knows at once', async () => {
    expect(shown()).toEqual(STARTED);
    const fd = device.tun.fd;
    await take(
      'mtu: 1400, txQueueLength: 77, addresses: [10.9.0.1/24, 10.10.0.1/16, fd0a::1/64], ' +
        'routes: [198.51.100.0/24, 192.0.2.0/24, 2001:db8:6::/48]',
    );
    expect(told.at(-1)).toMatchObject({ name: NAME, mtu: 1400 });
    expect(shown()).toEqual({
      ...{ mtu: 1400, txqlen: 77, addresses: ['10.10.0.1/16', '10.9.0.1/24', 'fd0a::1/64'] },
      routes: ['192.0.2.0/24', '198.51.100.0/24', '2001:db8:6::/48', '203.0.113.7'],
    });
    expect(device.tun.fd).toBe(fd);
    expect(keeper.events.last.map(({ event }) => event)).toEqual(['mtu', 'queue']);
    await take(START);
    expect(shown()).toEqual(STARTED);
  });

  test('adds all before the config is in force, and takes off what is old after it', async () => {
    const { finish } = await keeper.change(sectionOf('addresses: [10.10.0.1/16]'));
    expect(shown().addresses).toEqual(['10.10.0.1/16', '10.9.0.1/24', 'fd09::1/64']);
    expect(shown().routes).toEqual(STARTED.routes);
    await finish();
    expect(shown()).toMatchObject({ addresses: ['10.10.0.1/16'], routes: ['203.0.113.7'] });
  });

  test('leaves alone what somebody has set, where the config says as before', async () => {
    ip('link', 'set', NAME, 'mtu', '1333', 'txqueuelen', '5');
    ip('addr', 'add', '10.9.0.99/24', 'dev', NAME);
    ip('addr', 'add', '10.20.0.1/24', 'dev', NAME);
    await take('addresses: [10.9.0.2/24, fd09::1/64], recreate: false');
    // The kernel has taken 10.9.0.99 off with the first address of its network.
    expect(shown()).toMatchObject({
      ...{ mtu: 1333, txqlen: 5 },
      addresses: ['10.20.0.1/24', '10.9.0.2/24', '10.9.0.99/24', 'fd09::1/64'],
    });
  });

  test('may give an address another prefix length', async () => {
    await take('addresses: [10.9.0.1/16, fd09::1/48]');
    expect(shown().addresses).toEqual(['10.9.0.1/16', 'fd09::1/48']);
  });

  test('may name a route that somebody has made already, and one of the pool', async () => {
    ip('route', 'add', '192.0.2.0/24', 'dev', NAME);
    await take('routes: [192.0.2.0/24, 203.0.113.7/32]');
    expect(ip('route')).toContain(`192.0.2.0/24 dev ${NAME}`);
    await take('routes: []');
    // It is not ours.
    expect(ip('route')).toContain(`192.0.2.0/24 dev ${NAME}`);
    expect(shown().routes).toEqual(['203.0.113.7']);
  });

  test('keeps a route that changes in host bits, or goes to the pool', async () => {
    await take('addresses: [10.9.0.1/24], routes: [198.51.100.9/24, 198.51.100.77/32]');
    expect(shown().routes).toContain('198.51.100.0/24');
    const { finish } = await keeper.change(sectionOf('routes: []'));
    device.routePool(['198.51.100.77']);
    await finish();
    expect(shown().routes).toEqual(['198.51.100.77', '203.0.113.7']);
  });

  describe('that the kernel refuses', () => {
    const refusalOf = async (text: string): Promise<unknown> => {
      const error = await keeper.change(sectionOf(text)).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(DeviceChangeError);
      return error;
    };

    test('for a route of the host: the place is named, and the device is as it was', async () => {
      ip('route', 'add', '192.0.2.0/24', 'dev', 'lo');
      ip('link', 'set', NAME, 'mtu', '1333');
      const error = await refusalOf(
        'mtu: 1400, txQueueLength: 9, addresses: [10.10.0.1/16], ' +
          'routes: [10.77.0.0/16, 192.0.2.0/24]',
      );
      expect(error).toMatchObject({ path: ['device', 'routes', 1] });
      expect(String(error)).toContain('EEXIST (another route to this prefix exists)');
      expect(shown()).toEqual({ ...STARTED, mtu: 1333 });
      // The config that runs is what a swap goes by.
      await keeper.swap();
      expect(shown().addresses).toEqual(STARTED.addresses);
    });

    test('for an address without IPv6', async () => {
      writeFileSync(`/proc/sys/net/ipv6/conf/${NAME}/disable_ipv6`, '1');
      const before = shown();
      const error = await refusalOf('addresses: [10.9.0.1/24, 10.10.0.1/16, fd0a::1/64]');
      expect(error).toMatchObject({ path: ['device', 'addresses', 2] });
      expect(String(error)).toContain('EACCES');
      expect(shown()).toEqual(before);
    });
  });

  test('is taken back when something else refuses the config, also after a swap', async () => {
    ip('link', 'set', NAME, 'mtu', '1333');
    const text = 'mtu: 1400, addresses: [10.10.0.1/16], routes: [192.0.2.0/24]';
    const { undo } = await keeper.change(sectionOf(text));
    await keeper.swap();
    expect(shown()).toMatchObject({ mtu: 1400 });
    await undo();
    expect(shown()).toMatchObject({ mtu: 1333, addresses: STARTED.addresses });
    expect(shown().routes).not.toContain('192.0.2.0/24');
  });

  test('leaves an address that was there before when it is taken back', async () => {
    ip('addr', 'add', '10.10.0.1/16', 'dev', NAME);
    const { undo } = await keeper.change(sectionOf('addresses: [10.10.0.1/16]'));
    await undo();
    expect(shown().addresses).toEqual(['10.10.0.1/16', '10.9.0.1/24', 'fd09::1/64']);
  });

  test('without addresses has its routes all the same, also when addresses go again', async () => {
    ip('route', 'add', 'default', 'dev', NAME, 'table', '88');
    await take('addresses: [], routes: [192.0.2.0/24, 2001:db8:6::/48]');
    const routes = ['192.0.2.0/24', '2001:db8:6::/48', '203.0.113.7'];
    expect(shown()).toMatchObject({ addresses: [], routes });
    const text = 'addresses: [10.1.0.1/16], routes: [192.0.2.0/24, 192.0.3.0/24, 2001:db8:6::/48]';
    await (await keeper.change(sectionOf(text))).undo();
    expect(shown()).toMatchObject({ addresses: [], routes });
    expect(ip('route', 'show', 'table', '88')).toContain(`default dev ${NAME}`);
  });

  const disableIpv6 = () => writeFileSync(`/proc/sys/net/ipv6/conf/${NAME}/disable_ipv6`, '1');
  const notSettled = () => lines.filter(({ msg }) => msg === 'device-not-settled');

  test('loses what it shall lose, whatever else the kernel refuses then', async () => {
    const { finish } = await keeper.change(sectionOf('addresses: [10.9.0.1/24, fd09::1/48]'));
    disableIpv6();
    await finish();
    expect(notSettled()).toMatchObject([{ why: expect.stringContaining('EACCES') }]);
    expect(shown()).toMatchObject({ addresses: ['10.9.0.1/24'], routes: ['203.0.113.7'] });
  });

  test('does without IPv6 where the gateway has started without', async () => {
    device[Symbol.dispose]();
    const left: string[] = [];
    device = Device.open(sectionOf('addresses: [fd09::1/64]'), {}, ({ code }) => left.push(code));
    disableIpv6();
    const change = device.change(sectionOf('addresses: [fd09::1/48]'), keeper.state);
    device.finishChange(change);
    expect(left).toEqual(['EACCES', 'EACCES']);
  });

  describe('while it is deleted', () => {
    /** The one before, as it was seen last. */
    const last = () => ({ ...keeper.state, mtu: 1333, txQueueLength: 5 });
    const change = (text: string) => device.change(sectionOf(text), last());
    /** MTU and queue of the next one. */
    const next = () => {
      device.commit(device.prepare(NAME, last()));
      const { mtu, txQueueLength } = device.state();
      return { mtu, txQueueLength };
    };
    beforeEach(() => {
      keeper[Symbol.dispose]();
      ip('link', 'del', NAME);
    });

    test('has the next one made as the last, where it says as before', () => {
      change('addresses: [10.10.0.1/16]');
      expect(next()).toEqual({ mtu: 1333, txQueueLength: 5 });
    });

    test('has the next one made with its MTU and queue, and the one after as that was seen', () => {
      change('mtu: 1400');
      change('mtu: 1400, txQueueLength: 77');
      expect(next()).toEqual({ mtu: 1400, txQueueLength: 77 });
      ip('link', 'del', NAME);
      expect(next()).toEqual({ mtu: 1333, txQueueLength: 5 });
    });

    test('leaves no trace when it is taken back', () => {
      device.undoChange(change('mtu: 1400, txQueueLength: 77'));
      expect(next()).toEqual({ mtu: 1333, txQueueLength: 5 });
    });
  });

  test('with another offload is another device, and comes back with the one before', async () => {
    const { fd } = device.tun;
    expect(device.tun.vnetHeader).toBe(true);
    const { undo } = await keeper.change(sectionOf(`${START}, mtu: 1400, offload: false`));
    expect(device.tun.vnetHeader).toBe(false);
    expect(device.tun.fd).not.toBe(fd);
    expect(shown()).toEqual({ ...STARTED, mtu: 1400 });
    await undo();
    expect(device.tun.vnetHeader).toBe(true);
    expect(shown()).toEqual(STARTED);
    await take(`${START}, offload: false`);
    await take(`${START}, offload: false, mtu: 1400`);
    expect(keeper.events.counts.get('swapped')).toBe(3);
    expect(told.at(-1)).toMatchObject({ vnetHeader: false, mtu: 1400 });
    expect(shown()).toEqual({ ...STARTED, mtu: 1400 });
  });

  test.each([
    ['there can be no other device', 'DEVICE_REFUSED', DeviceChangeError],
    ['data planes are not ready, which may do later', 'DATA_PLANE_NOT_READY', SwapError],
  ] as const)('with another offload is refused whole when %s', async (_why, code, kind) => {
    refusal = code;
    const text = `${START}, mtu: 1400, offload: false`;
    const error = await keeper.change(sectionOf(text)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(kind);
    const isOfConfig = error instanceof DeviceChangeError;
    expect(error).toMatchObject(isOfConfig ? { path: ['device', 'offload'] } : { code });
    expect(shown()).toEqual(STARTED);
    refusal = undefined;
    await take(`${START}, mtu: 1300`);
    expect(device.tun.vnetHeader).toBe(true);
    expect(shown()).toEqual({ ...STARTED, mtu: 1300 });
  });

  const REFUSED =
    'mtu: 1400, txQueueLength: 77, ' +
    'addresses: [10.9.0.1/24, fd09::1/64, 10.10.0.1/16, fd0a::1/64], ' +
    'routes: [198.51.100.0/24, 2001:db8:5::/48, 192.0.2.0/24, 2001:db8:6::/48]';
  const madeAgain = () => until(() => keeper.events.counts.has('recreated'), 'made again');

  test('leaves nothing on a device that was made with it, when it is taken back', async () => {
    ip('link', 'set', NAME, 'mtu', '1333');
    await until(() => keeper.state.mtu === 1333, 'the MTU is seen');
    ip('link', 'del', NAME);
    const { undo } = await keeper.change(sectionOf(REFUSED));
    await madeAgain();
    expect(shown()).toMatchObject({ mtu: 1400, txqlen: 77 });
    expect(shown().routes).toContain('192.0.2.0/24');
    await undo();
    expect(shown()).toEqual({ ...STARTED, mtu: 1333 });
  });

  test('leaves the addresses of before, though those that go share their networks', async () => {
    ip('link', 'del', NAME);
    const text = 'addresses: [10.9.0.2/24, 10.9.0.1/24, fd09::1/48]';
    const { undo } = await keeper.change(sectionOf(text));
    await madeAgain();
    expect(shown().addresses).toEqual(['10.9.0.1/24', '10.9.0.2/24', 'fd09::1/48']);
    await undo();
    expect(shown()).toEqual(STARTED);
    expect(notSettled()).toEqual([]);
  });

  test('leaves nothing on one that was deleted in between, when it is taken back', async () => {
    const { undo } = await keeper.change(sectionOf(REFUSED));
    ip('link', 'del', NAME);
    await madeAgain();
    expect(shown()).toMatchObject({ mtu: 1400, txqlen: 77 });
    await undo();
    expect(shown()).toEqual(STARTED);
  });

  test('leaves nothing for one that is made after it was taken back', async () => {
    ip('link', 'set', NAME, 'mtu', '1333');
    const { undo } = await keeper.change(sectionOf(REFUSED));
    ip('link', 'del', NAME);
    await undo();
    await madeAgain();
    expect(shown()).toEqual({ ...STARTED, mtu: 1333 });
  });

  test('is what a device gets that was deleted meanwhile', async () => {
    ip('link', 'del', NAME);
    await take('mtu: 1400, addresses: [10.10.0.1/16], routes: [192.0.2.0/24]');
    await until(() => keeper.events.counts.has('recreated'), 'recreated');
    expect(shown()).toMatchObject({ mtu: 1400, addresses: ['10.10.0.1/16'] });
    expect(shown().routes).toContain('192.0.2.0/24');
    expect(lines.some(({ msg }) => msg === 'device-not-settled')).toBe(false);
  });
});
