import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readdirSync, readlinkSync } from 'node:fs';
import { LinkListener } from '../../src/ffi/link-listener.ts';
import type { Link } from '../../src/ffi/link-message.ts';
import { Netlink } from '../../src/ffi/netlink.ts';
import { setOption } from '../../src/ffi/sockets.ts';
import { TunDevice } from '../../src/ffi/tun-device.ts';
import { ip, isRoot, NetworkNamespace } from './support/namespace.ts';

const NAME = 'cvtest0';

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;

/** What /proc says of a descriptor: `socket:[INODE]`; empty of one that is closed. */
function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

const isSocket = (fd: string): boolean => linkOf(fd).startsWith('socket:');

const sockets = (): string[] => readdirSync('/proc/self/fd').filter(isSocket).map(linkOf);

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await Bun.sleep(2);
  }
}

describe.skipIf(!isRoot)('LinkListener', () => {
  let namespace: NetworkNamespace;
  let listener: LinkListener;
  let seen: { readonly link: Link; readonly isDeleted: boolean }[];
  let lost: number;

  beforeEach(() => {
    namespace = new NetworkNamespace();
    seen = [];
    lost = 0;
    listener = new LinkListener({
      onLink: (link, isDeleted) => seen.push({ link, isDeleted }),
      onLost: () => lost++,
    });
  });

  afterEach(() => {
    listener[Symbol.dispose]();
    namespace[Symbol.dispose]();
  });

  test('tells what became of a device, to its end', async () => {
    const device = TunDevice.open({ name: NAME, offload: true });
    using netlink = new Netlink();
    const { index } = netlink.link(NAME);
    const last = () => seen.at(-1)?.link;
    await until(() => last()?.name === NAME, 'the device');
    expect(last()).toMatchObject({ index, isUp: false, mtu: 1500 });
    ip('link', 'set', NAME, 'up');
    await until(() => last()?.isUp === true, 'up');
    netlink.configureLink(index, { mtu: 1400, txQueueLength: 77 });
    await until(() => last()?.mtu === 1400 && last()?.txQueueLength === 77, 'the MTU');
    expect(netlink.link(NAME)).toEqual({
      ...{ index, name: NAME, isUp: true, mtu: 1400, txQueueLength: 77 },
    });
    ip('link', 'set', NAME, 'down');
    await until(() => last()?.isUp === false, 'down');
    netlink.configureLink(index, { name: 'cvtest1' });
    await until(() => last()?.name === 'cvtest1', 'the name');
    expect(device.currentName()).toBe('cvtest1');
    device[Symbol.dispose]();
    await until(() => seen.at(-1)?.isDeleted === true, 'the end');
    expect(last()).toMatchObject({ index, name: 'cvtest1' });
    expect(lost).toBe(0);
  });

  test('that was disposed says nothing more, and has closed its socket', async () => {
    const before = sockets();
    const second = new LinkListener({ onLink: () => lost++, onLost: () => lost++ });
    const [own] = sockets().filter((socket) => !before.includes(socket));
    expect(own).toBeDefined();
    second[Symbol.dispose]();
    second[Symbol.dispose]();
    await until(() => !sockets().includes(String(own)), 'the socket');
    using device = TunDevice.open({ name: NAME, offload: true });
    ip('link', 'set', device.name, 'up');
    await until(() => seen.at(-1)?.link.isUp === true, 'the first listener');
    expect(lost).toBe(0);
  });

  test('whose messages were lost says so, and has ended', async () => {
    const before = readdirSync('/proc/self/fd');
    const errors: unknown[] = [];
    using _deaf = new LinkListener({
      onLink: () => {},
      onLost: (error) => errors.push(error),
    });
    const [fd] = readdirSync('/proc/self/fd').filter(
      (each) => !before.includes(each) && isSocket(each),
    );
    // The least that the kernel allows: two messages.
    setOption(Number(fd), SOL_SOCKET, SO_RCVBUF, 1);
    using device = TunDevice.open({ name: NAME, offload: true });
    for (let i = 0; i < 10; i++) ip('link', 'set', device.name, i % 2 === 0 ? 'up' : 'down');
    await until(() => errors.length === 1, 'the error');
    expect(String(errors[0])).toContain('ENOBUFS');
    await until(() => !isSocket(String(fd)), 'its end');
  });
});
