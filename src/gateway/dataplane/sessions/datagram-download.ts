/**
 * Datagrams from upstreams to clients: received many at a time, and handed to the stack in runs of
 * equal size, which leave as one superpacket.
 */
import { Errno } from '../../../ffi/errno.ts';
import { type AnswerTap, DNS_PORT, NO_ANSWER_TAP } from '../../../stack/answer-tap.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { DropReason } from '../../../stack/drop-reason.ts';
import { FlowField } from '../../../stack/flow-row.ts';
import type { Instant } from '../../../stack/time.ts';
import type { UpstreamTable } from '../forward/upstream-table.ts';
import { DatagramLanding } from './datagram-landing.ts';
import type { DnsQuestions } from './dns-questions.ts';
import { echoReplyAt, NO_REPLY } from './echo-messages.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionErrors } from './session-errors.ts';
import type { SessionStack } from './session-stack.ts';
import { SessionKind, type SessionTable } from './session-table.ts';

/** Below the longest UDP payload of both families. */
const RUN_BYTES_MAX = 65_000;

/** What a call of `receive` has left behind. */
export const Left = {
  /** Nothing: the next event tells of more. */
  NOTHING: 0,
  /** Perhaps more. */
  MORE: 1,
  /** There is no memory to receive into, or the kernel had none: it is tried again soon. */
  STARVED: 2,
  /** Nothing, and nothing is awaited either: all questions of the client have their answers. */
  ANSWERED: 3,
} as const;
export type Left = (typeof Left)[keyof typeof Left];

export class DatagramDownload {
  readonly #stack: SessionStack;
  readonly #upstreams: UpstreamTable;
  readonly #table: SessionTable;
  readonly #questions: DnsQuestions;
  readonly #errors: SessionErrors;
  readonly #landing: DatagramLanding;
  readonly #counters: Counters;
  readonly #answers: AnswerTap;

  constructor(context: SessionContext, questions: DnsQuestions, errors: SessionErrors) {
    const { stack, upstreams, table, counters, base } = context;
    this.#stack = stack;
    this.#upstreams = upstreams;
    this.#table = table;
    this.#questions = questions;
    this.#errors = errors;
    this.#landing = new DatagramLanding(stack.slabs, base);
    this.#counters = counters;
    this.#answers = context.answers ?? NO_ANSWER_TAP;
  }

  /** Receives once from the upstream of a session, and sends on what came. */
  receive(row: number, now: Instant): Left {
    const room = this.#landing.prepare();
    if (room === 0) return Left.STARVED;
    this.#counters.add(Counter.DATAGRAM_RECEIVES);
    const got = this.#landing.batch.receive(this.#upstreams.fd(row), room);
    if (got < 0) {
      if (got === -Errno.EAGAIN) return Left.NOTHING;
      // An error about what was sent, in place of a datagram; told once. Where the receive buffer
      // had no room for it, the queue is empty, and no event tells of the datagrams that wait.
      return this.#errors.drain(row, now) > 0 ? Left.MORE : Left.STARVED;
    }
    for (let i = 0; i < got; i++) {
      this.#counters.add(Counter.UPSTREAM_BYTES_RECEIVED, this.#landing.batch.length(i));
    }
    if (this.#answers.isOn) this.#showAnswers(row, got);
    const left = got < room ? Left.NOTHING : Left.MORE;
    if (this.#table.kind[row] !== SessionKind.UDP) this.#deliverEchoes(row, got, now);
    else if (this.#questions.isWatched(row)) return this.#deliverAnswers(row, got, left, now);
    else for (let i = 0; i < got; ) i = this.#deliver(row, i, got, now);
    return left;
  }

  /** Sends each datagram alone, and looks whether it answers a question. */
  #deliverAnswers(row: number, got: number, left: Left, now: Instant): Left {
    const { view } = this.#stack.arena;
    let isAnswered = false;
    for (let i = 0; i < got; i++) {
      const at = this.#landing.at(i);
      isAnswered = this.#questions.onAnswer(row, view, at, this.#landing.batch.length(i));
      this.#deliver(row, i, i + 1, now);
    }
    return isAnswered ? Left.ANSWERED : left;
  }

  /** Of a flow to a DNS server, as its client sees it. Sending them on writes over them. */
  #showAnswers(row: number, got: number): void {
    const rowAt = this.#stack.flows.rowAt(row);
    const port = this.#stack.arena.view.getUint16(rowAt + FlowField.DESTINATION_PORT, true);
    if (this.#table.kind[row] !== SessionKind.UDP || port !== DNS_PORT) return;
    const { batch } = this.#landing;
    for (let i = 0; i < got; i++) {
      if (batch.isTruncated(i)) continue;
      batch.readControl(i);
      this.#answers.answers(row, this.#landing.at(i), batch.length(i), batch.segmentBytes);
    }
  }

  #deliverEchoes(row: number, got: number, now: Instant): void {
    const { batch } = this.#landing;
    const { view } = this.#stack.arena;
    const rowAt = this.#stack.flows.rowAt(row);
    const family = view.getUint8(rowAt + FlowField.UPSTREAM_FAMILY) === 4 ? 4 : 6;
    for (let i = 0; i < got; i++) {
      const start = this.#landing.at(i);
      const end = start + batch.length(i);
      const at = echoReplyAt(view, row, this.#table, start, end, family);
      if (at === NO_REPLY || batch.isTruncated(i)) continue;
      batch.readControl(i);
      this.#stack.echoReply(row, at, end - at, batch.trafficClass, now);
    }
  }

  /** Sends datagram `first`, and those behind it up to `end` that make a run with it. */
  #deliver(row: number, first: number, end: number, now: Instant): number {
    const { batch } = this.#landing;
    if (batch.isTruncated(first)) {
      this.#counters.drop(DropReason.UPSTREAM_TOO_LONG);
      return first + 1;
    }
    batch.readControl(first);
    const { segmentBytes, trafficClass } = batch;
    const at = this.#landing.at(first);
    let length = batch.length(first);
    if (segmentBytes > 0 && segmentBytes < length) {
      this.#sendRun(row, at, length, segmentBytes, trafficClass, now);
      return first + 1;
    }
    const size = length;
    const { bytes } = this.#stack.arena;
    let next = first + 1;
    // A shorter one ends the run, and one without bytes is none.
    while (next < end && length === (next - first) * size) {
      const more = batch.length(next);
      if (more > size || more === 0 || length + more > RUN_BYTES_MAX || batch.isTruncated(next))
        break;
      batch.readControl(next);
      if (batch.trafficClass !== trafficClass || batch.segmentBytes > 0) break;
      const from = this.#landing.at(next);
      bytes.copyWithin(at + length, from, from + more);
      length += more;
      next += 1;
    }
    const isRun = next - first > 1;
    this.#stack.datagram(row, at, length, isRun ? size : 0, trafficClass, now);
    return next;
  }

  /** Sends a run that the kernel has put together; in two, where it is too long for one packet. */
  #sendRun(
    row: number,
    at: number,
    length: number,
    size: number,
    trafficClass: number,
    now: Instant,
  ): void {
    const most = Math.floor(RUN_BYTES_MAX / size) * size;
    for (let done = 0; done < length; done += most) {
      // Headers are written over the end of what has left before.
      const part = Math.min(most, length - done);
      this.#stack.datagram(row, at + done, part, part > size ? size : 0, trafficClass, now);
    }
  }
}
