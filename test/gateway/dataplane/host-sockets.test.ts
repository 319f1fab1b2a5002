import { afterEach, beforeEach, expect, test } from 'bun:test';
import { Epoll } from '../../../src/ffi/epoll.ts';
import { sendDescriptor } from '../../../src/ffi/fd-passing.ts';
import { libc } from '../../../src/ffi/libc.ts';
import { allocateStruct } from '../../../src/ffi/memory.ts';
import { closeFd, receive, send, shutdownWrite, socketPair } from '../../../src/ffi/sockets.ts';
import { ConnChannel } from '../../../src/gateway/dataplane/claims/conn-channel.ts';
import { HOST_SOCKET_EVENTS, HostSockets } from '../../../src/gateway/dataplane/host-sockets.ts';
import type { FromDataPlane } from '../../../src/gateway/messages/control.ts';
import { COUNTERS_BYTES, Counters } from '../../../src/stack/counters.ts';
import { descriptorCount } from '../../ffi/support/descriptors.ts';

const SHUT_RD = 0;
const io = allocateStruct(8);
type Pair = [mine: number, theirs: number];
let [epoll, mine, theirs] = [new Epoll(), 0, 0];
let [conns, handover]: Pair[] = [];
let told: FromDataPlane[] = [];
/** The supervisor is too far behind to be told more. */
let isFull = false;

beforeEach(() => {
  [mine, theirs] = socketPair('seqpacket');
  conns = socketPair('seqpacket');
  handover = socketPair('seqpacket');
  [epoll, told, isFull] = [new Epoll(), [], false];
});
afterEach(() => {
  for (const fd of [mine, theirs, ...conns!, ...handover!, epoll.fd]) closeFd(fd);
});

/** How many events there are in one turn of a loop. */
function turn(sockets: HostSockets): number {
  const count = epoll.wait(0);
  for (let i = 0; i < count; i++) sockets.onEvents('decisions', epoll.events(i));
  return count;
}
const watched = () =>
  new HostSockets(
    epoll,
    (message) => !isFull && told.push(message) > 0,
    { decisions: mine, conns: conns![0] },
    handover![0],
  );
/** Until the host would have to listen first. */
const fill = (channel: ConnChannel) => {
  while (channel.isReady) channel.send(60_000);
};
const SHUT: FromDataPlane = { kind: 'host-socket-shut', socket: 'decisions' };

test('a socket that a host shuts down is told of once, and wakes nobody any more', () => {
  epoll.add(mine, HOST_SOCKET_EVENTS, 1);
  const sockets = watched();
  expect(turn(sockets)).toBe(0);
  shutdownWrite(theirs);
  expect([turn(sockets), turn(sockets), turn(sockets)]).toEqual([1, 0, 0]);
  expect(told).toEqual([SHUT]);
});

test('a supervisor that is too far behind is told again, and then once', () => {
  epoll.add(mine, HOST_SOCKET_EVENTS, 1);
  const sockets = watched();
  isFull = true;
  shutdownWrite(theirs);
  expect([turn(sockets), turn(sockets)]).toEqual([1, 0]);
  sockets.tell();
  isFull = false;
  expect(told).toEqual([]);
  sockets.tell();
  sockets.tell();
  expect(told).toEqual([SHUT]);
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
  channel.onDeaf = () => sockets.over('decisions');
  libc.shutdown(theirs, SHUT_RD);
  expect(turn(sockets)).toBe(0);
  channel.send(8);
  expect(channel.isReady).toBe(true);
  expect(told).toEqual([SHUT]);
  shutdownWrite(theirs);
  channel.send(8);
  expect([turn(sockets), told.length]).toEqual([0, 1]);
});

test('a channel that waits for a host to take messages sees its socket end', () => {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  const channel = new ConnChannel(mine, epoll, 1, counters);
  const sockets = watched();
  fill(channel);
  expect(turn(sockets)).toBe(0);
  shutdownWrite(theirs);
  expect([turn(sockets), turn(sockets)]).toEqual([1, 0]);
  expect(told).toEqual([SHUT]);
});

test('others that are passed stand in its place, watched and told of anew', () => {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  const channel = new ConnChannel(conns![0], epoll, 2, counters);
  epoll.add(mine, HOST_SOCKET_EVENTS, 1);
  const sockets = watched();
  fill(channel);
  shutdownWrite(theirs);
  turn(sockets);
  const [first, second] = [socketPair('seqpacket'), socketPair('seqpacket')];
  const supervisor = socketPair('seqpacket');
  sendDescriptor(supervisor[0], conns![0], 1);
  const before = descriptorCount('socket:');
  // A data plane before this one did not live to take these.
  for (const [number, fd] of [first[0], first[0], second[0]].entries()) {
    sendDescriptor(handover![1], fd, 7 + number);
  }
  expect(sockets.replace({ decisions: 8, conns: 9 })).toBe(true);
  expect(descriptorCount('socket:')).toBe(before);
  expect(told).toEqual([SHUT, { kind: 'host-sockets' }]);
  epoll.add(mine, HOST_SOCKET_EVENTS, 1);
  channel.renew();
  expect(turn(sockets)).toBe(0);
  expect(channel.isReady).toBe(true);
  channel.send(8);
  send(first[1], io.address, 3);
  expect([turn(sockets), receive(mine, io.address, 8)]).toEqual([1, 3]);
  expect(receive(second[1], io.address, 8)).toBe(8);
  // Somebody has those before open; here nobody waits for them.
  send(theirs, io.address, 3);
  while (receive(conns![1], io.address, 8) > 0);
  expect(turn(sockets)).toBe(0);
  shutdownWrite(first[1]);
  expect([turn(sockets), told.at(-1)]).toEqual([1, SHUT]);
  for (const fd of [...first, ...second, ...supervisor]) closeFd(fd);
});

test('others of which one does not come leave everything as it was', () => {
  const sockets = watched();
  const [one, other] = socketPair('seqpacket');
  sendDescriptor(handover![1], one, 7);
  const before = descriptorCount('socket:');
  expect(sockets.replace({ decisions: 7, conns: 8 })).toBe(false);
  expect(told).toEqual([{ kind: 'host-sockets', error: expect.any(String) }]);
  expect(descriptorCount('socket:')).toBe(before);
  expect(send(mine, io.address, 3)).toBe(3);
  expect(receive(theirs, io.address, 8)).toBe(3);
  for (const fd of [one, other]) closeFd(fd);
});
