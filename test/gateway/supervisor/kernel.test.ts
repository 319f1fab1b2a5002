import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { Errno } from '../../../src/ffi/errno.ts';
import { SystemError } from '../../../src/ffi/errors.ts';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { parseCidr } from '../../../src/gateway/config/value-texts.ts';
import { addAddresses, maskHostBits } from '../../../src/gateway/supervisor/device/device-setup.ts';
import { openKernel, routePoolOf } from '../../../src/gateway/supervisor/kernel.ts';
import { ip, isRoot, NetworkNamespace } from '../../ffi/support/namespace.ts';

describe('where IPv6 is disabled', () => {
  const addresses = ['fd00::1/64', '10.0.0.1/24'].flatMap((text) => parseCidr(text) ?? []);
  const refusal = new SystemError(Errno.EACCES, 'netlink(RTM_NEWADDR)');

  /** Adds to a kernel that refuses one family. */
  function addWithout(family: 4 | 6, onNoIpv6?: (error: SystemError) => void): string[] {
    const added: string[] = [];
    addAddresses(
      addresses,
      (address) => {
        if (address.family === family) throw refusal;
        added.push(address.ip);
      },
      onNoIpv6,
    );
    return added;
  }

  test('the embedded default goes on with IPv4, and says so', () => {
    const told: SystemError[] = [];
    expect(addWithout(6, (error) => told.push(error))).toEqual(['10.0.0.1']);
    expect(told).toEqual([refusal]);
  });

  test('a config that asks for it fails with the hint', () =>
    expect(() => addWithout(6)).toThrow('IPv6 is disabled on this interface'));

  test('a refusal of IPv4 is an error, always', () =>
    expect(() => addWithout(4, () => {})).toThrow(SystemError));
});

test.each([
  [[10, 1, 2, 3], 8, [10, 0, 0, 0]],
  [[198, 19, 255, 1], 15, [198, 18, 0, 0]],
  [[10, 1, 2, 3], 32, [10, 1, 2, 3]],
  [[10, 1, 2, 3], 0, [0, 0, 0, 0]],
])('a route to %p/%d goes to %p', (address, prefixLength, destination) =>
  expect([...maskHostBits(new Uint8Array(address), prefixLength)]).toEqual(destination),
);

describe.skipIf(!isRoot)('the pool of NAT', () => {
  let namespace: NetworkNamespace;
  beforeEach(() => {
    namespace = new NetworkNamespace();
  });
  afterEach(() => namespace[Symbol.dispose]());

  const open = (more = '') =>
    openKernel(
      parseConfig(
        'device: {name: cvpool0, addresses: [10.9.0.1/24], routes: [198.51.100.9/32]}\n' +
          `limits: {flows: 64, heldSyns: 16, slabBytes: 4MiB, slabBytesPerFlow: 1MiB}\n${more}`,
        'c.yaml',
      ),
    );
  const routes = () => ip('-4', 'route', 'show', 'dev', 'cvpool0');

  test('what is sent to it comes into the device, also to what a reload adds', () => {
    using kernel = open('nat: {addresses: [198.51.100.7, 198.51.100.9]}');
    expect(routes()).toContain('198.51.100.7');
    expect(routes()).not.toContain('198.51.100.8');
    const addresses = ['198.51.100.7', '198.51.100.8'];
    for (let i = 0; i < 2; i++) kernel.device.routePool(addresses);
    expect(routes()).toContain('198.51.100.8');
  });

  test('an address that the host routes elsewhere is refused with its place', () => {
    using kernel = open();
    ip('route', 'add', '198.51.100.8/32', 'dev', 'lo');
    const config = parseConfig('nat: {addresses: [198.51.100.8]}', 'c.yaml');
    const route = () => routePoolOf({ config, file: 'c.yaml', folder: '/' }, kernel);
    expect(route).toThrow('c.yaml: nat.addresses: netlink(RTM_NEWROUTE) on cvpool0: EEXIST');
  });
});
