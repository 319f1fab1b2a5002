import { describe, expect, test } from 'bun:test';
import type { Filter } from '../../../../src/gateway/flow-filter/fields.ts';
import { flowId, parseFlowId } from '../../../../src/gateway/flow-filter/flow-id.ts';
import { everyFlow, parseFilter } from '../../../../src/gateway/flow-filter/parse.ts';
import { EndedFlows } from '../../../../src/gateway/supervisor/flows/ended-flows.ts';
import {
  LiveFlows,
  type LiveFlowView,
  type Page,
  viewLiveFlow,
} from '../../../../src/gateway/supervisor/flows/live-flows.ts';
import { LogSink } from '../../../../src/gateway/supervisor/log/log-sink.ts';
import { createLogger } from '../../../../src/gateway/supervisor/log/logger.ts';
import { CloseReason } from '../../../../src/stack/close-reason.ts';
import { Decider, FLOW_ROW_BYTES, FlowPhase } from '../../../../src/stack/flow-row.ts';
import { FlowMemory, flowContext } from './flow-memory.ts';

const CAPACITY = 8;

function memoryOf(rows: readonly number[]): FlowMemory {
  const memory = new FlowMemory(CAPACITY);
  for (const row of rows) memory.put(row, { closeReason: CloseReason.EOF });
  return memory;
}

const live = (rows: readonly number[]) => new LiveFlows(memoryOf(rows).reader, flowContext);

describe('live flows', () => {
  test('are shown with the names of who decided', () => {
    const [flow] = live([2]).page({ filter: everyFlow, from: 0, limit: 10 }, viewLiveFlow).items;
    expect(flow).toMatchObject({
      id: '2u',
      src: '10.0.0.2',
      src_port: 1000,
      dst_port: 80,
      state: 'ESTABLISHED',
      verdict: 'forward',
      script: 'route',
      script_version: 3,
      start: '2026-01-01T00:00:30.000Z',
      duration_ms: 30_000,
      bytes_up: 5,
    });
  });

  test('have the name of their upstream, `direct`, or none', () => {
    const memory = new FlowMemory(CAPACITY);
    memory.put(0, { upstream: '10.2.0.1', upstreamPort: 8443, via: 7 });
    memory.put(1, { upstream: '10.2.0.1', upstreamPort: 8443 });
    memory.put(2);
    const flows = new LiveFlows(memory.reader, flowContext);
    const page = flows.page({ filter: everyFlow, from: 0, limit: 10 }, viewLiveFlow);
    expect(page.items.map(({ upstream, upstream_addr }) => [upstream, upstream_addr])).toEqual([
      ['pool-b', '10.2.0.1:8443'],
      ['direct', '10.2.0.1:8443'],
      [undefined, undefined],
    ]);
  });

  test('come in pages, none twice and none left out', () => {
    const flows = live([0, 2, 3, 5, 7]);
    const ids: string[] = [];
    let from: number | undefined = 0;
    while (from !== undefined) {
      const page: Page<LiveFlowView> = flows.page(
        { filter: everyFlow, from, limit: 2 },
        viewLiveFlow,
      );
      ids.push(...page.items.map((flow) => flow.id));
      from = page.next;
    }
    expect(ids).toEqual([100, 102, 103, 105, 107].map(flowId));
  });

  test('are found by their serial number', () => {
    expect(live([1, 4]).find(104)).toMatchObject({ row: 4, flow: { src: '10.0.0.4' } });
    expect(live([1, 4]).find(105)).toBeUndefined();
  });

  test('are counted by script and generation, and by protocol', () => {
    const memory = memoryOf([0, 1]);
    memory.put(2, { protocol: 58, decider: Decider.LISTENER });
    memory.put(3, { protocol: 132, decider: Decider.LISTENER });
    memory.put(4, { phase: FlowPhase.TIME_WAIT, decider: Decider.LISTENER });
    const flows = new LiveFlows(memory.reader, flowContext);
    const { scripts, protocols, flows: live } = flows.census();
    expect(scripts).toEqual([{ script: 'route', generation: 3, count: 2 }]);
    expect(Object.fromEntries(protocols)).toEqual({ tcp: 3, udp: 0, icmp: 1, other: 1 });
    expect(live).toEqual([
      { proto: 'tcp', verdict: 'forward', count: 2 },
      { proto: 'icmp', verdict: 'forward', count: 1 },
      { proto: 'other', verdict: 'forward', count: 1 },
    ]);
    expect(flows.count(parseFilter('proto != tcp'))).toBe(2);
    expect(flows.refs(parseFilter('proto != tcp'))).toEqual([
      { row: 2, serial: 102 },
      { row: 3, serial: 103 },
    ]);
  });

  test('that change hands while they are looked at are left out', () => {
    const memory = memoryOf([0, 1]);
    const flows = new LiveFlows(memory.reader, flowContext);
    const filter: Filter = () => (_, at) => {
      if (at === 0) memory.put(0, { serial: 200 });
      return true;
    };
    expect(flows.refs(filter)).toEqual([{ row: 1, serial: 101 }]);
  });
});

test('an id is the serial number in base 36', () => {
  expect(flowId(123_456_789)).toBe('21i3v9');
  expect(parseFlowId('21i3v9')).toBe(123_456_789);
  for (const id of ['', '0', '-1', 'A', '1.5', 'zzzzzzzzzzzz'])
    expect(parseFlowId(id)).toBeUndefined();
});

test('a flow that ended is one line, with its reason, and one value of the histogram', () => {
  const lines: string[] = [];
  const sink = new LogSink();
  sink.write = (line) => void lines.push(line);
  const ended = new EndedFlows(createLogger({ level: 'info', format: 'json' }, sink), flowContext);
  ended.take(new Uint8Array(memoryOf([0, 1]).buffer, 0, 2 * FLOW_ROW_BYTES), true);
  ended.take(new Uint8Array(memoryOf([0]).buffer, 0, FLOW_ROW_BYTES), false);
  expect(lines).toHaveLength(2);
  expect(JSON.parse(lines[1] ?? '')).toMatchObject({
    level: 'info',
    msg: 'flow',
    event: 'flow',
    flow_id: '2t',
    src: '10.0.0.1',
    orig_dst: '10.1.0.1',
    script: 'route',
    duration_ms: 10_000,
    close_reason: 'eof',
  });
  expect(ended.durations.find(({ verdict }) => verdict === 'forward')?.histogram.counts).toEqual([
    0, 0, 0, 0, 3, 0, 0, 0, 0, 0,
  ]);
});
