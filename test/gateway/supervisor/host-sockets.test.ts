/** Sockets between data planes and script hosts that are made anew, and who gets them how. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createEventFd } from '../../../src/ffi/eventfd.ts';
import { receiveDescriptor } from '../../../src/ffi/fd-passing.ts';
import { allocateStruct } from '../../../src/ffi/memory.ts';
import { closeFd, receive, send, shutdownWrite, socketPair } from '../../../src/ffi/sockets.ts';
import type { HostSocket, ToDataPlane } from '../../../src/gateway/messages/control.ts';
import { HostSocketHandover } from '../../../src/gateway/supervisor/host-socket-handover.ts';
import { HostSockets, replaceHostSockets } from '../../../src/gateway/supervisor/host-sockets.ts';
import { descriptorCount, withoutDescriptors } from '../../ffi/support/descriptors.ts';

const io = allocateStruct(8);

test('a host that has shut one down is ended, and all data planes get others', () => {
  const queues = [{ hostSockets: new HostSockets() }, { hostSockets: new HostSockets() }];
  const before = descriptorCount('socket:');
  for (const { hostSockets } of queues) {
    shutdownWrite(hostSockets.scriptHost.decisions);
    shutdownWrite(hostSockets.scriptHost.conns);
  }
  let ends = 0;
  const fds = replaceHostSockets(queues, { socketShut: () => void ends++ });
  expect(ends).toBe(1);
  expect(fds).toEqual(queues.map(({ hostSockets }) => hostSockets.dataPlane));
  for (const { hostSockets } of queues) {
    const { dataPlane, scriptHost } = hostSockets;
    for (const socket of ['decisions', 'conns'] as const) {
      expect(send(scriptHost[socket], io.address, 3)).toBe(3);
      expect(receive(dataPlane[socket], io.address, 8)).toBe(3);
    }
  }
  expect(descriptorCount('socket:')).toBe(before);
  for (const { hostSockets } of queues) hostSockets[Symbol.dispose]();
  expect(descriptorCount('socket:')).toBe(before - 8);
});

test('all are made before one is replaced, or none is', () => {
  const queues = [{ hostSockets: new HostSockets() }, { hostSockets: new HostSockets() }];
  const before = queues.map(({ hostSockets }) => hostSockets.dataPlane);
  const count = descriptorCount('socket:');
  let ends = 0;
  // Enough for the first of them.
  const [first, second] = [createEventFd(), createEventFd()];
  withoutDescriptors(() => {
    closeFd(first);
    closeFd(second);
    expect(() => replaceHostSockets(queues, { socketShut: () => void ends++ })).toThrow('EMFILE');
  });
  expect(ends).toBe(0);
  expect(queues.map(({ hostSockets }) => hostSockets.dataPlane)).toEqual(before);
  expect(descriptorCount('socket:')).toBe(count);
  for (const { hostSockets } of queues) hostSockets[Symbol.dispose]();
});

describe('a data plane', () => {
  let [near, far]: number[] = [];
  let sent: ToDataPlane[] = [];
  let shut: HostSocket[] = [];
  let failures: string[] = [];
  let handover: HostSocketHandover;
  /** Some descriptors; here it does not matter of what. */
  const sockets = { decisions: 1, conns: 2 };

  beforeEach(() => {
    [near, far] = socketPair('seqpacket');
    [sent, shut, failures] = [[], [], []];
    handover = new HostSocketHandover({
      socket: near!,
      send: (message) => sent.push(message),
      onShut: (socket) => shut.push(socket),
      onFailed: (why) => failures.push(why),
      answerTimeoutMs: 40,
    });
    handover.started();
  });
  afterEach(() => {
    handover.ended();
    for (const fd of [near!, far!]) closeFd(fd);
  });

  /** Numbers of the descriptors that have come. */
  function numbers(): number[] {
    const all: number[] = [];
    for (;;) {
      const passed = receiveDescriptor(far!);
      if (typeof passed === 'number') return all;
      all.push(passed.number);
      closeFd(passed.fd);
    }
  }

  test('gets them by number when it is ready, and not before', () => {
    handover.pass(sockets);
    expect([sent, numbers()]).toEqual([[], []]);
    handover.ready();
    const [decisions, conns] = numbers();
    expect(sent).toEqual([{ kind: 'host-sockets', decisions: decisions!, conns: conns! }]);
    handover.pass(sockets);
    expect(sent).toHaveLength(2);
    expect(numbers()).not.toContain(decisions);
  });

  test('that begins later inherits them', () => {
    handover.pass(sockets);
    handover.started();
    handover.ready();
    expect([sent, numbers()]).toEqual([[], []]);
  });

  test('speaks of sockets that are replaced already until it has answered', () => {
    handover.ready();
    handover.shut('decisions');
    expect(shut).toEqual(['decisions']);
    handover.pass(sockets);
    handover.pass(sockets);
    handover.shut('conns');
    handover.answered({ kind: 'host-sockets' });
    handover.shut('conns');
    expect(shut).toEqual(['decisions']);
    handover.answered({ kind: 'host-sockets' });
    handover.shut('conns');
    expect(shut).toEqual(['decisions', 'conns']);
  });

  test('that does not answer is replaced, one that has ended or answered is not', async () => {
    handover.ready();
    handover.pass(sockets);
    handover.answered({ kind: 'host-sockets' });
    handover.pass(sockets);
    handover.ended();
    await Bun.sleep(80);
    expect(failures).toEqual([]);
    handover.ready();
    handover.pass(sockets);
    await Bun.sleep(80);
    expect(failures).toEqual([expect.stringContaining('does not answer')]);
  });

  test('that does not get them is to be replaced', () => {
    handover.ready();
    handover.pass(sockets);
    handover.answered({ kind: 'host-sockets', error: 'nothing came' });
    expect(failures).toEqual(['nothing came']);
    closeFd(far!);
    handover.pass(sockets);
    expect(failures).toEqual(['nothing came', expect.stringContaining('sendmsg')]);
    far = createEventFd();
  });
});
