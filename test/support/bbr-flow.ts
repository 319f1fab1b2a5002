/** A flow for BBR without a network: each acknowledgment is a round trip, told in its own words. */
import { FLOW_ROW_BYTES } from '../../src/stack/flow-row.ts';
import { AckNews } from '../../src/stack/tcp/ack-news.ts';
import { startBbr, updateBbr } from '../../src/stack/tcp/bbr.ts';
import { BbrState } from '../../src/stack/tcp/bbr-state.ts';
import { CongestionControl, startCongestion } from '../../src/stack/tcp/congestion.ts';
import type { TcpContext } from '../../src/stack/tcp/context.ts';
import { RateSample } from '../../src/stack/tcp/delivery-rate.ts';
import { TCB_ROW_BYTES, Tcb, TcbFlag } from '../../src/stack/tcp/tcb.ts';
import type { Instant } from '../../src/stack/time.ts';
import { asSeq, seqAdd } from '../../src/stack/wire/seq.ts';
import { CLOCK_START } from './manual-clock.ts';

export const BBR_MSS = 1000;
export const ROUND_TRIP_US = 40_000;

export interface Round {
  /** Bytes per second that were delivered. */
  readonly bandwidth: number;
  readonly roundTripUs?: number;
  /** Bytes that were lost, told by so many acknowledgments. */
  readonly lost?: number;
  readonly lossEvents?: number;
  /** Bytes in flight before the acknowledgment and behind it; the window when absent. */
  readonly inFlight?: number;
  /** The owner had less to send. */
  readonly isAppLimited?: boolean;
}

export class BbrFlow {
  readonly tcb: Tcb;
  readonly bbr: BbrState;
  readonly tcp: TcpContext;
  now: Instant = CLOCK_START;

  constructor() {
    const view = new DataView(new ArrayBuffer(TCB_ROW_BYTES + FLOW_ROW_BYTES));
    this.tcb = new Tcb(view, 0, TCB_ROW_BYTES).moveTo(0);
    this.tcb.clear();
    this.tcb.mss = BBR_MSS;
    this.bbr = new BbrState(view, this.tcb);
    const { tcb, bbr } = this;
    // All that BBR looks at.
    const parts = { tcb, bbr, news: new AckNews(), rate: new RateSample() };
    this.tcp = parts as unknown as TcpContext;
    startCongestion(tcb, CongestionControl.BBR);
    startBbr(this.tcp, this.now);
    // The owner waits for room: it always has more.
    tcb.raise(TcbFlag.SEND_WANTED);
  }

  /** A round trip passes, and one acknowledgment tells of all of it. */
  round({ bandwidth, roundTripUs = ROUND_TRIP_US, lost = 0, ...rest }: Round): void {
    const { tcb, bbr, tcp } = this;
    const { news, rate } = tcp;
    const flight = rest.inFlight ?? tcb.cwnd;
    const start = this.now;
    this.now = (start + roundTripUs) as Instant;
    tcb.sndNxt = seqAdd(tcb.sndUna, flight);
    news.clear();
    news.delivered = Math.round((bandwidth * roundTripUs) / 1e6);
    news.isAdvance = true;
    news.lost = lost;
    news.takeOriginal(start, asSeq(0), asSeq(0));
    bbr.lossEvents = Math.max(0, (rest.lossEvents ?? (lost > 0 ? 1 : 0)) - 1);
    rate.hasState = true;
    rate.bytesPerSecond = 0;
    rate.sentAt = rate.firstSentAt = rate.priorDeliveredAt = start;
    rate.priorDelivered = bbr.delivered;
    rate.txInFlight = flight;
    rate.isAppLimited = rest.isAppLimited ?? false;
    updateBbr(tcp, flight, this.now);
  }

  rounds(count: number, round: Round): void {
    for (let i = 0; i < count; i++) this.round(round);
  }

  /** What the path holds at this rate. */
  static pipe(bandwidth: number): number {
    return (bandwidth * ROUND_TRIP_US) / 1e6;
  }

  /** The pacing rate as a multiple of `bandwidth`, without the margin of a hundredth. */
  gain(bandwidth: number): number {
    return Math.round((this.bbr.pacingRate / bandwidth / 0.99) * 1000) / 1000;
  }
}
