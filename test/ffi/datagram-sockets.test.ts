import { describe, expect, test } from 'bun:test';
import { DatagramBatch } from '../../src/ffi/datagram-batch.ts';
import {
  pathMtu,
  receiveCoalesced,
  receiveErrors,
  receiveTrafficClass,
  sendSegments,
  setBuffers,
  setFragmentation,
  setHopLimit,
  setTrafficClass,
  udpSocket,
} from '../../src/ffi/datagram-sockets.ts';
import { Errno } from '../../src/ffi/errno.ts';
import { closeFd, connectSocket, receive, send } from '../../src/ffi/sockets.ts';
import { DatagramPair, viewOf } from './support/datagram-pair.ts';
import { ip, isRoot, NetworkNamespace } from './support/namespace.ts';

const STRIDE = 16_384;

/** What `batch` has received into buffers of STRIDE bytes behind each other, as text. */
function describeBatch(batch: DatagramBatch, count: number): string[] {
  return Array.from({ length: Math.max(count, 0) }, (_, i) => {
    batch.readControl(i);
    const cut = batch.isTruncated(i) ? ' truncated' : '';
    return `${batch.length(i)} of ${batch.segmentBytes}, class ${batch.trafficClass}${cut}`;
  });
}

function newBatch(pair: DatagramPair, count: number, length = STRIDE): DatagramBatch {
  const batch = new DatagramBatch(count, true);
  for (let i = 0; i < count; i++) batch.set(i, pair.address + STRIDE * (i + 4), length);
  return batch;
}

describe.each([4, 6] as const)('UDP over IPv%d', (family) => {
  test('one call receives what is there, each datagram in its buffer', () => {
    using pair = new DatagramPair(family);
    const batch = newBatch(pair, 4);
    expect(batch.receive(pair.receiver, 4)).toBe(-Errno.EAGAIN);
    pair.bytes.set([7, 8, 9]);
    for (const length of [3, 0, 1200]) expect(send(pair.sender, pair.address, length)).toBe(length);
    const got = batch.receive(pair.receiver, 4);
    expect(describeBatch(batch, got)).toEqual([
      '3 of 0, class 0',
      '0 of 0, class 0',
      '1200 of 0, class 0',
    ]);
    expect([...pair.bytes.subarray(STRIDE * 4, STRIDE * 4 + 3)]).toEqual([7, 8, 9]);
    expect([...pair.bytes.subarray(STRIDE * 6, STRIDE * 6 + 3)]).toEqual([7, 8, 9]);
  });

  test('what is more than asked for comes with the next call', () => {
    using pair = new DatagramPair(family);
    const batch = newBatch(pair, 2);
    for (const length of [1, 2, 3]) send(pair.sender, pair.address, length);
    expect(describeBatch(batch, batch.receive(pair.receiver, 2))).toHaveLength(2);
    expect(describeBatch(batch, batch.receive(pair.receiver, 2))).toEqual(['3 of 0, class 0']);
  });

  test('a datagram that is longer than its buffer is known as such', () => {
    using pair = new DatagramPair(family);
    const batch = newBatch(pair, 1, 10);
    send(pair.sender, pair.address, 11);
    expect(describeBatch(batch, batch.receive(pair.receiver, 1))).toEqual([
      '10 of 0, class 0 truncated',
    ]);
  });

  test('one call sends many datagrams, the last one shorter', () => {
    using pair = new DatagramPair(family);
    const batch = newBatch(pair, 8);
    pair.bytes.set(Array.from({ length: 250 }, (_, i) => i));
    expect(sendSegments(pair.sender, pair.address, 250, 100)).toBe(250);
    const got = batch.receive(pair.receiver, 8);
    expect(describeBatch(batch, got)).toEqual([
      '100 of 0, class 0',
      '100 of 0, class 0',
      '50 of 0, class 0',
    ]);
    expect(pair.bytes[STRIDE * 6]).toBe(200);
  });

  test('segments that are no packets each, or more than 128, are refused whole', () => {
    using pair = new DatagramPair(family);
    const refusals: number[] = [-Errno.EINVAL, -Errno.EMSGSIZE];
    expect(refusals).toContain(sendSegments(pair.sender, pair.address, 129, 1));
    expect(receive(pair.receiver, pair.address, 100)).toBe(-Errno.EAGAIN);
  });

  test('a receiver that takes them together gets them together, with their size', () => {
    using pair = new DatagramPair(family);
    const batch = newBatch(pair, 4);
    expect(receiveCoalesced(pair.receiver)).toBe(0);
    sendSegments(pair.sender, pair.address, 3500, 1000);
    send(pair.sender, pair.address, 5);
    expect(describeBatch(batch, batch.receive(pair.receiver, 4))).toEqual([
      '3500 of 1000, class 0',
      '5 of 0, class 0',
    ]);
  });

  test('the traffic class arrives, also after a datagram that had none to tell', () => {
    using pair = new DatagramPair(family);
    const batch = newBatch(pair, 4);
    receiveTrafficClass(pair.receiver, family);
    receiveCoalesced(pair.receiver);
    for (const trafficClass of [0xb8, 3, 0]) {
      expect(setTrafficClass(pair.sender, family, trafficClass)).toBe(0);
      sendSegments(pair.sender, pair.address, 20, 10);
    }
    expect(describeBatch(batch, batch.receive(pair.receiver, 4))).toEqual([
      '20 of 10, class 184',
      '20 of 10, class 3',
      '20 of 10, class 0',
    ]);
  });

  test('hop limits are 1 to 255', () => {
    using pair = new DatagramPair(family);
    expect(setHopLimit(pair.sender, family, 1)).toBe(0);
    expect(setHopLimit(pair.sender, family, 255)).toBe(0);
    expect(setHopLimit(pair.sender, family, 256)).toBe(-Errno.EINVAL);
  });

  test('the MTU of the path is that of loopback', () => {
    using pair = new DatagramPair(family);
    expect(pathMtu(pair.sender, family)).toBe(family === 4 ? 65_535 : 65_536);
  });

  test('larger buffers keep a burst', () => {
    using pair = new DatagramPair(family);
    setBuffers(pair.receiver, 4 * 1024 * 1024, 1024 * 1024);
    for (let i = 0; i < 2000; i++) send(pair.sender, pair.address, 64);
    let got = 0;
    while (receive(pair.receiver, pair.address, 100) > 0) got += 1;
    expect(got).toBe(2000);
  });

  test('errors of the other side are taken on when asked for', () => {
    using pair = new DatagramPair(family);
    expect(receiveErrors(pair.sender, family)).toBe(0);
    closeFd(pair.receiver);
    send(pair.sender, pair.address, 5);
    expect(send(pair.sender, pair.address, 5)).toBe(-Errno.ECONNREFUSED);
  });
});

describe.skipIf(!isRoot).each([4, 6] as const)('fragmentation over IPv%d', (family) => {
  test('a datagram beyond the MTU is cut where it may be, and refused where it must not', () => {
    using _namespace = new NetworkNamespace();
    ip('link', 'set', 'lo', 'mtu', '1400');
    using pair = new DatagramPair(family);
    expect(setFragmentation(pair.sender, family, true)).toBe(0);
    expect(send(pair.sender, pair.address, 3000)).toBe(3000);
    expect(receive(pair.receiver, pair.address, 4000)).toBe(3000);
    expect(setFragmentation(pair.sender, family, false)).toBe(0);
    expect(send(pair.sender, pair.address, 3000)).toBe(-Errno.EMSGSIZE);
    expect(pathMtu(pair.sender, family)).toBe(1400);
    expect(send(pair.sender, pair.address, 1400 - (family === 4 ? 28 : 48))).toBeGreaterThan(0);
  });
});

test('a datagram of 65,507 bytes goes through, and of none', () => {
  using pair = new DatagramPair(4);
  setFragmentation(pair.sender, 4, true);
  expect(send(pair.sender, pair.address, 65_507)).toBe(65_507);
  expect(send(pair.sender, pair.address, 0)).toBe(0);
  expect(receive(pair.receiver, pair.address, 70_000)).toBe(65_507);
  expect(receive(pair.receiver, pair.address, 70_000)).toBe(0);
  expect(send(pair.sender, pair.address, 65_508)).toBe(-Errno.EMSGSIZE);
});

test('broadcast is refused, as the socket did not ask for it', () => {
  const fd = udpSocket(4);
  expect(connectSocket(fd, viewOf('255.255.255.255'), 0, 4, 1)).toBe(-Errno.EACCES);
  closeFd(fd);
});
