/**
 * What pacing, delivery rate and BBR keep of a flow: the last bytes of the row of its TCB. The
 * cursor has no position of its own; it is where `tcb` is.
 *
 * Counts of bytes are modulo 2^32, and so are BBR's instants, which are compared over seconds.
 */
import type { Instant } from '../time.ts';
import { type Tcb, TcbField } from './tcb.ts';

/** Round trips that one slot of the filter stands for, and slots: ten round trips in all. */
const ROUNDS_PER_SLOT = 2;
const BANDWIDTH_SLOTS = 5;
const FLOAT_BYTES = 4;

export class BbrState {
  readonly #view: DataView;
  readonly #tcb: Tcb;

  constructor(view: DataView, tcb: Tcb) {
    this.#view = view;
    this.#tcb = tcb;
  }

  /** When the bytes behind those that were sent may leave; valid with PACED. */
  get paceAt(): Instant {
    return this.#view.getFloat64(this.#tcb.at + TcbField.PACE_AT, true) as Instant;
  }
  set paceAt(value: Instant) {
    this.#view.setFloat64(this.#tcb.at + TcbField.PACE_AT, value, true);
  }

  /** Bytes per second; valid with PACED. */
  get pacingRate(): number {
    return this.#view.getFloat32(this.#tcb.at + TcbField.PACING_RATE, true);
  }
  set pacingRate(value: number) {
    this.#view.setFloat32(this.#tcb.at + TcbField.PACING_RATE, value, true);
  }

  /** C.delivered: bytes that arrived, acknowledged or SACKed. */
  get delivered(): number {
    return this.#view.getUint32(this.#tcb.at + TcbField.DELIVERED, true);
  }
  set delivered(value: number) {
    this.#view.setUint32(this.#tcb.at + TcbField.DELIVERED, value, true);
  }

  /** C.delivered_time: when that count last changed. */
  get deliveredAt(): Instant {
    return this.#view.getFloat64(this.#tcb.at + TcbField.DELIVERED_AT, true) as Instant;
  }
  set deliveredAt(value: Instant) {
    this.#view.setFloat64(this.#tcb.at + TcbField.DELIVERED_AT, value, true);
  }

  /** C.first_sent_time: when the newest bytes that arrived were sent. */
  get firstSentAt(): Instant {
    return this.#view.getFloat64(this.#tcb.at + TcbField.FIRST_SENT_AT, true) as Instant;
  }
  set firstSentAt(value: Instant) {
    this.#view.setFloat64(this.#tcb.at + TcbField.FIRST_SENT_AT, value, true);
  }

  /** C.app_limited: the count at which what is sent now will have arrived; 0 when all is used. */
  get appLimitedUntil(): number {
    return this.#view.getUint32(this.#tcb.at + TcbField.APP_LIMITED_UNTIL, true);
  }
  set appLimitedUntil(value: number) {
    this.#view.setUint32(this.#tcb.at + TcbField.APP_LIMITED_UNTIL, value, true);
  }

  /** BBR.next_round_delivered: a round ends when something arrives that was sent after this. */
  get roundEnd(): number {
    return this.#view.getUint32(this.#tcb.at + TcbField.ROUND_END, true);
  }
  set roundEnd(value: number) {
    this.#view.setUint32(this.#tcb.at + TcbField.ROUND_END, value, true);
  }

  /** BBR.round_count. */
  get roundCount(): number {
    return this.#view.getUint32(this.#tcb.at + TcbField.ROUND_COUNT, true);
  }
  set roundCount(value: number) {
    this.#view.setUint32(this.#tcb.at + TcbField.ROUND_COUNT, value, true);
  }

  /** BBR.state: a BbrMode. */
  get mode(): number {
    return this.#view.getUint8(this.#tcb.at + TcbField.BBR_MODE);
  }
  set mode(value: number) {
    this.#view.setUint8(this.#tcb.at + TcbField.BBR_MODE, value);
  }

  /** Where in the gain cycle of PROBE_BW, or how far in PROBE_RTT: a ProbeRttPhase. */
  get phase(): number {
    return this.#view.getUint8(this.#tcb.at + TcbField.BBR_PHASE);
  }
  set phase(value: number) {
    this.#view.setUint8(this.#tcb.at + TcbField.BBR_PHASE, value);
  }

  /** BBR.full_bw_count: rounds of STARTUP without growth. */
  get fullBandwidthRounds(): number {
    return this.#view.getUint8(this.#tcb.at + TcbField.FULL_BANDWIDTH_ROUNDS);
  }
  set fullBandwidthRounds(value: number) {
    this.#view.setUint8(this.#tcb.at + TcbField.FULL_BANDWIDTH_ROUNDS, value);
  }

  /** Acknowledgments of this round that told of losses; 255 stands for more. */
  get lossEvents(): number {
    return this.#view.getUint8(this.#tcb.at + TcbField.LOSS_EVENTS);
  }
  set lossEvents(value: number) {
    this.#view.setUint8(this.#tcb.at + TcbField.LOSS_EVENTS, Math.min(value, 255));
  }

  /** BBR.min_rtt: the least of ten seconds; 0 when none was measured. */
  get minRttUs(): number {
    return this.#view.getUint32(this.#tcb.at + TcbField.BBR_MIN_RTT_US, true);
  }
  set minRttUs(value: number) {
    this.#view.setUint32(this.#tcb.at + TcbField.BBR_MIN_RTT_US, value, true);
  }

  noteMinRtt(now: Instant): void {
    this.#setStamp(TcbField.BBR_MIN_RTT_AT, now);
  }

  /** Microseconds since `noteMinRtt`. */
  minRttAge(now: Instant): number {
    return this.#ageOf(TcbField.BBR_MIN_RTT_AT, now);
  }

  enterPhase(phase: number, now: Instant): void {
    this.phase = phase;
    this.#setStamp(TcbField.BBR_PHASE_AT, now);
  }

  /** Microseconds since `enterPhase`. */
  phaseAge(now: Instant): number {
    return this.#ageOf(TcbField.BBR_PHASE_AT, now);
  }

  /** BBR.full_bw: the bandwidth that STARTUP must surpass, in bytes per second. */
  get fullBandwidth(): number {
    return this.#view.getFloat32(this.#tcb.at + TcbField.FULL_BANDWIDTH, true);
  }
  set fullBandwidth(value: number) {
    this.#view.setFloat32(this.#tcb.at + TcbField.FULL_BANDWIDTH, value, true);
  }

  /** Bytes that were lost in this round. */
  get lostInRound(): number {
    return this.#view.getUint32(this.#tcb.at + TcbField.LOST_IN_ROUND, true);
  }
  set lostInRound(value: number) {
    this.#view.setUint32(this.#tcb.at + TcbField.LOST_IN_ROUND, value, true);
  }

  /** BBR.inflight_longterm: more bytes in flight than this were too many; 0 when none were. */
  get inflightHigh(): number {
    return this.#view.getUint32(this.#tcb.at + TcbField.INFLIGHT_HIGH, true);
  }
  set inflightHigh(value: number) {
    this.#view.setUint32(this.#tcb.at + TcbField.INFLIGHT_HIGH, value, true);
  }

  /** BBR.max_bw: the most of the last ten round trips that were measured, in bytes per second. */
  get bandwidth(): number {
    let most = 0;
    for (let slot = 0; slot < BANDWIDTH_SLOTS; slot++) {
      most = Math.max(most, this.#view.getFloat32(this.#slotAt(slot), true));
    }
    return most;
  }

  /**
   * Takes a measurement into the filter. The filter ages by measurements alone: a flow that has
   * little to send forgets nothing.
   */
  takeBandwidth(bytesPerSecond: number): void {
    const epoch = Math.floor(this.roundCount / ROUNDS_PER_SLOT);
    const epochAt = this.#tcb.at + TcbField.BANDWIDTH_EPOCH;
    const last = this.#view.getUint32(epochAt, true);
    const passed = Math.min(BANDWIDTH_SLOTS, epoch - last);
    for (let i = 0; i < passed; i++) {
      this.#view.setFloat32(this.#slotAt((epoch - i) % BANDWIDTH_SLOTS), 0, true);
    }
    this.#view.setUint32(epochAt, epoch, true);
    const slotAt = this.#slotAt(epoch % BANDWIDTH_SLOTS);
    if (bytesPerSecond <= this.#view.getFloat32(slotAt, true)) return;
    this.#view.setFloat32(slotAt, bytesPerSecond, true);
  }

  #slotAt(slot: number): number {
    return this.#tcb.at + TcbField.BANDWIDTHS + slot * FLOAT_BYTES;
  }

  #setStamp(field: number, now: Instant): void {
    this.#view.setUint32(this.#tcb.at + field, now % 2 ** 32, true);
  }

  #ageOf(field: number, now: Instant): number {
    return ((now % 2 ** 32) - this.#view.getUint32(this.#tcb.at + field, true)) >>> 0;
  }
}
