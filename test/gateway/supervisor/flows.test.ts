import { describe, expect, test } from 'bun:test';
import { EndedFlows } from '../../../src/gateway/supervisor/ended-flows.ts';
import { FilterError, parseFilter } from '../../../src/gateway/supervisor/flow-filter.ts';
import { flowId, parseFlowId } from '../../../src/gateway/supervisor/flow-view.ts';
import { LiveFlows } from '../../../src/gateway/supervisor/live-flows.ts';
import { LogSink } from '../../../src/gateway/supervisor/log-sink.ts';
import { createLogger } from '../../../src/gateway/supervisor/logger.ts';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import {
  Decider,
  FLOW_ROW_BYTES,
  FlowField,
  FlowPhase,
  VerdictCode,
} from '../../../src/stack/flow-row.ts';
import { TcpState } from '../../../src/stack/tcp/states.ts';

const CAPACITY = 8;
const NOW_US = 60_000_000;

const context = () => ({
  names: {
    scriptName: (generation: number, index: number) =>
      generation === 3 && index === 1 ? 'route' : undefined,
    listenerName: () => 'web',
  },
  iface: 'x0',
  nowUs: NOW_US,
  nowMs: Date.parse('2026-01-01T00:01:00Z'),
});

/** Memory with one flow in each of the rows given: 10.0.0.ROW:1000 to 10.1.0.1:80. */
function memory(rows: readonly number[]): ArrayBuffer {
  const buffer = new ArrayBuffer(CAPACITY * FLOW_ROW_BYTES);
  const view = new DataView(buffer);
  for (const row of rows) {
    const at = row * FLOW_ROW_BYTES;
    view.setFloat64(at + FlowField.SERIAL, 100 + row, true);
    view.setFloat64(at + FlowField.STARTED_AT, 30_000_000, true);
    view.setFloat64(at + FlowField.LAST_USED_AT, 40_000_000, true);
    view.setFloat64(at + FlowField.BYTES_UP, 5, true);
    view.setUint32(at + FlowField.SOURCE, 0x0a000000 + row);
    view.setUint32(at + FlowField.DESTINATION, 0x0a010001);
    view.setUint16(at + FlowField.SOURCE_PORT, 1000, true);
    view.setUint16(at + FlowField.DESTINATION_PORT, 80, true);
    view.setUint8(at + FlowField.FAMILY, 4);
    view.setUint8(at + FlowField.PROTOCOL, 6);
    view.setUint8(at + FlowField.PHASE, FlowPhase.OPEN);
    view.setUint8(at + FlowField.TCP_STATE, TcpState.ESTABLISHED);
    view.setUint8(at + FlowField.VERDICT, VerdictCode.FORWARD);
    view.setUint8(at + FlowField.DECIDER, Decider.SCRIPT);
    view.setUint8(at + FlowField.CLOSE_REASON, CloseReason.EOF);
    view.setUint32(at + FlowField.GENERATION, 3, true);
    view.setUint32(at + FlowField.DECIDER_INDEX, 1, true);
  }
  return buffer;
}

const LIMITS = {
  flows: CAPACITY,
  heldSyns: 1,
  heldSynsPerSource: 1,
  synCookiesFrom: 1,
  timeWait: 1,
  slabBytes: 0,
  slabBytesPerFlow: 0,
};
const live = (rows: readonly number[]) => new LiveFlows(memory(rows), LIMITS, context);
const everything = () => true;

describe('live flows', () => {
  test('are shown with the names of who decided', () => {
    const [flow] = live([2]).page({ filter: everything, from: 0, limit: 10 }).flows;
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

  test('come in pages, none twice and none left out', () => {
    const flows = live([0, 2, 3, 5, 7]);
    const ids: string[] = [];
    let from: number | undefined = 0;
    while (from !== undefined) {
      const page = flows.page({ filter: everything, from, limit: 2 });
      ids.push(...page.flows.map((flow) => flow.id));
      from = page.next;
    }
    expect(ids).toEqual([100, 102, 103, 105, 107].map(flowId));
  });

  test('are found by their serial number', () => {
    expect(live([1, 4]).find(104)).toMatchObject({ row: 4, flow: { src: '10.0.0.4' } });
    expect(live([1, 4]).find(105)).toBeUndefined();
  });

  test('are counted per script and generation', () =>
    expect(live([0, 1]).countByScript()).toEqual([{ script: 'route', generation: 3, count: 2 }]));
});

describe('a filter', () => {
  const matching = (filter: string) =>
    live([1, 2])
      .page({ filter: parseFilter(filter), from: 0, limit: 9 })
      .flows.map((flow) => flow.src);

  test.each([
    ['', ['10.0.0.1', '10.0.0.2']],
    ['src=10.0.0.2', ['10.0.0.2']],
    ['src=10.0.0.0/8 port=80', ['10.0.0.1', '10.0.0.2']],
    ['dst=fd00::/8', []],
    ['src!=10.0.0.2,verdict=FORWARD', ['10.0.0.1']],
    ['script=route state=established', ['10.0.0.1', '10.0.0.2']],
    ['script=other', []],
    ['port=443', []],
  ])('"%s"', (filter, sources) => expect(matching(filter)).toEqual(sources));

  test.each([
    ['colour=red', '"colour" is no field'],
    ['toString=x', '"toString" is no field'],
    ['port', 'is not of the form field=value'],
    ['port=http', '"http" is no port'],
    ['src=10.0.0.0/99', 'is no address or network'],
  ])('"%s" is an error', (filter, message) => {
    expect(() => parseFilter(filter)).toThrow(FilterError);
    expect(() => parseFilter(filter)).toThrow(message);
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
  const ended = new EndedFlows(createLogger({ level: 'info', format: 'json' }, sink), context);
  ended.take(new Uint8Array(memory([0, 1]), 0, 2 * FLOW_ROW_BYTES), true);
  ended.take(new Uint8Array(memory([0]), 0, FLOW_ROW_BYTES), false);
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
  expect(ended.durations.get('forward')?.counts).toEqual([0, 0, 0, 0, 3, 0, 0, 0, 0, 0]);
});
