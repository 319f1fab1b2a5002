/** What a stack is made of, and in which order: each part takes its share of the arena. */
import { forgetUnsettled } from './accounting.ts';
import { type AnswerTap, NO_ANSWER_TAP } from './answer-tap.ts';
import { Arena } from './arena.ts';
import { Conntrack } from './conntrack/conntrack.ts';
import type { TrackSettings } from './conntrack/context.ts';
import { Counter, type Counters } from './counters.ts';
import { DatagramEgress } from './datagram-egress.ts';
import { DatagramErrors } from './datagram-errors.ts';
import { Datagrams } from './datagrams.ts';
import type { DeviceCapabilities, FrameSink } from './device.ts';
import { Egress } from './egress.ts';
import { FlowTable, type SerialNumbers } from './flow-table.ts';
import { countEnd } from './flow-tally.ts';
import { Forwarder } from './forwarder.ts';
import { FrameWriter } from './frame-writer.ts';
import { Icmp } from './icmp.ts';
import { IcmpErrors } from './icmp-errors.ts';
import { IcmpSender } from './icmp-sender.ts';
import { Ingress } from './ingress.ts';
import { FRAME_BYTES, OWNER_ROW_BYTES, type StateLimits } from './layout.ts';
import { PrefixNat } from './nat/prefix-nat.ts';
import { NO_TAP, type PacketTap } from './packet-tap.ts';
import { ParkedPackets } from './parked-packets.ts';
import type { PeerTable } from './peer-table.ts';
import { type PeerSink, Peers } from './peers.ts';
import { Reassembly } from './reassembly/reassembly.ts';
import { Refusals } from './refusals.ts';
import { HalfSipHash } from './sip-hash.ts';
import { SLAB_HEADROOM_BYTES, SlabPool } from './slab-pool.ts';
import { AckNews } from './tcp/ack-news.ts';
import { ActiveOpen } from './tcp/active-open.ts';
import { BbrState } from './tcp/bbr-state.ts';
import { countFlows } from './tcp/close.ts';
import type { TcpContext, TcpSettings } from './tcp/context.ts';
import { RateSample } from './tcp/delivery-rate.ts';
import { FlowQuota } from './tcp/flow-quota.ts';
import { HeldSyns } from './tcp/held-syns.ts';
import type { FlowOwner } from './tcp/owner.ts';
import { PACE_TICK_US } from './tcp/pacing.ts';
import { PathMtuCache } from './tcp/path-mtu-cache.ts';
import { resetLeftovers } from './tcp/recover.ts';
import { Segment } from './tcp/segment.ts';
import { SynCookies } from './tcp/syn-cookies.ts';
import { NO_ROW, TCB_ROW_BYTES, Tcb } from './tcp/tcb.ts';
import { TimeWaitList } from './tcp/time-wait.ts';
import type { Instant } from './time.ts';
import { TimerWheel } from './timer-wheel.ts';

export interface StackOptions {
  /** At least `stateBytes(limits)` long. */
  readonly memory: ArrayBuffer;
  readonly limits: StateLimits;
  readonly counters: Counters;
  readonly capabilities: DeviceCapabilities;
  readonly sink: FrameSink;
  readonly owner: FlowOwner;
  /** Who looks on; absent: nobody. */
  readonly tap?: PacketTap;
  /** Who sees what DNS servers answer; absent: nobody. */
  readonly answers?: AnswerTap;
  readonly settings: TcpSettings;
  /** Of flows that are not terminated here; may change while they live. */
  readonly tracking: TrackSettings;
  /** The row at this position ended with the data plane that had this memory before. */
  readonly onLeftover: (rowAt: number) => void;
  /** At least twelve uint32 from the system's random source. */
  readonly secrets: Uint32Array;
  /** Fills an array from the system's random source: secrets that do not last, once a minute. */
  readonly randomize: (into: Uint32Array) => void;
  readonly now: Instant;
  /** Of a device with several queues. */
  readonly queue?: QueueOptions;
}

/** One of several stacks, each behind a queue of the same device. */
export interface QueueOptions {
  readonly serials: SerialNumbers;
  /** Two uint32 for the hash of tuples: the same in all stacks, and for as long as they live. */
  readonly hashSecret: readonly [number, number];
  readonly tables: readonly PeerTable[];
  readonly sink: PeerSink;
}

/** The parts that `Stack` calls itself. */
export interface StackParts {
  readonly tcp: TcpContext;
  readonly forwarder: Forwarder;
  readonly opener: ActiveOpen;
  readonly icmp: IcmpSender;
  readonly conntrack: Conntrack;
  readonly datagrams: Datagrams;
  readonly prefixes: PrefixNat;
  readonly replies: DatagramEgress;
  readonly ingress: Ingress;
  readonly frameAt: number;
  readonly ownerAt: number;
}

type Secret = (pair: number) => HalfSipHash;

/** Makes all parts, in memory that may have been that of an earlier stack. */
export function assemble(options: StackOptions): StackParts {
  const { limits, counters, capabilities, secrets } = options;
  const secret: Secret = (pair) => new HalfSipHash(secrets[pair * 2]!, secrets[pair * 2 + 1]!);
  const arena = new Arena(options.memory);
  forgetUnsettled(counters);
  const { queue } = options;
  const tupleHash = queue === undefined ? secret(0) : new HalfSipHash(...queue.hashSecret);
  const flows = new FlowTable(arena, limits.flows, tupleHash, limits.flowBuckets, queue?.serials);
  const tcbAt = arena.take((limits.flows + 1) * TCB_ROW_BYTES);
  const tcb = new Tcb(arena.view, tcbAt, flows.rowAt(0));
  const writer = new FrameWriter(
    arena,
    options.sink,
    capabilities,
    counters,
    options.tap ?? NO_TAP,
  );
  const egress = new Egress(arena, writer);
  const tcp = tcpContext(options, arena, flows, tcb, egress, secret);
  const frameAt = arena.take(FRAME_BYTES);
  const ownerAt = arena.take(limits.flows * OWNER_ROW_BYTES);
  const icmp = new IcmpSender(arena.view, egress, counters, secret(1));
  const { owner, answers = NO_ANSWER_TAP } = options;
  const tracked = { arena, flows, counters, egress, owner, answers };
  const conntrack = new Conntrack(tracked, options.tracking, secret(5));
  takeOver(options, tcp, conntrack);
  const prefixes = new PrefixNat(
    arena.view,
    egress,
    options.owner,
    icmp,
    counters,
    options.tracking,
  );
  const datagrams = new Datagrams(tcp, conntrack, icmp, new Refusals(arena), prefixes);
  const cookies = new SynCookies(arena.view, options.randomize);
  const forwarder = new Forwarder(tcp, conntrack, icmp, secret(2), cookies);
  const paths = new PathMtuCache(arena, secret(4));
  const messages = new Icmp(tcp, {
    ...{ sender: icmp, conntrack, datagrams, prefixes },
    answerErrors: new DatagramErrors(tcp, datagrams, paths),
    errors: new IcmpErrors(tcp),
  });
  const reassembly = new Reassembly(arena, counters, secret(3));
  counters.set(Counter.FLOWS_LIMIT_NOW, limits.flows);
  counters.set(Counter.SLAB_BYTES_LIMIT_NOW, tcp.slabs.bytesLimit);
  countFlows(tcp);
  return {
    tcp,
    forwarder,
    opener: new ActiveOpen(tcp, conntrack, secret(2)),
    icmp,
    conntrack,
    datagrams,
    prefixes,
    replies: new DatagramEgress(tcp, writer, conntrack, icmp, paths),
    ingress: new Ingress(tcp, {
      ...{ forwarder, icmp: messages, datagrams, reassembly, prefixes },
      tap: options.tap ?? NO_TAP,
    }),
    frameAt,
    ownerAt,
  };
}

function tcpContext(
  { limits, counters, owner, settings, now, queue, tap = NO_TAP }: StackOptions,
  arena: Arena,
  flows: FlowTable,
  tcb: Tcb,
  egress: Egress,
  secret: Secret,
): TcpContext {
  const slabs = new SlabPool(arena, limits.slabBytes);
  return {
    arena,
    flows,
    slabs,
    parked: new ParkedPackets(arena, flows, slabs, counters, tap),
    wheel: new TimerWheel(arena, limits.flows, now),
    paceWheel: new TimerWheel(arena, limits.flows, now, PACE_TICK_US),
    counters,
    egress,
    owner,
    timeWait: new TimeWaitList(tcb.cursor(), limits.timeWait),
    heldSyns: new HeldSyns(
      arena,
      limits.heldSyns,
      limits.heldSynsPerSource,
      limits.synCookiesFrom,
      secret(1),
      counters,
    ),
    quota: new FlowQuota(arena, limits.flows, limits.flowsPerSource, secret(1)),
    pathMtus: new PathMtuCache(arena, secret(4)),
    tcb,
    bbr: new BbrState(arena.view, tcb),
    segment: new Segment(),
    news: new AckNews(),
    rate: new RateSample(),
    settings,
    peers: queue && new Peers(arena.view, flows, queue.tables, queue.sink, counters, tap),
    asideAt: arena.take(SLAB_HEADROOM_BYTES),
    ackHead: NO_ROW,
  };
}

/** Goes on with what an earlier stack left in this memory, as far as that can be. */
function takeOver(
  { limits, counters, onLeftover, now }: StackOptions,
  { arena, tcb, egress, flows }: TcpContext,
  conntrack: Conntrack,
): void {
  const lastSerial = resetLeftovers(
    arena,
    tcb,
    limits.flows,
    egress,
    (row) => conntrack.adopt(row, now),
    (rowAt) => {
      countEnd(counters, arena.view, rowAt);
      onLeftover(rowAt);
    },
  );
  flows.continueAfter(lastSerial);
}
