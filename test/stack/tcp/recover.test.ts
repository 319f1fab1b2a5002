/** A data plane that starts over the memory of one that died. */
import { expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState, POSITIONS, STATES } from '../../support/tcp-states.ts';

/** The client of `rig` as it sees the stack that takes over: it knows both sequence numbers. */
function takeOver(rig: TcpRig, family: 4 | 6): TcpRig {
  return new TcpRig({ family, memory: rig.memory, start: rig.now });
}

for (const family of [4, 6] as const) {
  for (const state of STATES) {
    if (state === 'CLOSED') continue;
    const isSilent = state === 'LISTEN' || state === 'SYN-SENT' || state === 'TIME-WAIT';
    test(`${state}: an IPv${family} client is ${isSilent ? 'told nothing' : 'reset'}`, () => {
      const rig = inState(state, { family });
      const next = takeOver(rig, family);
      if (!isSilent) {
        const segment = next.peer.read();
        const { peer, stack } = POSITIONS[state];
        expect(segment?.flags).toBe(0x14);
        expect(segment?.seq).toBe((rig.peer.serverIss + stack) >>> 0);
        expect(segment?.ack).toBe((rig.peer.options.iss + peer) >>> 0);
      }
      next.expectEmpty();
    });
  }
}

test('every flow but those that were reported is reported, once, with the reason', () => {
  const rig = new TcpRig();
  const peers = [1, 2, 3].map((port) => rig.newPeer({ port }));
  for (const peer of peers) rig.connect(peer);
  peers[1]?.sends('R 1:1(0)');
  const next = takeOver(rig, 4);
  expect(next.leftovers.map(({ source, closeReason }) => [source.port, closeReason])).toEqual([
    [1, 'restart'],
    [3, 'restart'],
  ]);
  expect(next.counters.closed(CloseReason.RESTART)).toBe(2);
  const third = takeOver(next, 4);
  expect(third.leftovers).toEqual([]);
});

test('what the dead one held is free again', () => {
  const rig = inState('ESTABLISHED', { limits: { flows: 4 } });
  rig.flow.appetite = 0;
  rig.send(10_000);
  rig.peer.sends('P. 1:1001(1000) ack 1 win 512');
  const next = new TcpRig({ memory: rig.memory, start: rig.now, limits: { flows: 4 } });
  next.frames.length = 0;
  next.expectEmpty();
  expect(next.counters.get(Counter.FLOWS_NOW)).toBe(0);
  for (let port = 1; port <= 4; port++) next.connect(next.newPeer({ port }));
  expect(next.stack.flows.used).toBe(4);
});

test('a client whose numbers moved on answers the reset, and gets one that fits', () => {
  const rig = inState('ESTABLISHED');
  const next = takeOver(rig, 4);
  next.frames.length = 0;
  // The challenge ACK of RFC 5961 §3.2.
  next.peer.sends('. 1:1(0) ack 777 win 512');
  next.peer.expects('R 777:777(0)');
});

test('serial numbers go on where the dead one left off', () => {
  const rig = inState('ESTABLISHED');
  const next = takeOver(rig, 4);
  next.frames.length = 0;
  next.connect();
  expect(next.stack.flows.isLive(next.row, 2)).toBe(true);
  expect(next.stack.flows.isLive(next.row, 1)).toBe(false);
});
