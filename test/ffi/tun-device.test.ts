import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { openSync } from 'node:fs';
import { Errno } from '../../src/ffi/errno.ts';
import { SystemError } from '../../src/ffi/errors.ts';
import { TunIoctl, TunOffload } from '../../src/ffi/ioctls.ts';
import { cString, libc } from '../../src/ffi/libc.ts';
import { addressOf, allocateStruct } from '../../src/ffi/memory.ts';
import { closeFd, connectSocket, tcpSocket } from '../../src/ffi/sockets.ts';
import { negotiateOffloads, TunDevice } from '../../src/ffi/tun-device.ts';
import { useVnetHeader } from '../../src/ffi/tun-interface.ts';
import { tcpChecksumValid } from '../../src/stack/wire/tcp.ts';
import { tcpPacket } from '../support/packet-builder.ts';
import { descriptorCount } from './support/descriptors.ts';
import { ip, isRoot, NetworkNamespace, OtherNamespace } from './support/namespace.ts';

const NAME = 'cvtest0';
const VNET_HEADER_BYTES = 10;
const IPV4_HEADER_BYTES = 20;
const IPV4_TOTAL_LENGTH_AT = 2;
const IPV4_PROTOCOL_AT = 9;
const IPV4_DESTINATION_AT = 16;
const IPPROTO_TCP = 6;

const frame = new Uint8Array(new ArrayBuffer(65536 + VNET_HEADER_BYTES));
const frameAddress = addressOf(frame.buffer);

/** The number that `ip -s link` keeps of packets the kernel received from the device. */
const packetsReceived = (): number =>
  JSON.parse(ip('-json', '-s', 'link', 'show', NAME))[0].stats64.rx.packets;

/** Attaches an interface with these flags, as another program would. */
function rawDevice(fd: number, flags: number): number {
  const request = allocateStruct(40);
  request.bytes.set(cString(NAME));
  request.view.setUint16(16, flags, true);
  if (libc.ioctl(fd, TunIoctl.TUNSETIFF, request.address) < 0) throw new Error('TUNSETIFF');
  return fd;
}

describe('offloads are as good as the kernel', () => {
  const { CSUM, TSO4, TSO6, TSO_ECN, USO4, USO6 } = TunOffload;
  const all = CSUM | TSO4 | TSO6 | TSO_ECN | USO4 | USO6;

  test.each([
    ['6.2', all, all],
    ['before 6.2', all & ~(USO4 | USO6), all & ~(USO4 | USO6)],
    ['without TSO_ECN', CSUM | TSO4 | TSO6, CSUM | TSO4 | TSO6],
    ['with checksums only', CSUM | USO4, CSUM],
    ['with none', 0, 0],
  ])('Linux %s', (_name, known, expected) => {
    expect(negotiateOffloads((bits) => (bits & ~known) === 0)).toBe(expected);
  });
});

describe.skipIf(!isRoot)('TunDevice', () => {
  let namespace: NetworkNamespace;

  beforeEach(() => {
    namespace = new NetworkNamespace();
  });

  afterEach(() => {
    namespace[Symbol.dispose]();
  });

  test('open makes a device that is down, with headers and all offloads', () => {
    using device = TunDevice.open({ name: NAME, offload: true });
    expect(device.name).toBe(NAME);
    expect(device.vnetHeader).toBe(true);
    const { offloads } = device;
    const { CSUM, TSO4, TSO6, TSO_ECN, USO4, USO6 } = TunOffload;
    const uso = device.setOffloads(CSUM | USO4 | USO6) === 0 ? USO4 | USO6 : 0;
    expect(offloads).toBe(CSUM | TSO4 | TSO6 | TSO_ECN | uso);
    expect(device.probe()).toBe('down');
    expect(ip('link', 'show', NAME)).toContain('state DOWN');
  });

  test('without offload there is no header', () => {
    using device = TunDevice.open({ name: NAME, offload: false });
    expect(device.vnetHeader).toBe(false);
    expect(device.offloads).toBe(0);
  });

  test('the kernel fills in %d, and the name is read back', () => {
    using first = TunDevice.open({ name: 'cvtest%d', offload: true });
    using second = TunDevice.open({ name: 'cvtest%d', offload: true });
    expect([first.name, second.name]).toEqual(['cvtest0', 'cvtest1']);
  });

  test('two queues of one device have the same name', () => {
    using first = TunDevice.open({ name: NAME, offload: true, multiQueue: true });
    using second = TunDevice.open({ name: NAME, offload: true, multiQueue: true });
    expect(second.name).toBe(first.name);
    expect(second.fd).not.toBe(first.fd);
  });

  describe.each([
    ['plain', []],
    ['with virtio-net headers', ['vnet_hdr']],
    ['with packet information', ['pi']],
    ['for several queues', ['multi_queue']],
    ['for several queues, with headers', ['multi_queue', 'vnet_hdr']],
  ])('a persistent device that was made %s', (_name, flags) => {
    test('is opened with headers and offloads, and stays when it is closed', () => {
      ip('tuntap', 'add', NAME, 'mode', 'tun', ...flags);
      for (const offload of [true, false, true]) {
        using device = TunDevice.open({ name: NAME, offload });
        expect(device.name).toBe(NAME);
        expect(device.isPersistent()).toBe(true);
        expect(device.vnetHeader).toBe(offload);
        expect(device.offloads === 0).toBe(!offload);
      }
      expect(ip('link', 'show', NAME)).toContain(NAME);
    });
  });

  test('a TAP device of that name is refused, and so is one in use', () => {
    ip('tuntap', 'add', NAME, 'mode', 'tap');
    expect(() => TunDevice.open({ name: NAME, offload: true })).toThrow(
      'ioctl(TUNSETIFF) on cvtest0: EINVAL (the name is invalid, or the device exists with other',
    );
    using _device = TunDevice.open({ name: 'cvtest1', offload: true });
    expect(() => TunDevice.open({ name: 'cvtest1', offload: true })).toThrow(
      'ioctl(TUNSETIFF) on cvtest1: EBUSY (another process has this device open)',
    );
  });

  test('without headers sums are complete, whatever the last owner left to the device', () => {
    ip('tuntap', 'add', NAME, 'mode', 'tun');
    TunDevice.open({ name: NAME, offload: true })[Symbol.dispose]();
    using device = TunDevice.open({ name: NAME, offload: false });
    ip('link', 'set', NAME, 'addrgenmode', 'none');
    ip('link', 'set', NAME, 'up');
    ip('addr', 'add', '198.18.0.1/15', 'dev', NAME);
    const fd = tcpSocket(4);
    connectSocket(fd, new DataView(Uint8Array.of(198, 18, 0, 80).buffer), 0, 4, 80);
    const length = device.read(frameAddress, frame.length);
    closeFd(fd);
    const view = new DataView(frame.buffer);
    expect(tcpChecksumValid(view, 12, 16, 4, IPV4_HEADER_BYTES, length)).toBe(true);
  });

  describe('takeOver', () => {
    test('asks the kernel what the descriptor is', () => {
      using opened = TunDevice.open({ name: NAME, offload: true });
      opened.setOffloads(0);
      const taken = TunDevice.takeOver(opened.fd);
      expect(taken.name).toBe(NAME);
      expect(taken.vnetHeader).toBe(true);
      expect(taken.offloads & TunOffload.TSO4).toBe(TunOffload.TSO4);
      expect(taken.isPersistent()).toBe(false);
      using plain = TunDevice.open({ name: 'cvtest1', offload: false });
      expect(TunDevice.takeOver(plain.fd)).toMatchObject({ name: 'cvtest1', vnetHeader: false });
    });

    test('says what is wrong with one that it cannot use', () => {
      const file = openSync('/dev/null', 'r');
      expect(() => TunDevice.takeOver(file)).toThrow(
        `ioctl(TUNGETIFF) on fd ${file}: ENOTTY (this descriptor is no TUN device)`,
      );
      closeFd(file);
      expect(() => TunDevice.takeOver(file)).toThrow(
        `ioctl(TUNGETIFF) on fd ${file}: EBADF (no such descriptor is open)`,
      );
      const fresh = openSync('/dev/net/tun', 'r+');
      expect(() => TunDevice.takeOver(fresh)).toThrow('EBADFD (no interface is attached to it');
      const tap = rawDevice(fresh, 0x1002);
      expect(() => TunDevice.takeOver(tap)).toThrow(
        `ioctl(TUNGETIFF) on fd ${tap}, cvtest0: EINVAL (it is a TAP device; a TUN device`,
      );
      closeFd(tap);
      const withInformation = rawDevice(openSync('/dev/net/tun', 'r+'), 0x0001);
      expect(() => TunDevice.takeOver(withInformation)).toThrow('without IFF_NO_PI');
      closeFd(withInformation);
    });

    test('a longer header that somebody chose before is made ours', () => {
      using opened = TunDevice.open({ name: NAME, offload: true });
      useVnetHeader(opened.fd, 12);
      const taken = TunDevice.takeOver(opened.fd);
      ip('link', 'set', NAME, 'addrgenmode', 'none');
      ip('link', 'set', NAME, 'up');
      frame.fill(0, 0, 64);
      frame[VNET_HEADER_BYTES] = 0x45;
      const before = packetsReceived();
      taken.write(frameAddress, VNET_HEADER_BYTES + IPV4_HEADER_BYTES);
      expect(packetsReceived()).toBe(before + 1);
    });
  });

  test('read gives 0 while there is nothing, then one frame with its header', () => {
    using device = TunDevice.open({ name: NAME, offload: true });
    // No IPv6 of its own: nothing but what we send.
    ip('link', 'set', NAME, 'addrgenmode', 'none');
    ip('link', 'set', NAME, 'up');
    ip('addr', 'add', '198.18.0.1/15', 'dev', NAME);
    expect(device.read(frameAddress, frame.length)).toBe(0);

    const destination = Uint8Array.of(198, 18, 0, 80);
    const fd = tcpSocket(4);
    connectSocket(fd, new DataView(destination.buffer), 0, 4, 80);
    const length = device.read(frameAddress, frame.length);
    const view = new DataView(frame.buffer, VNET_HEADER_BYTES);
    expect(length).toBe(VNET_HEADER_BYTES + view.getUint16(IPV4_TOTAL_LENGTH_AT));
    expect(view.getUint8(IPV4_PROTOCOL_AT)).toBe(IPPROTO_TCP);
    expect([0, 1, 2, 3].map((i) => view.getUint8(IPV4_DESTINATION_AT + i))).toEqual([
      ...destination,
    ]);
    expect(device.read(frameAddress, frame.length)).toBe(0);
    closeFd(fd);
  });

  test('what is written arrives at the kernel', () => {
    using device = TunDevice.open({ name: NAME, offload: true });
    ip('link', 'set', NAME, 'addrgenmode', 'none');
    ip('link', 'set', NAME, 'up');
    frame.fill(0, 0, VNET_HEADER_BYTES + IPV4_HEADER_BYTES);
    frame[VNET_HEADER_BYTES] = 0x45;
    const before = packetsReceived();
    const length = VNET_HEADER_BYTES + IPV4_HEADER_BYTES;
    expect(device.write(frameAddress, length)).toBe(length);
    expect(packetsReceived()).toBe(before + 1);
  });

  test('the kernel takes a superpacket with CWR, and the bit that tells of it', () => {
    using device = TunDevice.open({ name: NAME, offload: true });
    ip('link', 'set', NAME, 'addrgenmode', 'none');
    ip('link', 'set', NAME, 'up');
    const packet = tcpPacket({ flags: 0x98, payload: new Uint8Array(3000) });
    // NEEDS_CSUM; TCPV4 with ECN; 40 bytes of headers; 1000 for each packet; the sum at 20 + 16.
    const header = Uint8Array.of(1, 0x81, 40, 0, 1000 & 0xff, 1000 >> 8, 20, 0, 16, 0);
    frame.set(header);
    frame.set(packet, VNET_HEADER_BYTES);
    const length = VNET_HEADER_BYTES + packet.length;
    expect(device.write(frameAddress, length)).toBe(length);
    // Without a type of TCP the bit means nothing.
    frame[1] = 0x80;
    expect(device.write(frameAddress, length)).toBe(-Errno.EINVAL);
  });

  test('a frame that the kernel refuses is -EINVAL, and -EIO while the device is down', () => {
    using device = TunDevice.open({ name: NAME, offload: true });
    frame.fill(0, 0, 64);
    frame[VNET_HEADER_BYTES] = 0x45;
    expect(device.write(frameAddress, 30)).toBe(-Errno.EIO);
    ip('link', 'set', NAME, 'up');
    expect(device.write(frameAddress, VNET_HEADER_BYTES - 1)).toBe(-Errno.EINVAL);
    frame[VNET_HEADER_BYTES] = 0;
    expect(device.write(frameAddress, 30)).toBe(-Errno.EINVAL);
  });

  test('setOffloads changes what is in force, and leaves it when refused', () => {
    using device = TunDevice.open({ name: NAME, offload: true });
    expect(device.setOffloads(TunOffload.CSUM)).toBe(0);
    expect(device.offloads).toBe(TunOffload.CSUM);
    expect(device.setOffloads(1 << 30)).toBe(-Errno.EINVAL);
    expect(device.offloads).toBe(TunOffload.CSUM);
  });

  test.each([true, false])('probe knows down, up and gone (headers: %p)', (offload) => {
    using device = TunDevice.open({ name: NAME, offload });
    expect(device.probe()).toBe('down');
    ip('link', 'set', NAME, 'up');
    expect(device.probe()).toBe('up');
    ip('link', 'set', NAME, 'down');
    expect(device.probe()).toBe('down');
    ip('link', 'del', NAME);
    expect(device.probe()).toBe('gone');
    expect(device.read(frameAddress, frame.length)).toBe(-Errno.EBADFD);
    expect(() => device.currentName()).toThrow(
      `ioctl(TUNGETIFF) on ${NAME}: EBADFD (no interface is attached to it, or the interface was` +
        ' deleted)',
    );
  });

  test.each([true, false])('so it does in another namespace (headers: %p)', async (offload) => {
    using device = TunDevice.open({ name: NAME, offload });
    await using other = await OtherNamespace.create();
    other.take(NAME);
    expect(device.probe()).toBe('down');
    other.ip('link', 'set', NAME, 'name', 'moved0');
    other.ip('link', 'set', 'moved0', 'up');
    expect(device.probe()).toBe('up');
    expect(device.currentName()).toBe('moved0');
    expect(device.name).toBe(NAME);
    other.ip('link', 'del', 'moved0');
    expect(device.probe()).toBe('gone');
  });

  test('adopt goes on with a descriptor and what is known of it', () => {
    using device = TunDevice.open({ name: NAME, offload: true });
    const { fd, name, vnetHeader, offloads } = device;
    const adopted = TunDevice.adopt(fd, { name, vnetHeader, offloads });
    expect(adopted.currentName()).toBe(NAME);
    expect(adopted.offloads).toBe(device.offloads);
    expect(adopted.probe()).toBe('down');
  });

  test('a name in use is EBUSY', () => {
    using _device = TunDevice.open({ name: NAME, offload: true });
    expect(() => TunDevice.open({ name: NAME, offload: true })).toThrow(
      `ioctl(TUNSETIFF) on ${NAME}: EBUSY (another process has this device open)`,
    );
  });

  test.each(['a/b', 'sixteen-bytes-aa'])('%p is no name', (name) => {
    expect(() => TunDevice.open({ name, offload: true })).toThrow(SystemError);
    expect(() => TunDevice.open({ name, offload: true })).toThrow(/ on .*: EINVAL \(/);
  });

  test('opening leaves no descriptor behind, also when it fails', () => {
    const before = descriptorCount('/dev/net/tun');
    for (let i = 0; i < 5; i++) {
      using device = TunDevice.open({ name: NAME, offload: true });
      expect(device.fd).toBeGreaterThan(2);
      expect(() => TunDevice.open({ name: NAME, offload: true })).toThrow('EBUSY');
    }
    expect(descriptorCount('/dev/net/tun')).toBe(before);
  });
});
