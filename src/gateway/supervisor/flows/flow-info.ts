/** A flow with all that is known of its connection: what `culvert flows --info` shows. */
import type { SocketInfo } from '../../../ffi/tcp-info.ts';
import type { TcbSnapshot } from '../../../stack/tcp/tcb-snapshot.ts';
import type { LiveFlowView } from './live-flows.ts';

const US_PER_MS = 1000;

/** Of our TCP: the end towards the client. Sizes in bytes, rates in bytes per second. */
export interface TcpView {
  readonly congestion: string;
  readonly recovery: string;
  readonly dialled: boolean;
  readonly options: readonly string[];
  readonly snd_wscale?: number | undefined;
  readonly rcv_wscale?: number | undefined;
  readonly mss: number;
  readonly rcv_mss: number;
  readonly pmtu: number;
  readonly cwnd: number;
  readonly ssthresh?: number | undefined;
  readonly rtt_ms: number;
  readonly rttvar_ms: number;
  readonly min_rtt_ms: number;
  readonly rto_ms: number;
  readonly backoff: number;
  readonly in_flight: number;
  readonly sacked: number;
  readonly lost: number;
  readonly snd_wnd: number;
  readonly rcv_wnd: number;
  readonly pacing_rate?: number | undefined;
  readonly delivery_rate?: number | undefined;
  readonly bytes_sent: number;
  readonly bytes_acked: number;
  readonly bytes_received: number;
  readonly slabs: { readonly send: number; readonly backlog: number; readonly early: number };
  /** Milliseconds until then. */
  readonly timers: Readonly<Record<string, number>>;
  readonly last_sent_ms: number;
  readonly last_received_ms: number;
}

/** Of the kernel: the socket towards the upstream. Windows and counts in segments. */
export interface SocketView {
  readonly state: string;
  readonly mss: number;
  readonly pmtu: number;
  readonly rtt_ms: number;
  readonly rttvar_ms: number;
  readonly min_rtt_ms: number;
  readonly rto_ms: number;
  readonly cwnd: number;
  readonly ssthresh: number;
  readonly unacked: number;
  readonly sacked: number;
  readonly lost: number;
  readonly retrans: number;
  readonly notsent: number;
  readonly pacing_rate: number;
  readonly delivery_rate: number;
  readonly last_sent_ms: number;
  readonly last_received_ms: number;
}

export interface FlowInfoView extends LiveFlowView {
  readonly tcp?: TcpView | undefined;
  readonly socket?: SocketView | undefined;
}

export function viewTcp(tcb: TcbSnapshot, nowUs: number): TcpView {
  const options = { ts: tcb.hasTimestamps, sack: tcb.hasSack, ecn: tcb.hasEcn };
  const since = (at: number) => (at === 0 ? 0 : toMs(Math.max(0, nowUs - at)));
  return {
    congestion: tcb.congestion,
    recovery: tcb.recovery,
    dialled: tcb.isDialled,
    options: Object.entries(options).flatMap(([name, isUsed]) => (isUsed ? [name] : [])),
    snd_wscale: tcb.sendScale,
    rcv_wscale: tcb.receiveScale,
    mss: tcb.mss,
    rcv_mss: tcb.peerMss,
    pmtu: tcb.pathMtu,
    cwnd: tcb.cwnd,
    ssthresh: tcb.ssthresh,
    rtt_ms: toMs(tcb.srttUs),
    rttvar_ms: toMs(tcb.rttvarUs),
    min_rtt_ms: toMs(tcb.minRttUs),
    rto_ms: toMs(tcb.rtoUs),
    backoff: tcb.backoff,
    in_flight: tcb.inFlight,
    sacked: tcb.sacked,
    lost: tcb.lost,
    snd_wnd: tcb.sendWindow,
    rcv_wnd: tcb.receiveWindow,
    pacing_rate: tcb.pacingRate,
    delivery_rate: tcb.deliveryRate,
    bytes_sent: tcb.bytesSent,
    bytes_acked: tcb.bytesAcked,
    bytes_received: tcb.bytesReceived,
    slabs: { send: tcb.sendSlabs, backlog: tcb.backlog, early: tcb.early },
    timers: Object.fromEntries(
      tcb.timers.map(({ name, at }) => [name, toMs(Math.max(0, at - nowUs))]),
    ),
    last_sent_ms: since(tcb.lastSentAt),
    last_received_ms: since(tcb.lastReceivedAt),
  };
}

/** TCP_ESTABLISHED = 1 and so on: include/net/tcp_states.h. */
const SOCKET_STATES = [
  '',
  ...['ESTABLISHED', 'SYN-SENT', 'SYN-RECEIVED', 'FIN-WAIT-1', 'FIN-WAIT-2', 'TIME-WAIT', 'CLOSED'],
  ...['CLOSE-WAIT', 'LAST-ACK', 'LISTEN', 'CLOSING', 'NEW-SYN-RECEIVED'],
];

export const viewSocket = (socket: SocketInfo): SocketView => ({
  state: SOCKET_STATES[socket.state] ?? 'UNKNOWN',
  mss: socket.mss,
  pmtu: socket.pmtu,
  rtt_ms: toMs(socket.rttUs),
  rttvar_ms: toMs(socket.rttvarUs),
  min_rtt_ms: toMs(socket.minRttUs),
  rto_ms: toMs(socket.rtoUs),
  cwnd: socket.cwnd,
  ssthresh: socket.ssthresh,
  unacked: socket.unacked,
  sacked: socket.sacked,
  lost: socket.lost,
  retrans: socket.retrans,
  notsent: socket.notSent,
  pacing_rate: socket.pacingRate,
  delivery_rate: socket.deliveryRate,
  last_sent_ms: socket.lastSentMs,
  last_received_ms: socket.lastReceivedMs,
});

const toMs = (us: number): number => Math.round(us) / US_PER_MS;
