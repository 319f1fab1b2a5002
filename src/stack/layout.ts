/**
 * The layout of the shared state. Flow rows stand first, at position 0, so that a reader needs
 * only their number; what follows (TCBs, index, wheel, slabs, frames) is the data plane's.
 */
import { Arena } from './arena.ts';
import { Conntrack } from './conntrack/conntrack.ts';
import { Egress } from './egress.ts';
import { FLOW_ROW_BYTES, FlowField, type FlowSnapshot, readFlowRow } from './flow-row.ts';
import { FlowTable, placeFlowTable } from './flow-table.ts';
import { FrameBatch } from './frame-batch.ts';
import { FrameWriter } from './frame-writer.ts';
import { Reassembly } from './reassembly/reassembly.ts';
import { Refusals } from './refusals.ts';
import { SLAB_HEADROOM_BYTES, SlabPool } from './slab-pool.ts';
import { BbrState } from './tcp/bbr-state.ts';
import { FlowQuota } from './tcp/flow-quota.ts';
import { HeldSyns } from './tcp/held-syns.ts';
import { PathMtuCache } from './tcp/path-mtu-cache.ts';
import { TCB_ROW_BYTES, Tcb } from './tcp/tcb.ts';
import { readTcb, type TcbSnapshot } from './tcp/tcb-snapshot.ts';
import { TimerWheel } from './timer-wheel.ts';

/** Capacities. Memory is laid out for `flows`, `flowBuckets` and `slabBytes`. */
export interface StateLimits {
  readonly flows: number;
  /** Of the hash of flows; 0 or absent leaves it to their number. */
  readonly flowBuckets?: number;
  /** Connections of one source that our TCP ends; see tcp/flow-quota.ts. */
  readonly flowsPerSource: number;
  /** Flows that are not open yet, in all and per source. */
  readonly heldSyns: number;
  readonly heldSynsPerSource: number;
  /** From so many of them on SYNs are answered with cookies: 0 is always, `heldSyns` is never. */
  readonly synCookiesFrom: number;
  readonly timeWait: number;
  readonly slabBytes: number;
  readonly slabBytesPerFlow: number;
}

/** What of them may change while flows live, but not beyond what memory is laid out for. */
export type StateBounds = Omit<StateLimits, 'flowBuckets'>;

export const boundsOf = (limits: StateBounds): StateBounds => ({
  flows: limits.flows,
  flowsPerSource: limits.flowsPerSource,
  heldSyns: limits.heldSyns,
  heldSynsPerSource: limits.heldSynsPerSource,
  synCookiesFrom: limits.synCookiesFrom,
  timeWait: limits.timeWait,
  slabBytes: limits.slabBytes,
  slabBytesPerFlow: limits.slabBytesPerFlow,
});

/** A frame of the device: the longest IP packet, its vnet header, and a margin. */
export const FRAME_BYTES = 65_535 + 10 + 128;

/** What the owner of flows keeps beside each of them. */
export const OWNER_ROW_BYTES = 32;

/** Room that alignment may take: one cache line for each part. */
const ALIGNMENT_BYTES = 32 * 64;

/** Bytes of memory that a stack with these limits takes. */
export function stateBytes(limits: StateLimits): number {
  const bytes =
    FlowTable.bytes(limits.flows, limits.flowBuckets) +
    (limits.flows + 1) * TCB_ROW_BYTES +
    limits.flows * OWNER_ROW_BYTES +
    2 * TimerWheel.bytes(limits.flows) +
    HeldSyns.BYTES +
    FlowQuota.bytes(limits.flows) +
    2 * PathMtuCache.BYTES +
    Refusals.BYTES +
    Conntrack.bytes(limits.flows) +
    FrameWriter.BYTES +
    Egress.BYTES +
    SlabPool.bytes(limits.slabBytes) +
    FRAME_BYTES +
    FrameBatch.BYTES +
    Reassembly.BYTES +
    SLAB_HEADROOM_BYTES +
    ALIGNMENT_BYTES;
  return Math.ceil(bytes / 4096) * 4096;
}

/**
 * Reads live flows from outside the data planes. Rows are numbered through all of them, in the
 * order of their queues.
 */
export class FlowReader {
  readonly #views: readonly DataView[];
  readonly #limits: StateLimits;
  readonly capacity: number;

  /** @param buffers  of stacks that have all the same limits */
  constructor(buffers: readonly ArrayBuffer[], limits: StateLimits) {
    this.#views = buffers.map((buffer) => new DataView(buffer));
    this.#limits = limits;
    this.capacity = buffers.length * limits.flows;
  }

  /** The memory in which `row` lies, and where. */
  viewOf(row: number): DataView {
    return this.#views[Math.floor(row / this.#limits.flows)]!;
  }

  positionOf(row: number): number {
    return (row % this.#limits.flows) * FLOW_ROW_BYTES;
  }

  /** 0 of a row that is free. */
  serialOf(row: number): number {
    return this.viewOf(row).getFloat64(this.positionOf(row) + FlowField.SERIAL, true);
  }

  /** The connection in `row`, of a flow that our TCP ends; it may change while it is read. */
  connection(row: number): TcbSnapshot {
    const { flows, flowBuckets } = this.#limits;
    const view = this.viewOf(row);
    // As stack-parts.ts takes them, one behind the other.
    const arena = new Arena(view.buffer as ArrayBuffer);
    placeFlowTable(arena, flows, flowBuckets ?? 0);
    const tcb = new Tcb(view, arena.take((flows + 1) * TCB_ROW_BYTES), 0).moveTo(row % flows);
    return readTcb(view, tcb, new BbrState(view, tcb));
  }

  /** The flow in `row`; undefined when the row is free. */
  snapshot(row: number): FlowSnapshot | undefined {
    return readFlowRow(this.viewOf(row), this.positionOf(row));
  }
}
