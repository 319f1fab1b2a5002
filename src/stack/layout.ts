/**
 * The layout of the shared state. Flow rows stand first, at position 0, so that a reader needs
 * only their number; what follows (TCBs, index, wheel, slabs, frames) is the data plane's.
 */
import { Conntrack } from './conntrack/conntrack.ts';
import { Egress } from './egress.ts';
import { FLOW_ROW_BYTES, type FlowSnapshot, readFlowRow } from './flow-row.ts';
import { FlowTable } from './flow-table.ts';
import { FrameWriter } from './frame-writer.ts';
import { Reassembly } from './reassembly/reassembly.ts';
import { Refusals } from './refusals.ts';
import { SLAB_HEADROOM_BYTES, SlabPool } from './slab-pool.ts';
import { BbrState } from './tcp/bbr-state.ts';
import { HeldSyns } from './tcp/held-syns.ts';
import { PathMtuCache } from './tcp/path-mtu-cache.ts';
import { TCB_ROW_BYTES, Tcb } from './tcp/tcb.ts';
import { readTcb, type TcbSnapshot } from './tcp/tcb-snapshot.ts';
import { TimerWheel } from './timer-wheel.ts';

/** Capacities, fixed when the gateway starts. */
export interface StateLimits {
  readonly flows: number;
  /** Of the hash of flows; 0 or absent leaves it to their number. */
  readonly flowBuckets?: number;
  /** Flows that are not open yet, in all and per source. */
  readonly heldSyns: number;
  readonly heldSynsPerSource: number;
  /** From so many of them on SYNs are answered with cookies: 0 is always, `heldSyns` is never. */
  readonly synCookiesFrom: number;
  readonly timeWait: number;
  readonly slabBytes: number;
  readonly slabBytesPerFlow: number;
}

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
    2 * PathMtuCache.BYTES +
    Refusals.BYTES +
    Conntrack.bytes(limits.flows) +
    FrameWriter.BYTES +
    Egress.BYTES +
    SlabPool.bytes(limits.slabBytes) +
    FRAME_BYTES +
    Reassembly.BYTES +
    SLAB_HEADROOM_BYTES +
    ALIGNMENT_BYTES;
  return Math.ceil(bytes / 4096) * 4096;
}

/** Reads live flows from outside the data plane. */
export class FlowReader {
  readonly #view: DataView;
  readonly #tcb: Tcb;
  readonly #bbr: BbrState;
  readonly capacity: number;

  constructor(buffer: ArrayBuffer, limits: StateLimits) {
    this.#view = new DataView(buffer);
    this.capacity = limits.flows;
    // As stack-parts.ts takes them, one behind the other.
    this.#tcb = new Tcb(this.#view, FlowTable.end(limits.flows, limits.flowBuckets), 0);
    this.#bbr = new BbrState(this.#view, this.#tcb);
  }

  /** The connection in `row`, of a flow that our TCP ends; it may change while it is read. */
  connection(row: number): TcbSnapshot {
    return readTcb(this.#view, this.#tcb.moveTo(row), this.#bbr);
  }

  /** The flow in `row`; undefined when the row is free. */
  snapshot(row: number): FlowSnapshot | undefined {
    return readFlowRow(this.#view, row * FLOW_ROW_BYTES);
  }
}
