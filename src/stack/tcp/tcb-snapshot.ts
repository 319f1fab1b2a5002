/** A TCB as an operator wants to see it: what `ss -ti` tells of a connection, with our names. */
import { FlowField } from '../flow-row.ts';
import { IPV4_HEADER_BYTES } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.ts';
import { TCP_HEADER_BYTES } from '../wire/tcp.ts';
import { TIMESTAMPS_BYTES } from '../wire/tcp-options.ts';
import type { BbrState } from './bbr-state.ts';
import { CongestionControl } from './congestion.ts';
import { SSTHRESH_UNKNOWN } from './hystart.ts';
import { type Tcb, TcbFlag, TimerKind } from './tcb.ts';

/** Bytes, microseconds, and Instants where a name ends with `At`. */
export interface TcbSnapshot {
  readonly congestion: string;
  /** What the sender is at. */
  readonly recovery: 'open' | 'recovery' | 'loss';
  /** The stack sent the first SYN. */
  readonly isDialled: boolean;
  readonly hasTimestamps: boolean;
  readonly hasSack: boolean;
  readonly hasEcn: boolean;
  readonly sendScale: number | undefined;
  readonly receiveScale: number | undefined;
  readonly mss: number;
  readonly peerMss: number;
  readonly pathMtu: number;
  readonly cwnd: number;
  /** undefined: no loss was met yet. */
  readonly ssthresh: number | undefined;
  readonly srttUs: number;
  readonly rttvarUs: number;
  readonly minRttUs: number;
  readonly rtoUs: number;
  readonly backoff: number;
  readonly inFlight: number;
  readonly sacked: number;
  readonly lost: number;
  readonly sendWindow: number;
  readonly receiveWindow: number;
  /** Bytes per second; undefined where the sender is not paced. */
  readonly pacingRate: number | undefined;
  /** Of BBR's model, bytes per second. */
  readonly deliveryRate: number | undefined;
  readonly bytesSent: number;
  readonly bytesAcked: number;
  readonly bytesReceived: number;
  /** Memory of what is in flight, waits for the owner, and came before its turn. */
  readonly sendSlabs: number;
  readonly backlog: number;
  readonly early: number;
  /** What is armed: the retransmission timer by its purpose, and the others. */
  readonly timers: readonly { readonly name: string; readonly at: number }[];
  readonly lastSentAt: number;
  readonly lastReceivedAt: number;
}

const CONGESTION_NAMES = Object.fromEntries(
  Object.entries(CongestionControl).map(([name, value]) => [
    value,
    name.toLowerCase().replaceAll('_', ''),
  ]),
);
const TIMER_NAMES = {
  [TimerKind.TIMEOUT]: 'on',
  [TimerKind.PROBE]: 'probe',
  [TimerKind.REORDER]: 'reorder',
};

/** @param bbr  at the same row */
export function readTcb(view: DataView, tcb: Tcb, bbr: BbrState): TcbSnapshot {
  const hasScale = tcb.has(TcbFlag.SCALING);
  return {
    congestion: CONGESTION_NAMES[tcb.congestion] ?? 'unknown',
    recovery: tcb.has(TcbFlag.LOSS_RECOVERY)
      ? 'loss'
      : tcb.has(TcbFlag.FAST_RECOVERY)
        ? 'recovery'
        : 'open',
    isDialled: tcb.has(TcbFlag.OPENED),
    hasTimestamps: tcb.has(TcbFlag.TIMESTAMPS),
    hasSack: tcb.has(TcbFlag.SACK),
    hasEcn: tcb.has(TcbFlag.ECN),
    sendScale: hasScale ? tcb.sndScale : undefined,
    receiveScale: hasScale ? tcb.rcvScale : undefined,
    mss: tcb.mss,
    peerMss: tcb.rcvMss,
    pathMtu: tcb.mss === 0 ? 0 : tcb.mss + headersOf(view, tcb),
    cwnd: tcb.cwnd,
    ssthresh: tcb.ssthresh >= SSTHRESH_UNKNOWN ? undefined : tcb.ssthresh,
    srttUs: tcb.srttUs,
    rttvarUs: tcb.rttvarUs,
    minRttUs: tcb.minRttUs,
    rtoUs: tcb.rtoUs,
    backoff: tcb.backoff,
    inFlight: tcb.flightSize,
    sacked: tcb.sackedBytes,
    lost: tcb.lostBytes,
    sendWindow: tcb.sndWnd,
    receiveWindow: tcb.rcvWnd,
    pacingRate: tcb.has(TcbFlag.PACED) ? bbr.pacingRate : undefined,
    deliveryRate: tcb.congestion === CongestionControl.BBR ? bbr.bandwidth : undefined,
    bytesSent: count(view, tcb, FlowField.BYTES_DOWN),
    bytesAcked: Math.max(0, count(view, tcb, FlowField.BYTES_DOWN) - tcb.flightSize),
    bytesReceived: count(view, tcb, FlowField.BYTES_UP) + tcb.backlogBytes,
    sendSlabs: tcb.sendSlabBytes,
    backlog: tcb.backlogBytes,
    early: tcb.assemblyBytes,
    timers: timersOf(tcb),
    lastSentAt: tcb.lastSentAt,
    lastReceivedAt: tcb.lastReceivedAt,
  };
}

const count = (view: DataView, tcb: Tcb, field: number): number =>
  view.getFloat64(tcb.flowAt + field, true);

function headersOf(view: DataView, tcb: Tcb): number {
  const isIpv4 = view.getUint8(tcb.flowAt + FlowField.FAMILY) === 4;
  const options = tcb.has(TcbFlag.TIMESTAMPS) ? TIMESTAMPS_BYTES : 0;
  return (isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES) + TCP_HEADER_BYTES + options;
}

function timersOf(tcb: Tcb): TcbSnapshot['timers'] {
  const timers = [
    { name: TIMER_NAMES[tcb.timerKind as TimerKind], at: tcb.rtxDeadline },
    { name: 'ack', at: tcb.ackDeadline },
    { name: 'keepalive', at: tcb.keepaliveDeadline },
    { name: 'life', at: tcb.lifeDeadline },
  ];
  return timers.filter(({ at }) => Number.isFinite(at));
}
