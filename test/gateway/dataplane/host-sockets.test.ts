import { afterEach, beforeEach, expect, test } from 'bun:test';
import { Epoll } from '../../../src/ffi/epoll.ts';
import { libc } from '../../../src/ffi/libc.ts';
import { allocateStruct } from '../../../src/ffi/memory.ts';
import { closeFd, receive, send, shutdownWrite, socketPair } from '../../../src/ffi/sockets.ts';
import { ConnChannel } from '../../../src/gateway/dataplane/claims/conn-channel.ts';
import { HOST_SOCKET_EVENTS, HostSockets } from '../../../src/gateway/dataplane/host-sockets.ts';
import type { FromDataPlane } from '../../../src/gateway/messages/control.ts';
import { COUNTERS_BYTES, Counters } from '../../../src/stack/counters.ts';

const SHUT_RD = 0;
const io = allocateStruct(8);
let [epoll, mine, theirs] = [new Epoll(), 0, 0];
let told: FromDataPlane[] = [];

beforeEach(() => {
  [mine, theirs] = socketPair('seqpacket');
  [epoll, told] = [new Epoll(), []];
});
afterEach(() => {
  for (const fd of [mine, theirs, epoll.fd]) closeFd(fd);
});

/** How many events there are in one turn of a loop. */
function turn(sockets: HostSockets): number {
  const count = epoll.wait(0);
  for (let i = 0; i < count; i++) sockets.onEvents(mine, 'decisions', epoll.events(i));
  return count;
}
const watched = () => new HostSockets(epoll, (message) => told.push(message));

test('a socket that a host shuts down is told of once, and wakes nobody any more', () => {
  epoll.add(mine, HOST_SOCKET_EVENTS, 1);
  const sockets = watched();
  expect(turn(sockets)).toBe(0);
  shutdownWrite(theirs);
  expect([turn(sockets), turn(sockets), turn(sockets)]).toEqual([1, 0, 0]);
  expect(told).toEqual([
    {
      kind: 'log',
      level: 'error',
      event: 'script-socket-shut',
      fields: { socket: 'decisions' },
    },
  ]);
});

test('one on which something has come, a datagram without a byte too, goes on', () => {
  epoll.add(mine, HOST_SOCKET_EVENTS, 1);
  const sockets = watched();
  for (const bytes of [0, 3]) {
    send(theirs, io.address, bytes);
    expect(turn(sockets)).toBe(1);
    receive(mine, io.address, 8);
  }
  expect([turn(sockets), told.length]).toEqual([0, 0]);
});

test('a channel for conns ends in the same way, when its host does not listen either', () => {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  const channel = new ConnChannel(mine, epoll, 1, counters);
  const sockets = watched();
  libc.shutdown(theirs, SHUT_RD);
  channel.send(8);
  expect(channel.isReady).toBe(true);
  expect(turn(sockets)).toBe(0);
  shutdownWrite(theirs);
  expect([turn(sockets), turn(sockets)]).toEqual([1, 0]);
  expect(told).toHaveLength(1);
});
