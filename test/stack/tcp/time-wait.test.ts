/** The bounded list of connections in TIME-WAIT. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Counter } from '../../../src/stack/counters.ts';
import { FLOW_ROW_BYTES } from '../../../src/stack/flow-row.ts';
import { NO_ROW, TCB_ROW_BYTES, Tcb } from '../../../src/stack/tcp/tcb.ts';
import { TimeWaitList } from '../../../src/stack/tcp/time-wait.ts';
import type { ScriptedPeer } from '../../support/scripted-peer.ts';
import { TcpRig } from '../../support/tcp-rig.ts';

/** Brings a new connection of `port` to TIME-WAIT. */
function waiting(rig: TcpRig, port: number): ScriptedPeer {
  const peer = rig.newPeer({ port });
  rig.connect(peer);
  rig.close();
  peer.sends('F. 1:1(0) ack 2 win 512');
  peer.readAll();
  expect(rig.state).toBe('TIME-WAIT');
  return peer;
}

/** Whether the stack still knows the connection: it acknowledges its FIN, or resets. */
function isKnown(peer: ScriptedPeer): boolean {
  peer.sends('F. 1:1(0) ack 2 win 512');
  return (peer.read()?.flags ?? 0) === 0x10;
}

test('a full list gives up the oldest', () => {
  const rig = new TcpRig({ limits: { timeWait: 2 } });
  const [first, second, third] = [1, 2, 3].map((port) => waiting(rig, port));
  expect(rig.counters.get(Counter.TIME_WAIT_NOW)).toBe(2);
  expect(rig.stack.flows.used).toBe(2);
  expect([first, second, third].map((peer) => isKnown(peer!))).toEqual([false, true, true]);
});

test('a wait that starts again makes the connection the newest', () => {
  const rig = new TcpRig({ limits: { timeWait: 2 } });
  const first = waiting(rig, 1);
  const second = waiting(rig, 2);
  expect(isKnown(first)).toBe(true);
  const third = waiting(rig, 3);
  expect([first, second, third].map(isKnown)).toEqual([true, false, true]);
});

test('connections leave from the front, the middle and the end', () => {
  for (const leaving of [0, 1, 2]) {
    const rig = new TcpRig();
    const peers = [1, 2, 3].map((port) => waiting(rig, port));
    peers[leaving]?.sends('R 2:2(0)');
    expect(peers.map(isKnown)).toEqual([0, 1, 2].map((index) => index !== leaving));
    for (const peer of peers) peer.readAll();
    expect(rig.counters.get(Counter.TIME_WAIT_NOW)).toBe(2);
    rig.wait(61_000);
    rig.expectEmpty();
  }
});

test('each waits for its own minute', () => {
  const rig = new TcpRig();
  const first = waiting(rig, 1);
  rig.wait(30_000);
  waiting(rig, 2);
  rig.wait(31_000);
  expect(rig.stack.flows.used).toBe(1);
  expect(isKnown(first)).toBe(false);
  rig.wait(31_000);
  rig.expectEmpty();
});

test('the list agrees with an array, whoever leaves', () => {
  const rows = 6;
  const anyStep = fc.tuple(fc.boolean(), fc.nat(rows - 1));
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
      const memory = new DataView(new ArrayBuffer(rows * (TCB_ROW_BYTES + FLOW_ROW_BYTES)));
      const list = new TimeWaitList(new Tcb(memory, 0, rows * TCB_ROW_BYTES), rows - 1);
      const model: number[] = [];
      for (const [isOldest, row] of steps) {
        const index = isOldest ? 0 : model.indexOf(row);
        const leaving = model[index];
        if (leaving !== undefined) {
          list.remove(leaving);
          model.splice(index, 1);
        } else if (!list.isFull) {
          list.add(row);
          model.push(row);
        }
        expect([list.oldest, list.count]).toEqual([model[0] ?? NO_ROW, model.length]);
        expect(list.isFull).toBe(model.length === rows - 1);
      }
    }),
    { includeErrorInReport: true },
  );
});
