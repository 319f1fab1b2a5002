import { afterEach, beforeEach, expect, test } from 'bun:test';
import { createEventFd } from '../../../../src/ffi/eventfd.ts';
import { receiveDescriptor } from '../../../../src/ffi/fd-passing.ts';
import { closeFd, socketPair } from '../../../../src/ffi/sockets.ts';
import type { ToDataPlane } from '../../../../src/gateway/messages/control.ts';
import { DeviceHandover } from '../../../../src/gateway/supervisor/device/device-handover.ts';

const FACTS = { name: 'x0', mtu: 1500, vnetHeader: true, offloads: 7 };

let near: number;
let far: number;
let fd: number;
let sent: ToDataPlane[];
let handover: DeviceHandover;

beforeEach(() => {
  [near, far] = socketPair('seqpacket');
  fd = createEventFd();
  sent = [];
  handover = new DeviceHandover(near, (message) => sent.push(message));
});
afterEach(() => {
  for (const each of [near, far, fd]) closeFd(each);
});

/** What the data plane would take. */
function take(): number {
  const passed = receiveDescriptor(far);
  if (typeof passed === 'number') throw new Error('nothing was passed');
  closeFd(passed.fd);
  return passed.number;
}

test('the descriptor goes before the message that tells of it, and an answer ends it', async () => {
  const passing = handover.pass(fd, FACTS);
  const id = take();
  expect(sent).toEqual([{ kind: 'device', id, device: FACTS }]);
  expect(handover.answered(id, undefined)).toBe(true);
  await passing;
});

test('a data plane that refuses, or ends, has not taken it', async () => {
  const refused = handover.pass(fd, FACTS);
  handover.answered(take(), 'no room');
  expect(refused).rejects.toMatchObject({ code: 'DATA_PLANE_NOT_READY', message: 'no room' });
  await refused.catch(() => {});
  const lost = handover.pass(fd, FACTS);
  handover.lost();
  await expect(lost).rejects.toThrow('the data plane has ended meanwhile');
});

test('an answer that nobody waits for any more is one to act on, if it says yes', async () => {
  const passing = handover.pass(fd, FACTS);
  const id = take();
  handover.lost();
  await passing.catch(() => {});
  expect(handover.answered(id, undefined)).toBe(false);
  expect(handover.answered(id, 'no')).toBe(true);
});

test('a socket that nobody reads is an error with its name', async () => {
  closeFd(far);
  await expect(handover.pass(fd, FACTS)).rejects.toThrow('sendmsg(SCM_RIGHTS): EPIPE');
  far = createEventFd();
});

test('a release settles when the data plane has closed the device before, or is gone', async () => {
  const first = handover.release();
  expect(sent).toEqual([{ kind: 'device-release' }]);
  handover.released();
  await first;
  const second = handover.release();
  handover.lost();
  await second;
});
