import { expect, test } from 'bun:test';
import { FLOW_ROW_BYTES, FlowField, FlowPhase } from '../../../src/stack/flow-row.ts';
import { TCP_EDGES, TcpState } from '../../../src/stack/tcp/states.ts';
import { NO_ROW, TCB_ROW_BYTES, Tcb, TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { type Instant, NEVER } from '../../../src/stack/time.ts';
import { asSeq } from '../../../src/stack/wire/seq.ts';

const ROWS = 3;
const FLOWS_AT = ROWS * TCB_ROW_BYTES;
const table = () => new DataView(new ArrayBuffer(ROWS * (TCB_ROW_BYTES + FLOW_ROW_BYTES)));

/** Fields of the block: what can be read and written. The phase stands in the flow's row. */
const FIELDS = Object.entries(Object.getOwnPropertyDescriptors(Tcb.prototype))
  .filter(([name, { get, set }]) => get !== undefined && set !== undefined && name !== 'phase')
  .map(([name]) => name);

test('no field reaches into another', () => {
  const tcb = new Tcb(table(), 0, FLOWS_AT).moveTo(1) as unknown as Record<string, number>;
  expect(FIELDS.length).toBeGreaterThan(40);
  for (const [index, name] of FIELDS.entries()) tcb[name] = index + 1;
  for (const [index, name] of FIELDS.entries()) {
    expect(`${name} ${tcb[name]}`).toBe(`${name} ${index + 1}`);
  }
});

test('a row is written in its own place only', () => {
  const view = table();
  const tcb = new Tcb(view, 0, FLOWS_AT).moveTo(1) as unknown as Record<string, number>;
  for (const name of FIELDS) tcb[name] = -1;
  const touched = Array.from({ length: ROWS * TCB_ROW_BYTES }, (_, at) => view.getUint8(at) !== 0);
  expect(touched.indexOf(true)).toBeGreaterThanOrEqual(TCB_ROW_BYTES);
  expect(touched.lastIndexOf(true)).toBeLessThan(2 * TCB_ROW_BYTES);
});

test('clear leaves a block of CLOSED: empty queues, no timers', () => {
  const tcb = new Tcb(table(), 0, FLOWS_AT).moveTo(2);
  tcb.flags = 0xffff;
  tcb.rtxDeadline = 5 as Instant;
  tcb.clear();
  expect(tcb.flags).toBe(0);
  expect(tcb.state).toBe(TcpState.CLOSED);
  for (const list of [tcb.sendHead, tcb.sendTail, tcb.backlogHead, tcb.assemblyHead]) {
    expect(list).toBe(NO_ROW);
  }
  for (const deadline of [tcb.rtxDeadline, tcb.ackDeadline, tcb.lifeDeadline]) {
    expect(deadline).toBe(NEVER);
  }
});

test('a transition takes the edges of RFC 9293 figure 5, and no others', () => {
  const tcb = new Tcb(table(), 0, FLOWS_AT).moveTo(0);
  for (const from of Object.values(TcpState)) {
    for (const to of Object.values(TcpState)) {
      const view = tcb as unknown as { transition(to: TcpState): void };
      setState(tcb, from);
      if (to === TcpState.CLOSED || TCP_EDGES[from].includes(to)) {
        view.transition(to);
        expect(tcb.state).toBe(to);
      } else {
        expect(() => view.transition(to)).toThrow('no edge');
        expect(tcb.state).toBe(from);
      }
    }
  }
});

/** Walks the edges to a state. */
function setState(tcb: Tcb, to: TcpState): void {
  const paths: Readonly<Record<TcpState, readonly TcpState[]>> = {
    [TcpState.CLOSED]: [],
    [TcpState.LISTEN]: [1],
    [TcpState.SYN_SENT]: [2],
    [TcpState.SYN_RECEIVED]: [1, 3],
    [TcpState.ESTABLISHED]: [1, 3, 4],
    [TcpState.FIN_WAIT_1]: [1, 3, 4, 5],
    [TcpState.FIN_WAIT_2]: [1, 3, 4, 5, 6],
    [TcpState.CLOSE_WAIT]: [1, 3, 4, 7],
    [TcpState.CLOSING]: [1, 3, 4, 5, 8],
    [TcpState.LAST_ACK]: [1, 3, 4, 7, 9],
    [TcpState.TIME_WAIT]: [1, 3, 4, 5, 6, 10],
  };
  tcb.transition(TcpState.CLOSED);
  for (const state of paths[to]) tcb.transition(state);
}

test('sizes wrap around with the sequence numbers, and no window is negative', () => {
  const tcb = new Tcb(table(), 0, FLOWS_AT).moveTo(0);
  tcb.sndUna = asSeq(0xffff_fff0);
  tcb.sndNxt = asSeq(16);
  expect(tcb.flightSize).toBe(32);
  tcb.rcvNxt = asSeq(0xffff_fff0);
  tcb.rcvEdge = asSeq(16);
  expect(tcb.rcvWnd).toBe(32);
  tcb.rcvNxt = asSeq(17);
  expect(tcb.rcvWnd).toBe(0);
});

test('flags do not touch each other, and every flag is one bit', () => {
  const tcb = new Tcb(table(), 0, FLOWS_AT).moveTo(0);
  const flags = Object.values(TcbFlag);
  expect(new Set(flags).size).toBe(flags.length);
  for (const flag of flags) {
    expect(flag & (flag - 1)).toBe(0);
    tcb.raise(flag);
  }
  for (const flag of flags) {
    tcb.lower(flag);
    expect(tcb.has(flag)).toBe(false);
    for (const other of flags.slice(flags.indexOf(flag) + 1)) expect(tcb.has(other)).toBe(true);
  }
});

test('a second cursor moves on its own over the same rows', () => {
  const first = new Tcb(table(), 0, FLOWS_AT).moveTo(0);
  const second = first.cursor().moveTo(1);
  second.mss = 1460;
  expect(first.row).toBe(0);
  expect(first.moveTo(1).mss).toBe(1460);
});

test('counts, phase and last use stand in the row of the flow', () => {
  const view = table();
  const tcb = new Tcb(view, 0, FLOWS_AT).moveTo(1);
  const at = FLOWS_AT + FLOW_ROW_BYTES;
  tcb.count(FlowField.BYTES_UP, 2 ** 33);
  tcb.count(FlowField.BYTES_UP, 1);
  tcb.touch(77 as Instant);
  tcb.phase = FlowPhase.OPEN;
  expect(view.getFloat64(at + FlowField.BYTES_UP, true)).toBe(2 ** 33 + 1);
  expect(view.getFloat64(at + FlowField.LAST_USED_AT, true)).toBe(77);
  expect(view.getUint8(at + FlowField.PHASE)).toBe(FlowPhase.OPEN);
  expect(tcb.isGone).toBe(false);
});
