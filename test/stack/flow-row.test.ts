import { expect, test } from 'bun:test';
import { CloseReason } from '../../src/stack/close-reason.ts';
import {
  Carrier,
  ClosedBy,
  Decider,
  FLOW_ROW_BYTES,
  FlowField,
  FlowPhase,
  readFlowRow,
  SERVICE_NAMES,
  Service,
  TrackBit,
  TrackState,
  VerdictCode,
} from '../../src/stack/flow-row.ts';
import { TcpState } from '../../src/stack/tcp/states.ts';
import { writeAddress } from '../../src/stack/wire/ip-address.ts';

/** Two rows, of which the second is filled in. */
function filledRow(): DataView {
  const view = new DataView(new ArrayBuffer(2 * FLOW_ROW_BYTES));
  const at = FLOW_ROW_BYTES;
  const u8 = (field: number, value: number) => view.setUint8(at + field, value);
  const u16 = (field: number, value: number) => view.setUint16(at + field, value, true);
  const u32 = (field: number, value: number) => view.setUint32(at + field, value, true);
  const f64 = (field: number, value: number) => view.setFloat64(at + field, value, true);
  f64(FlowField.SERIAL, 2 ** 40);
  f64(FlowField.STARTED_AT, 1000.5);
  f64(FlowField.LAST_USED_AT, 2000);
  f64(FlowField.BYTES_UP, 2 ** 41);
  f64(FlowField.BYTES_DOWN, 7);
  f64(FlowField.PACKETS_UP, 8);
  f64(FlowField.PACKETS_DOWN, 9);
  writeAddress('fd00::1', view, at + FlowField.SOURCE);
  writeAddress('fd00::2', view, at + FlowField.DESTINATION);
  writeAddress('10.0.0.3', view, at + FlowField.UPSTREAM);
  writeAddress('fd00::9', view, at + FlowField.NAT_SOURCE);
  u16(FlowField.SOURCE_PORT, 40_000);
  u16(FlowField.DESTINATION_PORT, 443);
  u16(FlowField.UPSTREAM_PORT, 8443);
  u8(FlowField.FAMILY, 6);
  u8(FlowField.PROTOCOL, 6);
  u8(FlowField.UPSTREAM_FAMILY, 4);
  u8(FlowField.PHASE, FlowPhase.TIME_WAIT);
  u8(FlowField.TCP_STATE, TcpState.FIN_WAIT_1);
  u8(FlowField.VERDICT, VerdictCode.FORWARD);
  u8(FlowField.DECIDER, Decider.SCRIPT);
  u8(FlowField.CLOSE_REASON, CloseReason.UPSTREAM_RESET);
  u8(FlowField.CLOSED_BY, ClosedBy.UPSTREAM);
  u8(FlowField.SERVICE, Service.NONE);
  u8(FlowField.CARRIER, Carrier.NAT);
  u8(FlowField.TRACK_STATE, TrackState.SYN_RECV);
  u8(FlowField.TRACK_BITS, TrackBit.SOURCE_NAT | TrackBit.SEEN_REPLY);
  u16(FlowField.NAT_SOURCE_PORT, 1025);
  f64(FlowField.EXPIRES_AT, 3000);
  u32(FlowField.GENERATION, 12);
  u32(FlowField.DECIDER_INDEX, 3);
  u32(FlowField.RETRANSMITS, 4);
  u32(FlowField.SRTT_US, 5);
  u32(FlowField.CONNECT_US, 6);
  u32(FlowField.DECISION_US, 7);
  return view;
}

test('a row becomes a plain value with the words of the field', () => {
  expect(readFlowRow(filledRow(), FLOW_ROW_BYTES)).toEqual({
    serial: 2 ** 40,
    protocol: 'tcp',
    carrier: 'nat',
    trackState: 'SYN_RECV',
    isAssured: false,
    hasReply: true,
    natSource: { ip: 'fd00::9', port: 1025, family: 6 },
    expiresAt: 3000,
    via: 0,
    phase: 'time-wait',
    tcpState: 'FIN-WAIT-1',
    source: { ip: 'fd00::1', port: 40_000, family: 6 },
    destination: { ip: 'fd00::2', port: 443, family: 6 },
    upstream: { ip: '10.0.0.3', port: 8443, family: 4 },
    service: undefined,
    verdict: 'forward',
    decider: 'script',
    deciderIndex: 3,
    generation: 12,
    bytesUp: 2 ** 41,
    bytesDown: 7,
    packetsUp: 8,
    packetsDown: 9,
    retransmits: 4,
    srttUs: 5,
    connectUs: 6,
    firstByteUs: 0,
    handshake: undefined,
    decisionUs: 7,
    startedAt: 1000.5,
    lastUsedAt: 2000,
    closeReason: 'upstream-reset',
    closedBy: 'upstream',
  } as never);
});

test('a free row is none', () => {
  expect(readFlowRow(filledRow(), 0)).toBeUndefined();
});

test('before a dial there is no upstream, and a service has its name', () => {
  const view = filledRow();
  view.setUint8(FLOW_ROW_BYTES + FlowField.UPSTREAM_FAMILY, 0);
  view.setUint8(FLOW_ROW_BYTES + FlowField.SERVICE, Service.WELCOME);
  const flow = readFlowRow(view, FLOW_ROW_BYTES);
  expect(flow?.upstream).toBeUndefined();
  expect(flow?.service).toBe('welcome');
  expect(SERVICE_NAMES[Service.WELCOME]).toBe('welcome');
});

test('a row that changes hands while it is read is none', () => {
  const view = filledRow();
  let reads = 0;
  const torn = new Proxy(view, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: never[]) => {
        // The serial number is read first and last.
        if (reads++ === 3) target.setFloat64(FLOW_ROW_BYTES + FlowField.SERIAL, 77, true);
        return value.apply(target, args);
      };
    },
  });
  expect(readFlowRow(torn, FLOW_ROW_BYTES)).toBeUndefined();
});

test('a flow that is rewritten goes by no upstream, whatever stands in its place', () => {
  const view = filledRow();
  view.setUint16(FLOW_ROW_BYTES + FlowField.VIA, 9, true);
  expect(readFlowRow(view, FLOW_ROW_BYTES)?.via).toBe(0);
  view.setUint8(FLOW_ROW_BYTES + FlowField.CARRIER, Carrier.TCP);
  expect(readFlowRow(view, FLOW_ROW_BYTES)?.via).toBe(9);
});

test('no two fields overlap, and all lie in the row', () => {
  const sizes: Partial<Record<keyof typeof FlowField, number>> = {
    SOURCE: 16,
    DESTINATION: 16,
    UPSTREAM: 16,
  };
  const doubles = ['SERIAL', 'STARTED_AT', 'LAST_USED_AT', 'MAX_BYTES'];
  const sizeOf = (name: string): number => {
    if (name.startsWith('BYTES_') || name.startsWith('PACKETS_') || doubles.includes(name))
      return 8;
    if (name.endsWith('_PORT')) return 2;
    if (/_US$|_MS$|^NEXT$|^HASH$|^GENERATION$|^RETRANSMITS$|_INDEX$/.test(name)) return 4;
    return sizes[name as keyof typeof FlowField] ?? 1;
  };
  const owners = new Map<number, string>();
  // What NAT carries has windows there, and goes by no upstream; nothing else has windows.
  const { VIA, FIRST_BYTE_US, ...fields } = FlowField;
  expect([VIA, FIRST_BYTE_US]).toEqual([fields.LAST_WINDOW, fields.WINDOW_ORIGINAL]);
  for (const [name, at] of Object.entries(fields)) {
    for (let byte = at; byte < at + sizeOf(name); byte++) {
      expect(`${byte} ${owners.get(byte) ?? name}`).toBe(`${byte} ${name}`);
      owners.set(byte, name);
      expect(byte).toBeLessThan(FLOW_ROW_BYTES);
    }
  }
});
