/** Datagrams pass through a session, both ways, and no object is made. */
import { expect, setDefaultTimeout, test } from 'bun:test';
import { udpSocket } from '../../../../src/ffi/datagram-sockets.ts';
import { addressOf } from '../../../../src/ffi/memory.ts';
import {
  bindAddress,
  closeFd,
  connectSocket,
  localPort,
  receive,
  send,
} from '../../../../src/ffi/sockets.ts';
import { LOOPBACK } from '../../../ffi/support/datagram-pair.ts';
import { allocatedTypes } from '../../../support/no-alloc.ts';
import { SessionRig } from '../../../support/session-rig.ts';

// Each test makes 22,000 calls with a dozen calls of the kernel each.
setDefaultTimeout(60_000);

const memory = new ArrayBuffer(65_536);
const address = addressOf(memory);

/** A session, and its upstream, which is spoken to without the runtime. */
function connected(port?: number): { rig: SessionRig; row: number; upstream: number } {
  const upstream = udpSocket(4);
  bindAddress(upstream, LOOPBACK[4], 0, 4, 0);
  const rig = new SessionRig();
  rig.isQuiet = true;
  const row = rig.start({ port: port ?? localPort(upstream) });
  if (port === undefined) connectSocket(upstream, LOOPBACK[4], 0, 4, localPort(rig.fd(row)));
  return { rig, row, upstream };
}

test('datagrams up, gathered and alone, with headers that change', () => {
  const { rig, row, upstream } = connected();
  rig.send(row, new Uint8Array(200));
  const types = allocatedTypes((call) => {
    for (let i = 0; i < 4; i++) rig.sendAgain(row, 100, 0, 64, 0, true);
    rig.sendAgain(row, 200, 50, 64, call & 3);
    rig.sendAgain(row, 0);
    rig.turn(0);
    while (receive(upstream, address, 1000) >= 0);
  });
  expect(types).toEqual([]);
  closeFd(upstream);
  rig[Symbol.dispose]();
});

test('datagrams down, in runs and alone', () => {
  const { rig, upstream } = connected();
  const types = allocatedTypes(() => {
    for (let i = 0; i < 4; i++) send(upstream, address, 100);
    send(upstream, address, 50);
    send(upstream, address, 0);
    rig.turn(0);
  });
  expect(rig.sentBytes).toBe(22_000 * 450);
  expect(types).toEqual([]);
  closeFd(upstream);
  rig[Symbol.dispose]();
});

test('errors of a closed port', () => {
  const { rig, row, upstream } = connected(9);
  rig.send(row, new Uint8Array(100));
  const types = allocatedTypes(() => {
    rig.sendAgain(row, 100);
    rig.turn(0);
    rig.turn(0);
  });
  expect(types).toEqual([]);
  closeFd(upstream);
  rig[Symbol.dispose]();
});
