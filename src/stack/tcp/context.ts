import type { Arena } from '../arena.ts';
import type { Counters } from '../counters.ts';
import type { Egress } from '../egress.ts';
import type { FlowTable } from '../flow-table.ts';
import type { ParkedPackets } from '../parked-packets.ts';
import type { Peers } from '../peers.ts';
import type { SlabPool } from '../slab-pool.ts';
import type { TimerWheel } from '../timer-wheel.ts';
import type { CongestionName } from '../verdict.ts';
import type { AckNews } from './ack-news.ts';
import type { BbrState } from './bbr-state.ts';
import type { RateSample } from './delivery-rate.ts';
import type { FlowQuota } from './flow-quota.ts';
import type { HeldSyns } from './held-syns.ts';
import type { FlowOwner } from './owner.ts';
import type { PathMtuCache } from './path-mtu-cache.ts';
import type { Segment } from './segment.ts';
import type { Tcb } from './tcb.ts';
import type { TimeWaitList } from './time-wait.ts';

/** What all parts of the TCP share. One per data plane. */
export interface TcpContext {
  readonly arena: Arena;
  readonly flows: FlowTable;
  readonly slabs: SlabPool;
  /** SYNs and datagrams of flows that wait for a verdict. */
  readonly parked: ParkedPackets;
  readonly wheel: TimerWheel;
  /** When the pacer lets flows go on, in ticks of PACE_TICK_US. */
  readonly paceWheel: TimerWheel;
  readonly counters: Counters;
  readonly egress: Egress;
  readonly owner: FlowOwner;
  readonly timeWait: TimeWaitList;
  readonly heldSyns: HeldSyns;
  readonly quota: FlowQuota;
  readonly pathMtus: PathMtuCache;
  /** The cursor; see tcb.ts. */
  readonly tcb: Tcb;
  /** What pacing and BBR keep in the row that `tcb` is at. */
  readonly bbr: BbrState;
  /** The segment that is being processed. */
  readonly segment: Segment;
  /** What its acknowledgment told. */
  readonly news: AckNews;
  /** How fast the path delivered, as far as it told that. */
  readonly rate: RateSample;
  readonly settings: TcpSettings;
  /** Of a device with several queues. */
  readonly peers: Peers | undefined;
  /** SLAB_HEADROOM_BYTES where bytes are set aside while a header covers them. */
  readonly asideAt: number;
  /** First row of those that owe an acknowledgment. */
  ackHead: number;
}

/** Bounds and times; the gateway may change them while flows live. */
export interface TcpSettings {
  /** Budget of a flow's slabs in bytes, in each direction. */
  slabBytesPerFlow: number;
  /** Microseconds of silence before the first keep-alive; 0 is never. */
  keepaliveUs: number;
  /**
   * Microseconds that sent data may stay unacknowledged: R2 of RFC 9293 §3.8.3 as a time. With 0,
   * the default, the number of timeouts decides.
   */
  userTimeoutUs?: number;
  /** Congestion control of new connections; `cubic` when absent. */
  congestion?: CongestionName;
  /** ECN for new connections whose client asks for it; true when absent. */
  ecn?: boolean;
}
