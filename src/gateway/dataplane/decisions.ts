/**
 * Asks the script host and takes its answers. A request is answered once: by the host, by its
 * deadline, or by the end of its flow; what comes later is counted and ignored.
 */
import { DatagramBatch } from '../../ffi/datagram-batch.ts';
import { Errno } from '../../ffi/errno.ts';
import { addressOf } from '../../ffi/memory.ts';
import { send } from '../../ffi/sockets.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import { FlowField, VerdictCode } from '../../stack/flow-row.ts';
import type { OnParked } from '../../stack/parked-packets.ts';
import type { Stack } from '../../stack/stack.ts';
import { TcbFlag } from '../../stack/tcp/tcb.ts';
import { formatAddress } from '../../stack/wire/ip-address.ts';
import { Protocol } from '../../stack/wire/protocol.ts';
import { DataPlaneFd } from '../messages/control.ts';
import {
  answerText,
  DatagramKind,
  DECISION_BYTES_MAX,
  DecisionAnswer,
  datagramKind,
  decodeDecisionAnswer,
  encodeDecisionCancel,
  encodeDecisionRequest,
  epochOf,
  requestIdOf,
} from '../messages/decision.ts';
import { encodeShown } from '../messages/shown-datagrams.ts';
import type { UpstreamTable } from './forward/upstream-table.ts';

/** A power of two above any limit of held SYNs. */
const SLOTS = 65_536;
const NONE = -1;
/** Answers taken with one call, and calls per turn of the loop. */
const BATCH = 16;
const BATCHES_MAX = 16;

export class Decisions {
  readonly #stack: Stack;
  readonly #upstreams: UpstreamTable;
  readonly #counters: Counters;
  readonly #buffer = new ArrayBuffer(DECISION_BYTES_MAX);
  readonly #view = new DataView(this.#buffer);
  readonly #address = addressOf(this.#buffer);
  readonly #batch = new DatagramBatch(BATCH);
  readonly #incoming = new DataView(new ArrayBuffer(BATCH * DECISION_BYTES_MAX));
  /** The answer that was read last. */
  readonly #answer = new DecisionAnswer();
  /** Row that waits for the answer to a request, by the request's low bits. */
  readonly #rows = new Int32Array(SLOTS).fill(NONE);
  /** Packets of the flow that the host has seen, and one more; 0 while it wants to see none. */
  readonly #shown = new Uint8Array(SLOTS);
  /** The request whose datagrams are being shown. */
  #showing = 0;
  readonly #sendShown: OnParked = (at, length) => {
    const { view } = this.#stack.arena;
    const bytes = encodeShown(this.#view, 0, this.#showing, this.#epoch, view, at, length);
    send(this.#fd, this.#address, bytes);
  };
  /** The host takes nothing any more. */
  onDeaf: () => void = () => {};
  readonly #fd: number;
  #lastRequest: number;
  #epoch = 0;

  /**
   * @param before  a uint32 after which requests are numbered. Another one for each data plane: the
   *                host may still answer what the one before has asked
   */
  constructor(
    stack: Stack,
    upstreams: UpstreamTable,
    counters: Counters,
    fd: number = DataPlaneFd.SCRIPTS,
    before = crypto.getRandomValues(new Uint32Array(1))[0]!,
  ) {
    this.#fd = fd;
    this.#lastRequest = before;
    const incoming = addressOf(this.#incoming.buffer as ArrayBuffer);
    for (let i = 0; i < BATCH; i++) {
      this.#batch.set(i, incoming + i * DECISION_BYTES_MAX, DECISION_BYTES_MAX);
    }
    this.#stack = stack;
    this.#upstreams = upstreams;
    this.#counters = counters;
  }

  /** Asks about the flow in `row`, which waits. @returns false when the host's queue is full */
  ask(row: number, epoch: number): boolean {
    this.#epoch = epoch;
    const request = this.#nextRequest();
    if (request === 0) return false;
    const sent = send(this.#fd, this.#address, this.#encode(row, request));
    if (sent === -Errno.EPIPE) this.onDeaf();
    if (sent < 0) return false;
    this.#rows[request % SLOTS] = row;
    this.#upstreams.setRequest(row, request);
    return true;
  }

  /** Another datagram of the flow in `row` waits: the host sees it, if it looks at the flow. */
  onParked(row: number): void {
    const request = this.#upstreams.request(row);
    if (request !== 0 && this.#shown[request % SLOTS] !== 0) this.#show(row, request);
  }

  /** The row no longer waits; the host is told, so that `flow.signal` fires. */
  abandon(row: number): void {
    const request = this.#upstreams.request(row);
    if (request === 0) return;
    this.#forget(row, request);
    this.#cancel(request);
  }

  /** The flow that an answer claims is gone, or cannot be claimed: its script is not to wait. */
  refuseClaim({ requestId }: DecisionAnswer): void {
    this.#cancel(requestId);
  }

  /** The host is gone: every row that waits is handed over. */
  abandonAll(onRow: (row: number) => void): void {
    for (const row of this.#rows.filter((waiting) => waiting !== NONE)) {
      this.#forget(row, this.#upstreams.request(row));
      onRow(row);
    }
  }

  /** Takes the answers that have arrived; an answer is valid during the call. */
  read(onAnswer: (row: number, answer: DecisionAnswer) => void): void {
    for (let calls = 0; calls < BATCHES_MAX; calls++) {
      const got = this.#batch.receive(this.#fd, BATCH);
      if (got === -Errno.EINTR) continue;
      for (let i = 0; i < got; i++) {
        const length = this.#batch.length(i);
        if (length > 0) this.#take(i * DECISION_BYTES_MAX, length, onAnswer);
      }
      // Fewer than there is room for are all that there were: another call would say so. At the
      // end of the socket there are always as many, without a byte.
      if (got < BATCH || this.#batch.length(got - 1) === 0) return;
    }
  }

  /** Writes the upstream address that an answer names, 16 bytes, to `toAt` of the arena. */
  copyTarget(answer: DecisionAnswer, toAt: number): void {
    const { view } = this.#stack.arena;
    for (let i = 0; i < 16; i += 4) {
      view.setInt32(toAt + i, this.#incoming.getInt32(answer.toAt + i));
    }
  }

  /** The local address that an answer asks for; empty for any. */
  bindAddress(answer: DecisionAnswer): string {
    if (answer.bindFamily === 0) return '';
    return formatAddress(this.#incoming, answer.bindAt, answer.bindFamily === 4 ? 4 : 16);
  }

  /** Reason of a rejection, note of a redirection. */
  text(answer: DecisionAnswer): string {
    return answerText(this.#incoming, answer);
  }

  /** The datagram that lies at `at` of what has come in. */
  #take(at: number, length: number, onAnswer: (row: number, answer: DecisionAnswer) => void): void {
    if (datagramKind(this.#incoming, at, length) === DatagramKind.SHOW) {
      this.#onShow(at);
      return;
    }
    const row = this.#rowOf(at, length);
    if (row === NONE) {
      this.#counters.add(Counter.DECISIONS_LATE);
      this.#onLate(at, length);
      return;
    }
    this.#forget(row, this.#upstreams.request(row));
    onAnswer(row, this.#answer);
  }

  #cancel(request: number): void {
    send(this.#fd, this.#address, encodeDecisionCancel(this.#view, 0, request, this.#epoch));
  }

  /** What was answered before the host could hear that the flow is gone. */
  #onLate(at: number, length: number): void {
    const answer = this.#answer;
    if (!decodeDecisionAnswer(this.#incoming, at, length, answer)) return;
    if (answer.epoch === this.#epoch && answer.verdict === VerdictCode.CLAIM) {
      this.refuseClaim(answer);
    }
  }

  /** A wish of the host; of a flow that waits no longer it is too late. */
  #onShow(at: number): void {
    const request = requestIdOf(this.#incoming, at);
    const row = this.#rows[request % SLOTS]!;
    if (row === NONE || epochOf(this.#incoming, at) !== this.#epoch) return;
    if (this.#upstreams.request(row) !== request) return;
    const { view } = this.#stack.arena;
    if (view.getUint8(this.#stack.rowAt(row) + FlowField.PROTOCOL) !== Protocol.UDP) return;
    this.#shown[request % SLOTS] = 1;
    this.#show(row, request);
  }

  /** Shows what the host has not seen. When it has no room for that, it will do without. */
  #show(row: number, request: number): void {
    const seen = this.#shown[request % SLOTS]! - 1;
    this.#showing = request;
    this.#shown[request % SLOTS] = this.#stack.showParked(row, seen, this.#sendShown) + 1;
  }

  #nextRequest(): number {
    for (let tries = 0; tries < SLOTS; tries++) {
      this.#lastRequest = (this.#lastRequest + 1) >>> 0 || 1;
      if (this.#rows[this.#lastRequest % SLOTS] === NONE) return this.#lastRequest;
    }
    return 0;
  }

  #forget(row: number, request: number): void {
    this.#rows[request % SLOTS] = NONE;
    this.#shown[request % SLOTS] = 0;
    this.#upstreams.setRequest(row, 0);
  }

  #rowOf(at: number, length: number): number {
    const answer = this.#answer;
    if (!decodeDecisionAnswer(this.#incoming, at, length, answer)) return NONE;
    if (answer.epoch !== this.#epoch) return NONE;
    const row = this.#rows[answer.requestId % SLOTS]!;
    return row !== NONE && this.#upstreams.request(row) === answer.requestId ? row : NONE;
  }

  #encode(row: number, request: number): number {
    const { view } = this.#stack.arena;
    const at = this.#stack.rowAt(row);
    const protocol = view.getUint8(at + FlowField.PROTOCOL);
    // Of a datagram's row it says nothing, as of a SYN without options.
    const tcb = this.#stack.tcb(row);
    return encodeDecisionRequest(
      this.#view,
      0,
      request,
      this.#epoch,
      view.getFloat64(at + FlowField.SERIAL, true),
      protocol,
      view.getUint8(at + FlowField.FAMILY),
      view,
      at + FlowField.SOURCE,
      view.getUint16(at + FlowField.SOURCE_PORT, true),
      at + FlowField.DESTINATION,
      view.getUint16(at + FlowField.DESTINATION_PORT, true),
      tcb.synMss,
      tcb.sndScale,
      view.getUint8(at + FlowField.SYN_HOP_LIMIT),
      tcb.has(TcbFlag.ECN_SETUP) ? 1 : 0,
    );
  }
}
