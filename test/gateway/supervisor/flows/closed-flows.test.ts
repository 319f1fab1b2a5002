import { expect, test } from 'bun:test';
import type { EndedFlow } from '../../../../src/gateway/messages/script-control.ts';
import { ClosedFlows } from '../../../../src/gateway/supervisor/flows/closed-flows.ts';
import { Decider, FLOW_ROW_BYTES, VerdictCode } from '../../../../src/stack/flow-row.ts';
import { FlowMemory } from './flow-memory.ts';

const names = { scriptName: () => 'a', listenerName: () => 'l', upstreamName: () => 'u' };

/** Rows of flows as the data plane reports them. */
function rowsOf(...flows: readonly object[]): Uint8Array {
  const memory = new FlowMemory(Math.max(16, flows.length));
  for (const [i, flow] of flows.entries()) {
    memory.put(i, {
      serial: i + 1,
      decider: Decider.SCRIPT,
      verdict: VerdictCode.FORWARD,
      ...flow,
    });
  }
  return new Uint8Array(memory.buffer, 0, flows.length * FLOW_ROW_BYTES).slice();
}

function setUp(closers: readonly string[] = ['a']) {
  const sent: EndedFlow[][] = [];
  const closed = new ClosedFlows((flows) => sent.push([...flows]));
  closed.start(closers);
  return { sent, closed };
}

test('scripts hear of flows that they let through, and of no others', () => {
  const { sent, closed } = setUp();
  closed.take(rowsOf({}, { verdict: VerdictCode.REJECT }, { decider: Decider.LISTENER }), names);
  expect(sent).toHaveLength(1);
  expect(sent[0]?.map(({ script, flow }) => [script, flow.flow])).toEqual([['a', 1]]);
  expect(sent[0]?.[0]?.result).toEqual({
    bytesUp: expect.any(Number),
    bytesDown: expect.any(Number),
    durationMs: expect.any(Number),
    reason: expect.any(String),
  });
});

test('they are told the name that was seen, and no other', () => {
  const { sent, closed } = setUp();
  const notes = [{ seenName: 'a.example' }, { dnsName: 'up.example' }];
  closed.take(rowsOf({}, {}), names, (serial) => notes[serial - 1]);
  expect(sent[0]?.map(({ flow }) => flow.dnsName)).toEqual(['a.example', undefined]);
});

test('the next flows are sent when the host has told of the last ones', () => {
  const { sent, closed } = setUp();
  closed.take(rowsOf({}), names);
  for (let i = 0; i < 300; i++) closed.take(rowsOf({}), names);
  expect(sent).toHaveLength(1);
  closed.told();
  expect(sent[1]).toHaveLength(256);
  closed.told();
  expect(sent[2]).toHaveLength(44);
  closed.told();
  expect(sent).toHaveLength(3);
});

test('a host that does not take any costs no memory: what is too much is counted', () => {
  const { closed } = setUp();
  const rows = rowsOf(...Array.from({ length: 1000 }, () => ({})));
  for (let i = 0; i < 10; i++) closed.take(rows, names);
  // The first thousand: some were sent, the others wait.
  expect(closed.dropped).toBe(10_000 - 8192 - 256);
});

test('what ends while there is no host is told to the next one', () => {
  const { sent, closed } = setUp();
  closed.stop();
  closed.take(rowsOf({}), names);
  expect(sent).toHaveLength(0);
  closed.start(['a']);
  expect(sent).toHaveLength(1);
});

test.each([[[]], [['b']]])('where %p want to hear, the flow of another is not told', (closers) => {
  const { sent, closed } = setUp(closers);
  closed.take(rowsOf({}), names);
  expect(sent).toHaveLength(0);
});
