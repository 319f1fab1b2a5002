import { expect, test } from 'bun:test';
import { fstatSync } from 'node:fs';
import { Errno } from '../../src/ffi/errno.ts';
import { createEventFd, drainEventFd, signalEventFd } from '../../src/ffi/eventfd.ts';
import { receiveDescriptor, sendDescriptor } from '../../src/ffi/fd-passing.ts';
import { addressOf } from '../../src/ffi/memory.ts';
import { closeFd, send, socketPair } from '../../src/ffi/sockets.ts';

test('a descriptor arrives as another of the same file, with its number', () => {
  const [near, far] = socketPair('seqpacket');
  const fd = createEventFd();
  sendDescriptor(near, fd, 0xfffffffe);
  const passed = receiveDescriptor(far);
  if (typeof passed === 'number') throw new Error(`errno ${-passed}`);
  expect(passed.number).toBe(0xfffffffe);
  expect(passed.fd).not.toBe(fd);
  signalEventFd(fd);
  expect(drainEventFd(passed.fd)).toBe(1);
  for (const each of [near, far, fd, passed.fd]) closeFd(each);
});

test('several wait in their order, also after the sender has closed its own', () => {
  const [near, far] = socketPair('seqpacket');
  for (const number of [1, 2]) {
    const fd = createEventFd();
    sendDescriptor(near, fd, number);
    closeFd(fd);
  }
  const numbers = [receiveDescriptor(far), receiveDescriptor(far)].map((passed) => {
    if (typeof passed === 'number') throw new Error(`errno ${-passed}`);
    expect(fstatSync(passed.fd)).toBeDefined();
    closeFd(passed.fd);
    return passed.number;
  });
  expect(numbers).toEqual([1, 2]);
  for (const each of [near, far]) closeFd(each);
});

test('there may be none yet, none any more, and a message that has none', () => {
  const [near, far] = socketPair('seqpacket');
  expect(receiveDescriptor(far)).toBe(-Errno.EAGAIN);
  send(near, addressOf(new ArrayBuffer(8)), 4);
  expect(receiveDescriptor(far)).toBe(-Errno.EPIPE);
  closeFd(near);
  expect(receiveDescriptor(far)).toBe(-Errno.EPIPE);
  closeFd(far);
});

test('nobody at the other end is an error', () => {
  const [near, far] = socketPair('seqpacket');
  closeFd(far);
  expect(() => sendDescriptor(near, 0, 1)).toThrow('sendmsg(SCM_RIGHTS): EPIPE');
  closeFd(near);
});
