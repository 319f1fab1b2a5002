/**
 * Asks the script host and takes its answers. A request is answered once: by the host, by its
 * deadline, or by the end of its flow; what comes later is counted and ignored.
 */
import { Errno } from '../../ffi/errno.ts';
import { addressOf } from '../../ffi/memory.ts';
import { receive, send } from '../../ffi/sockets.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import { FlowField, SERVICE_NAMES, Service } from '../../stack/flow-row.ts';
import type { Stack } from '../../stack/stack.ts';
import { TcbFlag } from '../../stack/tcp/tcb.ts';
import type { RejectWith } from '../../stack/verdict.ts';
import { formatAddress } from '../../stack/wire/ip-address.ts';
import { Protocol } from '../../stack/wire/protocol.ts';
import { DataPlaneFd } from '../messages/control.ts';
import {
  AnswerField,
  AnswerVerdict,
  CANCEL_BYTES,
  DECISION_MAX_BYTES,
  DecisionKind,
  isAcceptFirst,
  proxyProtocolOf,
  REJECT_WITH,
  REQUEST_BYTES,
  RequestField,
} from '../messages/decision.ts';
import type { UpstreamTable } from './upstream-table.ts';

/** A power of two above any limit of held SYNs. */
const SLOTS = 65_536;
const NONE = -1;
/** Answers taken per turn of the loop. */
const BATCH = 256;

export const ScriptVerdictKind = AnswerVerdict;

/** A verdict as it arrived; one object is reused. */
export interface ScriptVerdict {
  kind: AnswerVerdict;
  generation: number;
  script: number;
  rejectWith: RejectWith;
  /** Family of `address`; 0 for the original destination. */
  family: 0 | 4 | 6;
  readonly address: Uint8Array;
  port: number;
  mark: number;
  bind: string;
  acceptFirst: boolean;
  proxyProtocol: 0 | 1 | 2;
  connectTimeoutMs: number;
  idleTimeoutMs: number;
  halfCloseTimeoutMs: number;
  maxBytes: number;
  service: number;
  /** Reason of a reject, note of a redirect. */
  text: string;
}

export class Decisions {
  readonly #stack: Stack;
  readonly #upstreams: UpstreamTable;
  readonly #counters: Counters;
  readonly #buffer = new ArrayBuffer(DECISION_MAX_BYTES);
  readonly #view = new DataView(this.#buffer);
  readonly #bytes = new Uint8Array(this.#buffer);
  readonly #address = addressOf(this.#buffer);
  readonly #text = new TextDecoder();
  /** Row that waits for the answer to a request, by the request's low bits. */
  readonly #rows = new Int32Array(SLOTS).fill(NONE);
  #lastRequest = 0;
  #epoch = 0;
  readonly #verdict: ScriptVerdict = {
    kind: AnswerVerdict.FAILED,
    generation: 0,
    script: 0,
    rejectWith: 'rst',
    family: 0,
    address: new Uint8Array(16),
    port: 0,
    mark: 0,
    bind: '',
    acceptFirst: false,
    proxyProtocol: 0,
    connectTimeoutMs: 0,
    idleTimeoutMs: 0,
    halfCloseTimeoutMs: 0,
    maxBytes: 0,
    service: Service.NONE,
    text: '',
  };

  constructor(stack: Stack, upstreams: UpstreamTable, counters: Counters) {
    this.#stack = stack;
    this.#upstreams = upstreams;
    this.#counters = counters;
  }

  /** Asks about the held SYN in `row`. @returns false when the host's queue is full */
  ask(row: number, epoch: number): boolean {
    this.#epoch = epoch;
    const request = this.#nextRequest();
    if (request === 0) return false;
    this.#encode(row, request);
    const sent = send(DataPlaneFd.SCRIPTS, this.#address, REQUEST_BYTES);
    if (sent < 0) return false;
    this.#rows[request % SLOTS] = row;
    this.#upstreams.setRequest(row, request);
    this.#counters.add(Counter.DECISIONS_ASKED);
    return true;
  }

  /** The row no longer waits; the host is told, so that `flow.signal` fires. */
  abandon(row: number): void {
    const request = this.#upstreams.request(row);
    if (request === 0) return;
    this.#forget(row, request);
    this.#view.setUint8(RequestField.KIND, DecisionKind.CANCEL);
    this.#view.setUint32(RequestField.REQUEST, request, true);
    this.#view.setUint32(RequestField.EPOCH, this.#epoch, true);
    send(DataPlaneFd.SCRIPTS, this.#address, CANCEL_BYTES);
  }

  /** The host is gone: every row that waits is handed over. */
  abandonAll(onRow: (row: number) => void): void {
    for (const row of this.#rows.filter((waiting) => waiting !== NONE)) {
      this.#forget(row, this.#upstreams.request(row));
      onRow(row);
    }
  }

  /** Takes the answers that have arrived; the verdict is valid during the call. */
  read(onVerdict: (row: number, verdict: ScriptVerdict) => void): void {
    for (let i = 0; i < BATCH; i++) {
      const got = receive(DataPlaneFd.SCRIPTS, this.#address, DECISION_MAX_BYTES);
      if (got === -Errno.EINTR) continue;
      if (got <= 0) return;
      const row = this.#rowOf(got);
      if (row === NONE) {
        this.#counters.add(Counter.DECISIONS_LATE);
        continue;
      }
      this.#forget(row, this.#upstreams.request(row));
      this.#decode(got);
      onVerdict(row, this.#verdict);
    }
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
    this.#upstreams.setRequest(row, 0);
  }

  #rowOf(length: number): number {
    const view = this.#view;
    if (length < AnswerField.TEXTS) return NONE;
    if (view.getUint8(AnswerField.KIND) !== DecisionKind.ANSWER) return NONE;
    if (view.getUint32(AnswerField.EPOCH, true) !== this.#epoch) return NONE;
    const request = view.getUint32(AnswerField.REQUEST, true);
    const row = this.#rows[request % SLOTS]!;
    return row !== NONE && this.#upstreams.request(row) === request ? row : NONE;
  }

  #encode(row: number, request: number): void {
    const out = this.#view;
    const { bytes, view } = this.#stack.arena;
    const at = this.#stack.rowAt(row);
    const tcb = this.#stack.tcb(row);
    out.setUint8(RequestField.KIND, DecisionKind.REQUEST);
    out.setUint8(RequestField.FAMILY, view.getUint8(at + FlowField.FAMILY));
    out.setUint8(RequestField.PROTOCOL, Protocol.TCP);
    out.setUint8(RequestField.FLAGS, tcb.has(TcbFlag.ECN_SETUP) ? 1 : 0);
    out.setUint32(RequestField.REQUEST, request, true);
    out.setUint32(RequestField.EPOCH, this.#epoch, true);
    out.setUint8(RequestField.WINDOW_SCALE, tcb.sndScale);
    out.setUint8(RequestField.HOP_LIMIT, view.getUint8(at + FlowField.SYN_HOP_LIMIT));
    out.setUint16(RequestField.MSS, tcb.synMss, true);
    const sourcePort = view.getUint16(at + FlowField.SOURCE_PORT, true);
    const destinationPort = view.getUint16(at + FlowField.DESTINATION_PORT, true);
    out.setUint16(RequestField.SOURCE_PORT, sourcePort, true);
    out.setUint16(RequestField.DESTINATION_PORT, destinationPort, true);
    out.setFloat64(RequestField.FLOW, view.getFloat64(at + FlowField.SERIAL, true), true);
    for (let i = 0; i < 16; i++) {
      this.#bytes[RequestField.SOURCE + i] = bytes[at + FlowField.SOURCE + i]!;
      this.#bytes[RequestField.DESTINATION + i] = bytes[at + FlowField.DESTINATION + i]!;
    }
  }

  #decode(length: number): void {
    const view = this.#view;
    const verdict = this.#verdict;
    const u32 = (field: number) => view.getUint32(field, true);
    verdict.kind = view.getUint8(AnswerField.VERDICT) as AnswerVerdict;
    verdict.generation = u32(AnswerField.GENERATION);
    verdict.script = u32(AnswerField.SCRIPT);
    verdict.rejectWith = REJECT_WITH[view.getUint8(AnswerField.DETAIL)] ?? 'rst';
    const family = view.getUint8(AnswerField.FAMILY);
    verdict.family = family === 4 || family === 6 ? family : 0;
    const addressAt = AnswerField.ADDRESS;
    for (let i = 0; i < 16; i++) verdict.address[i] = this.#bytes[addressAt + i]!;
    verdict.port = view.getUint16(AnswerField.PORT, true);
    verdict.mark = u32(AnswerField.MARK);
    const bindFamily = view.getUint8(AnswerField.BIND_FAMILY);
    verdict.bind =
      bindFamily === 0 ? '' : formatAddress(view, AnswerField.BIND, bindFamily === 4 ? 4 : 16);
    const flags = view.getUint8(AnswerField.FLAGS);
    verdict.acceptFirst = isAcceptFirst(flags);
    verdict.proxyProtocol = proxyProtocolOf(flags);
    verdict.connectTimeoutMs = u32(AnswerField.CONNECT_TIMEOUT_MS);
    verdict.idleTimeoutMs = u32(AnswerField.IDLE_TIMEOUT_MS);
    verdict.halfCloseTimeoutMs = u32(AnswerField.HALF_CLOSE_TIMEOUT_MS);
    verdict.maxBytes = view.getFloat64(AnswerField.MAX_BYTES, true);
    this.#decodeTexts(length);
  }

  #decodeTexts(length: number): void {
    const view = this.#view;
    const verdict = this.#verdict;
    verdict.service = Service.NONE;
    verdict.text = '';
    if (verdict.kind !== AnswerVerdict.REDIRECT && verdict.kind !== AnswerVerdict.REJECT) return;
    const nameEnd = AnswerField.TEXTS + view.getUint16(AnswerField.NAME_LENGTH, true);
    const textEnd = nameEnd + view.getUint16(AnswerField.TEXT_LENGTH, true);
    if (textEnd > length) return;
    verdict.text = this.#text.decode(this.#bytes.subarray(nameEnd, textEnd));
    const name = this.#text.decode(this.#bytes.subarray(AnswerField.TEXTS, nameEnd));
    if (name !== '') verdict.service = Math.max(Service.NONE, SERVICE_NAMES.indexOf(name));
  }
}
