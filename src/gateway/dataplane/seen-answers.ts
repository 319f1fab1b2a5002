/**
 * Shows the script host the answers of DNS servers that clients get. Nothing waits for it: when the
 * host is behind, answers are left out and counted, long before its socket has no room for
 * requests.
 */
import { addressOf } from '../../ffi/memory.ts';
import { send, unacknowledged } from '../../ffi/sockets.ts';
import type { AnswerTap } from '../../stack/answer-tap.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import { FlowField } from '../../stack/flow-row.ts';
import type { Stack } from '../../stack/stack.ts';
import { DataPlaneFd, type ScriptsState } from '../messages/control.ts';
import { DECISION_BYTES_MAX } from '../messages/decision.ts';
import { encodeSeenAnswer } from '../messages/seen-answers.ts';

/**
 * Of what the socket may hold unread, by the kernel's accounting, 2 MiB in all: some hundred
 * answers. The rest is for requests.
 */
const UNREAD_BYTES_MAX = 256 * 1024;

/** RFC 1035 §4.1.1 */
const HEADER_BYTES = 12;
const DnsField = { FLAGS: 2, QUESTIONS: 4, ANSWERS: 6 } as const;
/** QR, opcode and RCODE: an answer to a query, without an error. */
const FLAGS_MASK = 0xf80f;
const FLAGS_ANSWER = 0x8000;

export class SeenAnswers implements AnswerTap {
  /** A host is there that wants them. */
  isOn = false;
  readonly #counters: Counters;
  readonly #fd: number;
  readonly #buffer = new ArrayBuffer(DECISION_BYTES_MAX);
  readonly #view = new DataView(this.#buffer);
  readonly #address = addressOf(this.#buffer);
  #stack: Pick<Stack, 'arena' | 'rowAt'> | undefined;
  #epoch = 0;

  constructor(counters: Counters, fd: number = DataPlaneFd.SCRIPTS) {
    this.#counters = counters;
    this.#fd = fd;
  }

  /** The stack wants its tap first. */
  attach(stack: Pick<Stack, 'arena' | 'rowAt'>): void {
    this.#stack = stack;
  }

  setHost({ state, epoch }: ScriptsState): void {
    this.isOn = state === 'up';
    this.#epoch = epoch;
  }

  answers(row: number, at: number, length: number, segmentBytes: number): void {
    const step = segmentBytes === 0 ? length : segmentBytes;
    for (let done = 0; done < length; done += step) {
      this.#show(row, at + done, Math.min(step, length - done));
    }
  }

  #show(row: number, at: number, length: number): void {
    const stack = this.#stack;
    if (stack === undefined || !isAnswer(stack.arena.view, at, length)) return;
    if (unacknowledged(this.#fd) > UNREAD_BYTES_MAX) {
      this.#counters.add(Counter.DNS_ANSWERS_LOST);
      return;
    }
    const { view } = stack.arena;
    const rowAt = stack.rowAt(row);
    const family = view.getUint8(rowAt + FlowField.FAMILY);
    const clientAt = rowAt + FlowField.SOURCE;
    const bytes = encodeSeenAnswer(this.#view, this.#epoch, family, view, clientAt, at, length);
    const isSent = send(this.#fd, this.#address, bytes) >= 0;
    this.#counters.add(isSent ? Counter.DNS_ANSWERS_SEEN : Counter.DNS_ANSWERS_LOST);
  }
}

/** Whether it may hold addresses: the host reads it all. */
const isAnswer = (view: DataView, at: number, length: number): boolean =>
  length > HEADER_BYTES &&
  (view.getUint16(at + DnsField.FLAGS) & FLAGS_MASK) === FLAGS_ANSWER &&
  view.getUint16(at + DnsField.QUESTIONS) === 1 &&
  view.getUint16(at + DnsField.ANSWERS) > 0;
