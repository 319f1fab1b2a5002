import { expect, test } from 'bun:test';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { COUNTERS_BYTES, Counters } from '../../src/stack/counters.ts';
import { COUNTED_PROTOS, FlowCount } from '../../src/stack/flow-counts.ts';
import { FLOW_ROW_BYTES, FlowField, VerdictCode } from '../../src/stack/flow-row.ts';
import { countEnd, flowTotal, noteVerdict } from '../../src/stack/flow-tally.ts';
import { Protocol } from '../../src/stack/wire/protocol.ts';

const { FLOWS } = FlowCount;

/** The row of a flow that waits for its verdict, behind something else. */
function flowOf(protocol: number) {
  const at = FLOW_ROW_BYTES;
  const view = new DataView(new ArrayBuffer(2 * FLOW_ROW_BYTES));
  view.setUint8(at + FlowField.PROTOCOL, protocol);
  view.setUint8(at + FlowField.CLOSE_REASON, CloseReason.EOF);
  return { counters: new Counters(new ArrayBuffer(COUNTERS_BYTES)), view, at };
}

test.each([
  [Protocol.TCP, 'tcp'],
  [Protocol.UDP, 'udp'],
  [Protocol.ICMP, 'icmp'],
  [Protocol.ICMPV6, 'icmp'],
  [132, 'other'],
] as const)('a flow of protocol %p is one of %s', (protocol, proto) => {
  const { counters, view, at } = flowOf(protocol);
  noteVerdict(counters, view, at, VerdictCode.NAT);
  expect(counters.flows(FLOWS, VerdictCode.NAT, COUNTED_PROTOS.indexOf(proto))).toBe(1);
  expect(flowTotal(counters, FLOWS)).toBe(1);
});

test('a flow counts once: by its first verdict, and not by its end', () => {
  const { counters, view, at } = flowOf(Protocol.TCP);
  noteVerdict(counters, view, at, VerdictCode.FORWARD);
  noteVerdict(counters, view, at, VerdictCode.REJECT);
  countEnd(counters, view, at);
  expect(view.getUint8(at + FlowField.VERDICT)).toBe(VerdictCode.REJECT);
  expect(counters.flows(FLOWS, VerdictCode.FORWARD, 0)).toBe(1);
  expect(flowTotal(counters, FLOWS)).toBe(1);
  expect(counters.closed(CloseReason.EOF)).toBe(1);
});

test('a flow that ends without a verdict counts as one of none', () => {
  const { counters, view, at } = flowOf(Protocol.UDP);
  countEnd(counters, view, at);
  expect(counters.flows(FLOWS, VerdictCode.NONE, 1)).toBe(1);
});

test('totals are of one protocol, or of all, and of one count', () => {
  const { counters, view, at } = flowOf(Protocol.ICMP);
  counters.countFlow(FlowCount.BYTES_UP, view, at, 10);
  view.setUint8(at + FlowField.VERDICT, VerdictCode.DROP);
  counters.countFlow(FlowCount.BYTES_UP, view, at, 5);
  view.setUint8(at + FlowField.PROTOCOL, Protocol.TCP);
  counters.countFlow(FlowCount.BYTES_UP, view, at);
  const of = (proto?: number) => flowTotal(counters, FlowCount.BYTES_UP, proto);
  expect([of(), of(0), of(1), of(2)]).toEqual([16, 1, 0, 15]);
  expect(flowTotal(counters, FlowCount.BYTES_DOWN)).toBe(0);
});
