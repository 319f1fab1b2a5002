/** What a batch takes from a unix socket; from sockets of UDP: datagram-sockets.test.ts. */
import { expect, test } from 'bun:test';
import { DatagramBatch } from '../../src/ffi/datagram-batch.ts';
import { sendDescriptor } from '../../src/ffi/fd-passing.ts';
import { allocateStruct, SharedMemory } from '../../src/ffi/memory.ts';
import { closeFd, socketPair } from '../../src/ffi/sockets.ts';
import { descriptorCount } from './support/descriptors.ts';

test('descriptors that come with a datagram are not taken, and the datagram is', () => {
  const [mine, theirs] = socketPair('seqpacket');
  using memory = SharedMemory.create('passed', 4096);
  const buffer = allocateStruct(64);
  const batch = new DatagramBatch(2);
  for (const index of [0, 1]) batch.set(index, buffer.address + index * 32, 32);
  const before = descriptorCount('memfd:passed');
  // Twice: a call must not leave room for the next.
  for (let round = 0; round < 2; round++) {
    for (const number of [7, 8]) sendDescriptor(theirs, memory.fd, number);
    expect(batch.receive(mine, 2)).toBe(2);
    expect([batch.length(0), batch.length(1)]).toEqual([4, 4]);
    expect(buffer.view.getUint32(32, true)).toBe(8);
    batch.readControl(1);
    expect([batch.segmentBytes, batch.trafficClass]).toEqual([0, 0]);
  }
  expect(descriptorCount('memfd:passed')).toBe(before);
  for (const fd of [mine, theirs]) closeFd(fd);
});
