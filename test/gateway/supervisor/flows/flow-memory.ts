/** Memory of a data plane that does not run: rows of flows as a test writes them. */
import {
  Carrier,
  Decider,
  FLOW_ROW_BYTES,
  FlowField,
  FlowPhase,
  TrackBit,
  type TrackState,
  VerdictCode,
} from '../../../../src/stack/flow-row.ts';
import { FlowTable } from '../../../../src/stack/flow-table.ts';
import { FlowReader } from '../../../../src/stack/layout.ts';
import { TcpState } from '../../../../src/stack/tcp/states.ts';
import { TCB_ROW_BYTES } from '../../../../src/stack/tcp/tcb.ts';
import { writeAddress } from '../../../../src/stack/wire/ip-address.ts';

export const NOW_US = 60_000_000;

/** The clock stands at NOW_US; script 1 of generation 3 is `route`, every listener is `web`. */
export const flowContext = () => ({
  names: {
    scriptName: (generation: number, index: number) =>
      generation === 3 && index === 1 ? 'route' : undefined,
    listenerName: () => 'web',
    upstreamName: (id: number) => (id === 7 ? 'pool-b' : undefined),
  },
  iface: 'x0',
  nowUs: NOW_US,
  nowMs: Date.parse('2026-01-01T00:01:00Z'),
});

const limitsOf = (flows: number) => ({
  flows,
  flowsPerSource: flows,
  heldSyns: 1,
  heldSynsPerSource: 1,
  synCookiesFrom: 1,
  timeWait: 1,
  slabBytes: 0,
  slabBytesPerFlow: 0,
});

/** What differs from 10.0.0.ROW:1000 to 10.1.0.1:80, TCP, open, forwarded by the script `route`. */
export interface FlowFields {
  serial?: number;
  startedAt?: number;
  lastUsedAt?: number;
  source?: string;
  sourcePort?: number;
  destination?: string;
  destinationPort?: number;
  upstream?: string;
  upstreamPort?: number;
  via?: number;
  natSource?: string;
  natPort?: number;
  protocol?: number;
  carrier?: Carrier;
  phase?: FlowPhase;
  tcpState?: TcpState;
  trackState?: TrackState;
  trackBits?: number;
  verdict?: VerdictCode;
  decider?: Decider;
  bytesUp?: number;
  bytesDown?: number;
  packetsUp?: number;
  packetsDown?: number;
  expiresAt?: number;
  srttUs?: number;
  closeReason?: number;
}

export class FlowMemory {
  readonly buffer: ArrayBuffer;
  readonly view: DataView;
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
    // Behind the rows lie the table's hash and the TCBs.
    this.buffer = new ArrayBuffer(FlowTable.bytes(capacity) + (capacity + 2) * TCB_ROW_BYTES);
    this.view = new DataView(this.buffer);
  }

  /** As the supervisor reads it. */
  get reader(): FlowReader {
    return new FlowReader([this.buffer], limitsOf(this.#capacity));
  }

  /** Writes a flow into a row; its serial number is 100 and the row unless told. */
  put(row: number, fields: FlowFields = {}): void {
    const at = row * FLOW_ROW_BYTES;
    this.rowBytes(row).fill(0);
    const address = (field: number, text: string) => writeAddress(text, this.view, at + field);
    const u8 = (field: number, value: number) => this.view.setUint8(at + field, value);
    const u16 = (field: number, value: number) => this.view.setUint16(at + field, value, true);
    const u32 = (field: number, value: number) => this.view.setUint32(at + field, value, true);
    const f64 = (field: number, value: number) => this.view.setFloat64(at + field, value, true);
    u8(FlowField.FAMILY, address(FlowField.SOURCE, fields.source ?? `10.0.0.${row}`));
    address(FlowField.DESTINATION, fields.destination ?? '10.1.0.1');
    u16(FlowField.SOURCE_PORT, fields.sourcePort ?? 1000);
    u16(FlowField.DESTINATION_PORT, fields.destinationPort ?? 80);
    if (fields.upstream !== undefined) {
      u8(FlowField.UPSTREAM_FAMILY, address(FlowField.UPSTREAM, fields.upstream));
      u16(FlowField.UPSTREAM_PORT, fields.upstreamPort ?? 0);
    }
    u16(FlowField.VIA, fields.via ?? 0);
    u8(FlowField.TRACK_BITS, fields.trackBits ?? 0);
    if (fields.natSource !== undefined) {
      address(FlowField.NAT_SOURCE, fields.natSource);
      u16(FlowField.NAT_SOURCE_PORT, fields.natPort ?? 0);
      u8(FlowField.TRACK_BITS, (fields.trackBits ?? 0) | TrackBit.SOURCE_NAT);
    }
    u8(FlowField.PROTOCOL, fields.protocol ?? 6);
    u8(FlowField.CARRIER, fields.carrier ?? Carrier.TCP);
    u8(FlowField.PHASE, fields.phase ?? FlowPhase.OPEN);
    u8(FlowField.TCP_STATE, fields.tcpState ?? TcpState.ESTABLISHED);
    u8(FlowField.TRACK_STATE, fields.trackState ?? 0);
    u8(FlowField.VERDICT, fields.verdict ?? VerdictCode.FORWARD);
    u8(FlowField.DECIDER, fields.decider ?? Decider.SCRIPT);
    u8(FlowField.CLOSE_REASON, fields.closeReason ?? 0);
    u32(FlowField.GENERATION, 3);
    u32(FlowField.DECIDER_INDEX, 1);
    u32(FlowField.SRTT_US, fields.srttUs ?? 0);
    f64(FlowField.STARTED_AT, fields.startedAt ?? 30_000_000);
    f64(FlowField.LAST_USED_AT, fields.lastUsedAt ?? 40_000_000);
    f64(FlowField.BYTES_UP, fields.bytesUp ?? 5);
    f64(FlowField.BYTES_DOWN, fields.bytesDown ?? 0);
    f64(FlowField.PACKETS_UP, fields.packetsUp ?? 1);
    f64(FlowField.PACKETS_DOWN, fields.packetsDown ?? 0);
    f64(FlowField.EXPIRES_AT, fields.expiresAt ?? 0);
    f64(FlowField.SERIAL, fields.serial ?? 100 + row);
  }

  free(row: number): void {
    this.view.setFloat64(row * FLOW_ROW_BYTES + FlowField.SERIAL, 0, true);
  }

  rowBytes(row: number): Uint8Array {
    return new Uint8Array(this.buffer, row * FLOW_ROW_BYTES, FLOW_ROW_BYTES);
  }
}
