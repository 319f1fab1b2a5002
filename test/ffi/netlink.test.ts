import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { Errno } from '../../src/ffi/errno.ts';
import { Netlink } from '../../src/ffi/netlink.ts';
import { TunDevice } from '../../src/ffi/tun-device.ts';
import { formatAddress, parseAddress } from '../../src/stack/wire/ip-address.ts';
import { descriptorCount } from './support/descriptors.ts';
import { ip, isRoot, NetworkNamespace } from './support/namespace.ts';

const NAME = 'cvtest0';

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(`${text} is no address`);
  return bytes;
}

test('linkIndex finds lo, and tells what there is not', () => {
  using netlink = new Netlink();
  expect(netlink.linkIndex('lo')).toBeGreaterThan(0);
  expect(() => netlink.linkIndex('cv-none')).toThrow(
    'netlink(RTM_GETLINK) on cv-none: ENODEV (no such interface)',
  );
});

test('lo has 127.0.0.1/8', () => {
  using netlink = new Netlink();
  const addresses = netlink.addressesOf(netlink.linkIndex('lo'));
  expect(addresses).toContainEqual({ address: bytesOf('127.0.0.1'), prefixLength: 8 });
});

test('the way to oneself is lo, for both families', () => {
  using netlink = new Netlink();
  const lo = netlink.linkIndex('lo');
  const route = (text: string, family: 4 | 6): number =>
    netlink.routeInterface(new DataView(bytesOf(text).buffer), 0, family, 0, 0);
  expect(route('127.0.0.1', 4)).toBe(lo);
  expect(route('::1', 6)).toBe(lo);
});

test('Netlink closes its descriptor', () => {
  const before = descriptorCount('socket:');
  for (let i = 0; i < 10; i++) {
    using netlink = new Netlink();
    netlink.linkIndex('lo');
  }
  expect(descriptorCount('socket:')).toBe(before);
});

describe.skipIf(!isRoot)('in a namespace with a TUN device', () => {
  let namespace: NetworkNamespace;
  let device: TunDevice;
  let netlink: Netlink;
  let index: number;

  beforeEach(() => {
    namespace = new NetworkNamespace();
    device = TunDevice.open({ name: NAME, offload: true });
    netlink = new Netlink();
    index = netlink.linkIndex(NAME);
  });

  afterEach(() => {
    netlink[Symbol.dispose]();
    device[Symbol.dispose]();
    namespace[Symbol.dispose]();
  });

  /** An address in the middle of other bytes, as the caller has it. */
  function route(text: string, mark = 0, interfaceIndex = 0): number {
    const address = bytesOf(text);
    const around = new Uint8Array(24);
    around.set(address, 3);
    const family = address.length === 4 ? 4 : 6;
    return netlink.routeInterface(new DataView(around.buffer), 3, family, mark, interfaceIndex);
  }

  const link = () => JSON.parse(ip('-json', 'link', 'show', NAME))[0];

  test('configureLink sets what is given and leaves the rest', () => {
    netlink.configureLink(index, { mtu: 9000, txQueueLength: 1234 });
    expect(link()).toMatchObject({ mtu: 9000, txqlen: 1234 });
    expect(device.probe()).toBe('down');
    netlink.configureLink(index, { up: true });
    expect(link()).toMatchObject({ mtu: 9000, txqlen: 1234 });
    expect(device.probe()).toBe('up');
    netlink.configureLink(index, { up: false });
    expect(device.probe()).toBe('down');
  });

  test('an impossible MTU comes with the words of the kernel', () => {
    expect(() => netlink.configureLink(index, { mtu: 1 })).toThrow(
      `netlink(RTM_NEWLINK) on ${NAME}: EINVAL (mtu less than device minimum)`,
    );
  });

  test('an interface that is gone is named by its number', () => {
    ip('link', 'del', NAME);
    expect(() => netlink.configureLink(index, { up: true })).toThrow(
      `netlink(RTM_NEWLINK) on interface ${index}: ENODEV`,
    );
  });

  test('addresses of both families are added once, and usable at once', () => {
    netlink.configureLink(index, { up: true });
    for (let i = 0; i < 2; i++) {
      netlink.addAddress(index, bytesOf('198.18.0.1'), 15);
      netlink.addAddress(index, bytesOf('fd00:c1::1'), 64);
    }
    const shown = ip('addr', 'show', NAME);
    expect(shown).toContain('inet 198.18.0.1/15 scope global cvtest0');
    expect(shown).toContain('inet6 fd00:c1::1/64 scope global nodad');
    expect(shown).not.toMatch(/fd00:c1::1.*tentative/);
    const found = netlink
      .addressesOf(index)
      .map(({ address, prefixLength }) => {
        const view = new DataView(address.buffer, address.byteOffset);
        return `${formatAddress(view, 0, address.length)}/${prefixLength}`;
      })
      .filter((text) => !text.startsWith('fe80'));
    expect(found).toEqual(['198.18.0.1/15', 'fd00:c1::1/64']);
  });

  test('an impossible prefix is an error with its call', () => {
    expect(() => netlink.addAddress(index, bytesOf('198.18.0.1'), 33)).toThrow(
      /netlink\(RTM_NEWADDR\) on cvtest0: EINVAL/,
    );
  });

  test('addRoute leads a prefix into the device', () => {
    netlink.configureLink(index, { up: true });
    netlink.addRoute(index, bytesOf('203.0.113.0'), 24);
    netlink.addRoute(index, bytesOf('2001:db8::'), 32);
    expect(ip('route', 'show')).toContain('203.0.113.0/24 dev cvtest0');
    expect(route('203.0.113.9')).toBe(index);
    expect(route('2001:db8::9')).toBe(index);
    expect(() => netlink.addRoute(index, bytesOf('203.0.113.0'), 24)).toThrow(
      `netlink(RTM_NEWROUTE) on ${NAME}: EEXIST (another route to this prefix exists)`,
    );
  });

  test('a route into a device that is down is ENETDOWN', () => {
    expect(() => netlink.addRoute(index, bytesOf('203.0.113.0'), 24)).toThrow('ENETDOWN');
  });

  test.each([
    ['203.0.113.0', 24, '203.0.113.9', '-4'],
    ['2001:db8::', 32, '2001:db8::9', '-6'],
  ] as const)('a mark finds the table of its rule (%s)', (prefix, length, to, family) => {
    netlink.configureLink(index, { up: true });
    netlink.addRoute(index, bytesOf(prefix), length, 1000);
    ip(family, 'rule', 'add', 'fwmark', '0x99', 'table', '1000');
    expect(route(to)).toBe(-Errno.ENETUNREACH);
    expect(route(to, 0x99)).toBe(index);
  });

  test('a binding to an interface chooses among routes', () => {
    using second = TunDevice.open({ name: 'cvtest1', offload: true });
    const other = netlink.linkIndex(second.name);
    netlink.configureLink(other, { up: true });
    netlink.configureLink(index, { up: true });
    netlink.addRoute(index, bytesOf('203.0.113.0'), 24);
    ip('route', 'add', '203.0.113.0/24', 'dev', second.name, 'metric', '500');
    expect(route('203.0.113.9')).toBe(index);
    expect(route('203.0.113.9', 0, other)).toBe(other);
  });

  test.each([
    ['unreachable', '203.0.113.9', -Errno.EHOSTUNREACH],
    ['prohibit', '203.0.113.9', -Errno.EACCES],
    ['blackhole', '203.0.113.9', -Errno.EINVAL],
    ['unreachable', '2001:db8::9', -Errno.EHOSTUNREACH],
    ['prohibit', '2001:db8::9', -Errno.EACCES],
    ['blackhole', '2001:db8::9', -Errno.EINVAL],
  ])('the route %s to %s is the errno that connect gives', (kind, to, errno) => {
    ip('route', 'add', kind, `${to}/${to.includes(':') ? 128 : 32}`);
    expect(route(to)).toBe(errno);
  });

  test('no route is -ENETUNREACH, and the next question is answered as ever', () => {
    expect(route('192.0.2.1')).toBe(-Errno.ENETUNREACH);
    expect(route('2001:db8::1')).toBe(-Errno.ENETUNREACH);
    expect(route('127.0.0.1')).toBe(netlink.linkIndex('lo'));
  });
});
