import { describe, expect, test } from 'bun:test';
import { readlinkSync } from 'node:fs';
import { Netlink } from '../../src/ffi/netlink.ts';
import { inNamespaceOf } from '../../src/ffi/network-namespace.ts';
import { TunDevice } from '../../src/ffi/tun-device.ts';
import { descriptorCount } from './support/descriptors.ts';
import { ip, isRoot, NetworkNamespace, OtherNamespace } from './support/namespace.ts';

const NAME = 'cvtest0';
const here = (): string => readlinkSync('/proc/thread-self/ns/net');

describe.skipIf(!isRoot)('inNamespaceOf', () => {
  test('looks where the device is, and comes home, with and without an error', async () => {
    using _own = new NetworkNamespace();
    await using other = await OtherNamespace.create();
    using device = TunDevice.open({ name: NAME, offload: true });
    const home = here();
    expect(inNamespaceOf(device.fd, here)).toBe(home);
    other.take(NAME);
    other.ip('link', 'set', NAME, 'mtu', '1333', 'up');
    const link = inNamespaceOf(device.fd, () => {
      expect(here()).not.toBe(home);
      using netlink = new Netlink();
      return netlink.link(NAME);
    });
    expect(link).toMatchObject({ name: NAME, mtu: 1333, isUp: true });
    expect(() =>
      inNamespaceOf(device.fd, () => {
        throw new Error('in between');
      }),
    ).toThrow('in between');
    expect(here()).toBe(home);
  });

  test('keeps nothing open, so that the namespace can end, and the device with it', async () => {
    using _own = new NetworkNamespace();
    const other = await OtherNamespace.create();
    using device = TunDevice.open({ name: NAME, offload: true });
    other.take(NAME);
    const before = descriptorCount('net:');
    expect(inNamespaceOf(device.fd, () => 7)).toBe(7);
    expect(descriptorCount('net:')).toBe(before);
    await other[Symbol.asyncDispose]();
    const deadline = performance.now() + 5_000;
    while (device.probe() !== 'gone' && performance.now() < deadline) await Bun.sleep(5);
    expect(device.probe()).toBe('gone');
    expect(() => inNamespaceOf(device.fd, here)).toThrow('ioctl(TUNGETDEVNETNS): EBADFD');
    ip('link', 'show', 'lo');
  });
});
