/** What the owner may see of bytes that it has not taken. */
import { expect, test } from 'bun:test';
import { checkStream, Stream } from '../../support/byte-stream.ts';
import { inState } from '../../support/tcp-states.ts';

test('a look takes nothing: the same bytes wait, and come', () => {
  const rig = inState('ESTABLISHED');
  rig.flow.appetite = 30;
  rig.peer.sends('P. 1:2001(2000) ack 1 win 512');
  rig.peer.sends('P. 2001:20001(18000) ack 1 win 512', 1460);
  const into = new Uint8Array(20_010);
  const { row } = rig.flow;
  expect(rig.stack.waiting(row)).toBe(19_970);
  for (const max of [0, 1, 5_000, 30_000]) {
    into.fill(0);
    const copied = rig.stack.copyWaiting(row, into, 7, max);
    expect(copied).toBe(Math.min(max, 19_970));
    checkStream(Stream.CLIENT, 30, into, 7, copied);
    expect(into[7 + copied]).toBe(0);
  }
  rig.eat(20_000);
  expect(rig.flow.received).toBe(20_000);
  expect(rig.stack.waiting(row)).toBe(0);
  expect(rig.stack.copyWaiting(row, into, 0, 10)).toBe(0);
});

test('the owner hears of what comes behind bytes that it left, and of the FIN', () => {
  const rig = inState('ESTABLISHED');
  rig.flow.appetite = 0;
  rig.peer.sends('P. 1:101(100) ack 1 win 512');
  expect(rig.flow.waits).toBe(0);
  rig.peer.sends('P. 101:201(100) ack 1 win 512');
  expect(rig.flow.waits).toBe(1);
  expect(rig.stack.hasAllText(rig.flow.row)).toBe(false);
  rig.peer.sends('F. 201:201(0) ack 1 win 512');
  expect(rig.flow.waits).toBe(2);
  expect(rig.stack.hasAllText(rig.flow.row)).toBe(true);
  rig.eat(200);
  expect(rig.flow.calls.at(-1)).toBe('fin');
  expect(rig.flow.waits).toBe(2);
});

test('an owner that takes everything hears of nothing that waits', () => {
  const rig = inState('ESTABLISHED');
  rig.peer.sends('P. 101:201(100) ack 1 win 512');
  rig.peer.sends('F. 1:101(100) ack 1 win 512');
  rig.peer.sends('F. 201:201(0) ack 1 win 512');
  expect(rig.flow.waits).toBe(0);
  expect(rig.flow.calls.at(-1)).toBe('fin');
});

test('what closed a hole is there when the owner looks', () => {
  const rig = inState('ESTABLISHED');
  rig.flow.appetite = 0;
  rig.peer.sends('P. 101:201(100) ack 1 win 512');
  rig.peer.sends('P. 1:101(100) ack 1 win 512');
  rig.peer.sends('P. 201:301(100) ack 1 win 512');
  // The first call was onData; the hole was closed within it.
  expect(rig.flow.waits).toBe(1);
  expect(rig.stack.waiting(rig.flow.row)).toBe(300);
});
