import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { filterReplies, pingSocket, rawEchoSocket } from '../../src/ffi/echo-sockets.ts';
import { Errno } from '../../src/ffi/errno.ts';
import { addressOf } from '../../src/ffi/memory.ts';
import { closeFd, connectSocket, receive, send } from '../../src/ffi/sockets.ts';
import { checksum } from '../../src/stack/wire/checksum.ts';
import { LOOPBACK } from './support/datagram-pair.ts';
import { isRoot, NetworkNamespace } from './support/namespace.ts';

const REQUEST = { 4: 8, 6: 128 } as const;
const REPLY = { 4: 0, 6: 129 } as const;
const HEADER_BYTES = { 4: 20, 6: 0 } as const;
const PING_GROUP_RANGE = '/proc/sys/net/ipv4/ping_group_range';

const memory = new Uint8Array(new ArrayBuffer(4096));
const address = addressOf(memory.buffer);
const view = new DataView(memory.buffer);

/** An echo request with four bytes, complete for IPv4; the kernel sums ICMPv6. */
function request(family: 4 | 6, identifier: number): number {
  memory.set([REQUEST[family], 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4]);
  view.setUint16(4, identifier);
  view.setUint16(2, family === 4 ? checksum(view, 0, 12) : 0);
  return 12;
}

function connected(fd: number, family: 4 | 6): number {
  expect(fd).toBeGreaterThan(2);
  expect(connectSocket(fd, LOOPBACK[family], 0, family, 0)).toBe(0);
  return fd;
}

/** A namespace in which everybody may ping, and none in which root may. */
class PingNamespace extends NetworkNamespace {
  constructor(range: string) {
    super();
    const file = PING_GROUP_RANGE;
    // The file shows the namespace of whoever opens it.
    Bun.spawnSync(['sh', '-c', `echo "${range}" > ${file}`]);
    expect(readFileSync(file, 'utf8').trim().split(/\s+/)).toEqual(range.split(' '));
  }
}

describe.skipIf(!isRoot).each([4, 6] as const)('echo over IPv%d', (family) => {
  test('a raw socket gets the reply with its own identifier, and no other', () => {
    using _namespace = new NetworkNamespace();
    const mine = connected(rawEchoSocket(family), family);
    const other = connected(rawEchoSocket(family), family);
    expect(filterReplies(mine, family, 0x1234)).toBe(0);
    expect(filterReplies(other, family, 0x5678)).toBe(0);
    expect(send(mine, address, request(family, 0x1234))).toBe(12);
    expect(receive(mine, address + 1000, 1000)).toBe(HEADER_BYTES[family] + 12);
    const at = 1000 + HEADER_BYTES[family];
    expect(view.getUint8(at)).toBe(REPLY[family]);
    expect(view.getUint16(at + 4)).toBe(0x1234);
    expect(receive(other, address + 1000, 1000)).toBe(-Errno.EAGAIN);
    // Its own request, which loopback brings back, is not seen either.
    expect(receive(mine, address + 1000, 1000)).toBe(-Errno.EAGAIN);
    closeFd(mine);
    closeFd(other);
  });

  test('a ping socket gets its replies without a header', () => {
    using _namespace = new PingNamespace('0 1000');
    const fd = connected(pingSocket(family), family);
    expect(send(fd, address, request(family, 0x1234))).toBe(12);
    expect(receive(fd, address + 1000, 1000)).toBe(12);
    expect(view.getUint8(1000)).toBe(REPLY[family]);
    expect([...memory.subarray(1008, 1012)]).toEqual([1, 2, 3, 4]);
    closeFd(fd);
  });

  test('a ping socket is forbidden where the sysctl says so', () => {
    using _namespace = new PingNamespace('1 0');
    expect(pingSocket(family)).toBe(-Errno.EACCES);
  });
});
