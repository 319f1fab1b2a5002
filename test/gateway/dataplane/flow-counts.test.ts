/** What flows count for, by the verdict that was given about them. */
import { expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { FlowCount } from '../../../src/stack/flow-counts.ts';
import { ClosedBy, VerdictCode } from '../../../src/stack/flow-row.ts';
import { flowTotal } from '../../../src/stack/flow-tally.ts';
import { DataPlaneRig } from '../../support/dataplane-rig.ts';

/** Nobody listens there. */
const PORT = 1;
const TCP = 0;

test('the answer of a script counts its flow, once', async () => {
  using rig = new DataPlaneRig({ port: PORT });
  rig.dial();
  expect(rig.counters.flows(FlowCount.FLOWS, VerdictCode.FORWARD, TCP)).toBe(1);
  await rig.until(() => rig.endedRows.length > 0);
  expect(flowTotal(rig.counters, FlowCount.FLOWS)).toBe(1);
});

test('a client that goes before the verdict counts as one of none', () => {
  using rig = new DataPlaneRig({ port: PORT });
  rig.peer.sends('S 0:0(0) win 65535 <mss 1460>');
  expect(flowTotal(rig.counters, FlowCount.FLOWS)).toBe(0);
  rig.stack.abort(0, CloseReason.KILLED, ClosedBy.GATEWAY, rig.stack.tcb(0).lastReceivedAt);
  expect(rig.endedRows).toHaveLength(1);
  expect(rig.counters.flows(FlowCount.FLOWS, VerdictCode.NONE, TCP)).toBe(1);
});

test('bytes count for the verdict of their flow', () => {
  using rig = new DataPlaneRig({ port: PORT });
  rig.open();
  rig.peer.sends('P. 1:101(100) ack 1 win 512');
  expect(rig.counters.flows(FlowCount.BYTES_UP, VerdictCode.CLAIM, TCP)).toBe(100);
  expect(flowTotal(rig.counters, FlowCount.BYTES_UP)).toBe(100);
});
