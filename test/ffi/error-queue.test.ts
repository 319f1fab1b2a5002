import { describe, expect, test } from 'bun:test';
import {
  receiveErrors,
  receiveTrafficClass,
  setFragmentation,
} from '../../src/ffi/datagram-sockets.ts';
import { Errno } from '../../src/ffi/errno.ts';
import { ErrorOrigin, ErrorQueue } from '../../src/ffi/error-queue.ts';
import { closeFd, send } from '../../src/ffi/sockets.ts';
import { formatAddress } from '../../src/stack/wire/ip-address.ts';
import { DatagramPair } from './support/datagram-pair.ts';
import { ip, isRoot, NetworkNamespace } from './support/namespace.ts';

describe.each([4, 6] as const)('errors over IPv%d', (family) => {
  test('an unreachable port comes with who said so, and with what it is about', () => {
    using pair = new DatagramPair(family);
    receiveErrors(pair.sender, family);
    receiveTrafficClass(pair.sender, family);
    closeFd(pair.receiver);
    const queue = new ErrorQueue();
    expect(queue.read(pair.sender, pair.address, 100)).toBe(-Errno.EAGAIN);
    pair.bytes.set([1, 2, 3, 4, 5]);
    send(pair.sender, pair.address, 5);

    const got = queue.read(pair.sender, pair.address + 1000, 100);
    expect([...pair.bytes.subarray(1000, 1000 + got)]).toEqual([1, 2, 3, 4, 5]);
    expect(queue.origin).toBe(family === 4 ? ErrorOrigin.ICMP : ErrorOrigin.ICMP6);
    expect([queue.type, queue.code]).toEqual(family === 4 ? [3, 3] : [1, 4]);
    const offender = new DataView(new ArrayBuffer(16));
    expect(queue.copyOffender(offender, 0)).toBe(family);
    const text = formatAddress(offender, 0, family === 4 ? 4 : 16);
    expect(text).toBe(family === 4 ? '127.0.0.1' : '::1');
    expect(queue.read(pair.sender, pair.address, 100)).toBe(-Errno.EAGAIN);
    expect(queue.copyOffender(offender, 0)).toBe(0);
    // Taken off: the next send is not refused for it.
    expect(send(pair.sender, pair.address, 5)).toBe(5);
  });

  test.skipIf(!isRoot)('our own kernel says how long a packet may be', () => {
    using _namespace = new NetworkNamespace();
    ip('link', 'set', 'lo', 'mtu', '1400');
    using pair = new DatagramPair(family);
    receiveErrors(pair.sender, family);
    setFragmentation(pair.sender, family, false);
    expect(send(pair.sender, pair.address, 2000)).toBe(-Errno.EMSGSIZE);
    const queue = new ErrorQueue();
    expect(queue.read(pair.sender, pair.address, 100)).toBeGreaterThanOrEqual(0);
    expect(queue.origin).toBe(ErrorOrigin.LOCAL);
    expect(queue.info).toBe(1400);
    expect(queue.copyOffender(new DataView(new ArrayBuffer(16)), 0)).toBe(0);
  });
});
