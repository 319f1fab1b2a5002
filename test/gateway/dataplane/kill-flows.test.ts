import { expect, test } from 'bun:test';
import { killFlows } from '../../../src/gateway/dataplane/kill-flows.ts';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { Carrier, FlowField } from '../../../src/stack/flow-row.ts';
import { TcpFlag } from '../../../src/stack/wire/tcp.ts';
import { inState } from '../../support/tcp-states.ts';

/** The rig's flow, as a message names it. */
const serialOf = ({ stack, memory }: ReturnType<typeof inState>, row = 0) =>
  new DataView(memory).getFloat64(stack.rowAt(row) + FlowField.SERIAL, true);

test('flows are reset; rows that are free or belong to another flow by now are left alone', () => {
  const rig = inState('ESTABLISHED');
  const serial = serialOf(rig);
  const others = [
    { row: 0, serial: serial + 1 },
    { row: 1, serial: 7 },
    { row: 2, serial: 0 },
    { row: -1, serial },
    { row: 1_000_000, serial },
  ];
  expect(killFlows(rig.stack, others, rig.now)).toBe(0);
  expect(rig.peer.read()).toBeUndefined();
  expect(killFlows(rig.stack, [...others, { row: 0, serial }], rig.now)).toBe(1);
  expect((rig.peer.read()?.flags ?? 0) & TcpFlag.RST).toBe(TcpFlag.RST);
  expect(rig.counters.closed(CloseReason.KILLED)).toBe(1);
  expect(killFlows(rig.stack, [{ row: 0, serial }], rig.now)).toBe(0);
});

test('a flow that our TCP keeps in TIME-WAIT is over, one that is only watched is not', () => {
  const rig = inState('TIME-WAIT');
  const flows = [{ row: 0, serial: serialOf(rig) }];
  expect(killFlows(rig.stack, flows, rig.now)).toBe(0);
  rig.stack.arena.view.setUint8(rig.stack.rowAt(0) + FlowField.CARRIER, Carrier.NAT);
  const aborted: number[] = [];
  rig.stack.abort = (row) => void aborted.push(row);
  expect(killFlows(rig.stack, flows, rig.now)).toBe(1);
  expect(aborted).toEqual([0]);
});

test('what a reload ends says so', () => {
  const rig = inState('ESTABLISHED');
  expect(killFlows(rig.stack, [{ row: 0, serial: serialOf(rig) }], rig.now, true)).toBe(1);
  expect(rig.flow.calls.at(-1)).toBe('closed reloaded by reload');
});
