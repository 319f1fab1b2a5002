import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { Epoll, EpollEvent } from '../../src/ffi/epoll.ts';
import { Errno } from '../../src/ffi/errno.ts';
import { createEventFd, drainEventFd, signalEventFd } from '../../src/ffi/eventfd.ts';
import { closeFd, shutdownWrite, socketPair } from '../../src/ffi/sockets.ts';
import { descriptorCount } from './support/descriptors.ts';

describe('Epoll', () => {
  let epoll: Epoll;
  let eventFd: number;

  beforeEach(() => {
    epoll = new Epoll();
    eventFd = createEventFd();
  });

  afterEach(() => {
    closeFd(eventFd);
    epoll[Symbol.dispose]();
  });

  test('wait gives 0 when nothing happens', () => {
    epoll.add(eventFd, EpollEvent.IN, 1);
    expect(epoll.wait(0)).toBe(0);
  });

  test('a fraction of a millisecond is waited for, not spun away', () => {
    const start = performance.now();
    expect(epoll.wait(0.2)).toBe(0);
    expect(performance.now() - start).toBeGreaterThanOrEqual(0.2);
  });

  test('an event brings its token back, all 32 bits of it', () => {
    epoll.add(eventFd, EpollEvent.IN, 0xfeed_beef);
    signalEventFd(eventFd);
    expect(epoll.wait(-1)).toBe(1);
    expect(epoll.token(0)).toBe(0xfeed_beef);
    expect(epoll.events(0)).toBe(EpollEvent.IN);
  });

  test('each of several events has its own token and bits', () => {
    const [left, right] = socketPair('stream');
    epoll.add(eventFd, EpollEvent.IN, 1);
    epoll.add(left, EpollEvent.IN | EpollEvent.OUT | EpollEvent.RDHUP, 2);
    signalEventFd(eventFd);
    shutdownWrite(right);
    const found = new Map<number, number>();
    const count = epoll.wait(0);
    for (let i = 0; i < count; i++) found.set(epoll.token(i), epoll.events(i));
    expect(found).toEqual(
      new Map([
        [1, EpollEvent.IN],
        [2, EpollEvent.IN | EpollEvent.OUT | EpollEvent.RDHUP],
      ]),
    );
    closeFd(left);
    closeFd(right);
  });

  test('a peer that closed is HUP, unasked', () => {
    const [left, right] = socketPair('stream');
    epoll.add(left, 0, 5);
    closeFd(right);
    expect(epoll.wait(0)).toBe(1);
    expect(epoll.events(0) & EpollEvent.HUP).toBe(EpollEvent.HUP);
    closeFd(left);
  });

  test('edge-triggered, a state is reported once', () => {
    epoll.add(eventFd, EpollEvent.IN | EpollEvent.ET, 1);
    signalEventFd(eventFd);
    expect(epoll.wait(0)).toBe(1);
    expect(epoll.wait(0)).toBe(0);
    signalEventFd(eventFd);
    expect(epoll.wait(0)).toBe(1);
  });

  test('modify replaces events and token', () => {
    epoll.add(eventFd, EpollEvent.IN, 1);
    signalEventFd(eventFd);
    expect(epoll.modify(eventFd, EpollEvent.OUT, 9)).toBe(0);
    expect(epoll.wait(0)).toBe(1);
    expect(epoll.token(0)).toBe(9);
    expect(epoll.events(0)).toBe(EpollEvent.OUT);
  });

  test('what was removed is reported no more', () => {
    epoll.add(eventFd, EpollEvent.IN, 1);
    signalEventFd(eventFd);
    expect(epoll.remove(eventFd)).toBe(0);
    expect(epoll.wait(0)).toBe(0);
  });

  test('mistakes are negative errnos', () => {
    expect(epoll.add(-1, EpollEvent.IN, 1)).toBe(-Errno.EBADF);
    expect(epoll.modify(eventFd, EpollEvent.IN, 1)).toBe(-Errno.ENOENT);
    expect(epoll.remove(eventFd)).toBe(-Errno.ENOENT);
    epoll.add(eventFd, EpollEvent.IN, 1);
    expect(epoll.add(eventFd, EpollEvent.IN, 1)).toBe(-Errno.EEXIST);
  });

  test('more events than one call takes come with the next calls', () => {
    const fds = Array.from({ length: 300 }, () => createEventFd());
    for (const [token, fd] of fds.entries()) {
      epoll.add(fd, EpollEvent.IN | EpollEvent.ET, token);
      signalEventFd(fd);
    }
    const tokens = new Set<number>();
    for (let count = epoll.wait(0); count > 0; count = epoll.wait(0)) {
      for (let i = 0; i < count; i++) tokens.add(epoll.token(i));
    }
    expect(tokens.size).toBe(300);
    for (const fd of fds) closeFd(fd);
  });
});

test('Epoll closes its descriptor', () => {
  const before = descriptorCount('[eventpoll]');
  for (let i = 0; i < 10; i++) {
    using epoll = new Epoll();
    expect(epoll.wait(0)).toBe(0);
  }
  expect(descriptorCount('[eventpoll]')).toBe(before);
});

describe('eventfd', () => {
  test('drain tells how often it was signalled, and empties it', () => {
    const fd = createEventFd();
    expect(drainEventFd(fd)).toBe(0);
    expect(signalEventFd(fd)).toBe(0);
    expect(signalEventFd(fd)).toBe(0);
    expect(drainEventFd(fd)).toBe(2);
    expect(drainEventFd(fd)).toBe(0);
    closeFd(fd);
  });

  test('a closed descriptor is a negative errno', () => {
    expect(signalEventFd(-1)).toBe(-Errno.EBADF);
    expect(drainEventFd(-1)).toBe(-Errno.EBADF);
  });
});
