/**
 * Datagrams between the data plane and a script host: what is asked about a flow and what was
 * decided. Fixed layouts, little-endian, one datagram a message. The data plane encodes and decodes
 * on its hot path, straight from its rows and without an object; the script host takes values.
 */
import type { Decision } from '../../scripts-runtime/decision.ts';
import { FAILURE_KINDS } from '../../scripts-runtime/errors.ts';
import { VERDICT_TEXT_BYTES } from '../../scripts-runtime/limits.ts';
import { PROTOCOL_NAMES, SERVICE_NAMES, Service, VerdictCode } from '../../stack/flow-row.ts';
import {
  CONGESTION_NAMES,
  type ConnectionRequest,
  type Endpoint,
  type ForwardVerdict,
  REJECT_WITHS,
} from '../../stack/verdict.ts';
import { formatAddress, writeAddress } from '../../stack/wire/ip-address.ts';

/** First byte of every datagram. */
export const DatagramKind = {
  REQUEST: 1,
  /** The client is gone: no answer is wanted, and one that claims the flow comes to nothing. */
  CANCEL: 2,
  ANSWER: 3,
  /** See shown-datagrams.ts. */
  SHOW: 4,
  SHOWN: 5,
  /** See seen-answers.ts. */
  DNS_ANSWER: 6,
} as const;

/** Longest datagram in bytes: one that shows what an Ethernet carries. */
export const DECISION_BYTES_MAX = 1536;

/** Offsets in bytes. Addresses are 16 bytes in network order, IPv4 in the first four. */
const RequestField = {
  KIND: 0,
  PROTOCOL: 1,
  FAMILY: 2,
  ECN: 3,
  REQUEST_ID: 4,
  EPOCH: 8,
  SOURCE_PORT: 12,
  DESTINATION_PORT: 14,
  FLOW: 16,
  SOURCE: 24,
  DESTINATION: 40,
  MSS: 56,
  WINDOW_SCALE: 58,
  TTL: 59,
} as const;
const DECISION_REQUEST_BYTES = 60;

/** A cancellation ends after the epoch; its first fields are those of a request. */
export const DECISION_CANCEL_BYTES = 12;

/** Offsets in bytes. */
const AnswerField = {
  KIND: 0,
  /** VerdictCode, or FAILED. */
  VERDICT: 1,
  /** By the verdict: position in REJECT_WITHS, Service, HandshakeCode, failure code. */
  DETAIL: 2,
  /** PROXY protocol version; 0 for none. */
  PROXY_PROTOCOL: 3,
  REQUEST_ID: 4,
  EPOCH: 8,
  GENERATION: 12,
  SCRIPT: 16,
  /** 4, 6, or 0 for the original destination. */
  TO_FAMILY: 20,
  BIND_FAMILY: 21,
  TO_PORT: 22,
  TO: 24,
  BIND: 40,
  MARK: 56,
  HAS_MARK: 60,
  TEXT_LENGTH: 61,
  /** Position in CONGESTION_NAMES, and one more; 0 for the configured one. */
  CONGESTION: 62,
  /** 1 when the source is rewritten too. */
  MASQUERADE: 63,
  /** 1 when scripts before the one that decided have failed. */
  AFTER_FAILURE: 76,
  CONNECT_TIMEOUT_MS: 64,
  IDLE_TIMEOUT_MS: 68,
  HALF_CLOSE_TIMEOUT_MS: 72,
  /** float64 */
  MAX_BYTES: 80,
  /** UTF-8: reason of a rejection, note or listener of a redirection, upstream of a forward. */
  TEXT: 88,
} as const;
const ANSWER_FIXED_BYTES = 88;

/** Stands in the place of a verdict: the script gave none, and the fallback applies. */
export const VERDICT_FAILED = 255;

export const HandshakeCode = { 'dial-first': 0, 'accept-first': 1 } as const;
/** Words of the failure codes: `failureName(answer.detail)`. */
export const failureName = (code: number): string => FAILURE_KINDS[code] ?? 'unknown';

const ADDRESS_BYTES = 16;
/** The redirection to the gateway's own page; the others name listeners. */
const WELCOME = SERVICE_NAMES[Service.WELCOME];

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/**
 * Writes a request. Addresses are copied from `rowView`, 16 bytes each.
 *
 * @param protocol  IANA number; `mss`, `windowScale` and `ecn` are read of TCP only
 * @param ecn       1 when the SYN asks for ECN, else 0
 * @returns         length in bytes
 */
export function encodeDecisionRequest(
  view: DataView,
  at: number,
  requestId: number,
  epoch: number,
  flow: number,
  protocol: number,
  family: number,
  rowView: DataView,
  sourceAt: number,
  sourcePort: number,
  destinationAt: number,
  destinationPort: number,
  mss: number,
  windowScale: number,
  ttl: number,
  ecn: number,
): number {
  view.setUint8(at + RequestField.KIND, DatagramKind.REQUEST);
  view.setUint8(at + RequestField.PROTOCOL, protocol);
  view.setUint8(at + RequestField.FAMILY, family);
  view.setUint8(at + RequestField.ECN, ecn);
  view.setUint32(at + RequestField.REQUEST_ID, requestId, true);
  view.setUint32(at + RequestField.EPOCH, epoch, true);
  view.setUint16(at + RequestField.SOURCE_PORT, sourcePort, true);
  view.setUint16(at + RequestField.DESTINATION_PORT, destinationPort, true);
  view.setFloat64(at + RequestField.FLOW, flow, true);
  for (let i = 0; i < ADDRESS_BYTES; i += 4) {
    view.setInt32(at + RequestField.SOURCE + i, rowView.getInt32(sourceAt + i));
    view.setInt32(at + RequestField.DESTINATION + i, rowView.getInt32(destinationAt + i));
  }
  view.setUint16(at + RequestField.MSS, mss, true);
  view.setUint8(at + RequestField.WINDOW_SCALE, windowScale);
  view.setUint8(at + RequestField.TTL, ttl);
  return DECISION_REQUEST_BYTES;
}

/** Writes a cancellation; returns its length in bytes. */
export function encodeDecisionCancel(
  view: DataView,
  at: number,
  requestId: number,
  epoch: number,
): number {
  view.setUint8(at + RequestField.KIND, DatagramKind.CANCEL);
  view.setUint32(at + RequestField.REQUEST_ID, requestId, true);
  view.setUint32(at + RequestField.EPOCH, epoch, true);
  return DECISION_CANCEL_BYTES;
}

/** Kind of the datagram, one of `DatagramKind`; 0 when it is too short for any. */
export const datagramKind = (view: DataView, at: number, length: number): number =>
  length < DECISION_CANCEL_BYTES ? 0 : view.getUint8(at + RequestField.KIND);

/** Of a request or a cancellation. */
export const requestIdOf = (view: DataView, at: number): number =>
  view.getUint32(at + RequestField.REQUEST_ID, true);
export const epochOf = (view: DataView, at: number): number =>
  view.getUint32(at + RequestField.EPOCH, true);

/** The request of a datagram; undefined when it is malformed. */
export function decodeDecisionRequest(
  view: DataView,
  at: number,
  length: number,
): ConnectionRequest | undefined {
  if (length !== DECISION_REQUEST_BYTES) return undefined;
  const family = view.getUint8(at + RequestField.FAMILY);
  const protocol = PROTOCOL_NAMES[view.getUint8(at + RequestField.PROTOCOL)];
  if ((family !== 4 && family !== 6) || protocol === undefined) return undefined;
  const addressLength = family === 4 ? 4 : ADDRESS_BYTES;
  return {
    flow: view.getFloat64(at + RequestField.FLOW, true),
    protocol,
    source: {
      ip: formatAddress(view, at + RequestField.SOURCE, addressLength),
      port: view.getUint16(at + RequestField.SOURCE_PORT, true),
      family,
    },
    destination: {
      ip: formatAddress(view, at + RequestField.DESTINATION, addressLength),
      port: view.getUint16(at + RequestField.DESTINATION_PORT, true),
      family,
    },
    ...(protocol === 'tcp' ? { syn: readSyn(view, at) } : {}),
  };
}

const readSyn = (view: DataView, at: number): NonNullable<ConnectionRequest['syn']> => ({
  mss: view.getUint16(at + RequestField.MSS, true),
  windowScale: view.getUint8(at + RequestField.WINDOW_SCALE),
  ttl: view.getUint8(at + RequestField.TTL),
  ecn: view.getUint8(at + RequestField.ECN) !== 0,
});

/** Writes an answer; returns its length in bytes, at most `DECISION_BYTES_MAX`. */
export function encodeDecisionAnswer(
  view: DataView,
  at: number,
  requestId: number,
  epoch: number,
  decision: Decision,
): number {
  for (let i = 0; i < ANSWER_FIXED_BYTES; i++) view.setUint8(at + i, 0);
  view.setUint8(at + AnswerField.KIND, DatagramKind.ANSWER);
  view.setUint32(at + AnswerField.REQUEST_ID, requestId, true);
  view.setUint32(at + AnswerField.EPOCH, epoch, true);
  view.setUint32(at + AnswerField.GENERATION, decision.by.generation, true);
  view.setUint32(at + AnswerField.SCRIPT, decision.by.script, true);
  if (decision.kind === 'failed') {
    view.setUint8(at + AnswerField.VERDICT, VERDICT_FAILED);
    view.setUint8(at + AnswerField.DETAIL, FAILURE_KINDS.indexOf(decision.failure));
    return ANSWER_FIXED_BYTES;
  }
  const { verdict } = decision;
  view.setUint8(at + AnswerField.AFTER_FAILURE, decision.failures === undefined ? 0 : 1);
  switch (verdict.kind) {
    case 'decline':
      view.setUint8(at + AnswerField.VERDICT, VerdictCode.DECLINE);
      return ANSWER_FIXED_BYTES;
    case 'reject':
      view.setUint8(at + AnswerField.VERDICT, VerdictCode.REJECT);
      view.setUint8(at + AnswerField.DETAIL, REJECT_WITHS.indexOf(verdict.with));
      return writeText(view, at, verdict.reason);
    case 'redirect':
      view.setUint8(at + AnswerField.VERDICT, VerdictCode.REDIRECT);
      if (verdict.listener !== WELCOME) return writeText(view, at, verdict.listener);
      view.setUint8(at + AnswerField.DETAIL, Service.WELCOME);
      return writeText(view, at, verdict.note);
    case 'forward':
      view.setUint8(at + AnswerField.VERDICT, VerdictCode.FORWARD);
      writeForward(view, at, verdict);
      return writeText(view, at, verdict.via ?? '');
    case 'nat':
      view.setUint8(at + AnswerField.VERDICT, VerdictCode.NAT);
      writeTarget(view, at, verdict.to);
      view.setUint8(at + AnswerField.MASQUERADE, verdict.masquerade ? 1 : 0);
      view.setUint32(at + AnswerField.IDLE_TIMEOUT_MS, verdict.idleTimeoutMs ?? 0, true);
      return ANSWER_FIXED_BYTES;
    case 'claim':
      view.setUint8(at + AnswerField.VERDICT, VerdictCode.CLAIM);
      return ANSWER_FIXED_BYTES;
  }
}

function writeTarget(view: DataView, at: number, to: Endpoint | undefined): void {
  if (to === undefined) return;
  view.setUint8(at + AnswerField.TO_FAMILY, writeAddress(to.ip, view, at + AnswerField.TO));
  view.setUint16(at + AnswerField.TO_PORT, to.port, true);
}

function writeForward(view: DataView, at: number, verdict: ForwardVerdict): void {
  const { bind, mark, congestion } = verdict;
  view.setUint8(at + AnswerField.DETAIL, HandshakeCode[verdict.handshake]);
  view.setUint8(at + AnswerField.PROXY_PROTOCOL, verdict.proxyProtocol ?? 0);
  writeTarget(view, at, verdict.to);
  if (bind !== undefined) {
    view.setUint8(at + AnswerField.BIND_FAMILY, writeAddress(bind, view, at + AnswerField.BIND));
  }
  view.setUint8(at + AnswerField.HAS_MARK, mark === undefined ? 0 : 1);
  view.setUint32(at + AnswerField.MARK, mark ?? 0, true);
  view.setUint32(at + AnswerField.CONNECT_TIMEOUT_MS, verdict.connectTimeoutMs ?? 0, true);
  view.setUint32(at + AnswerField.IDLE_TIMEOUT_MS, verdict.idleTimeoutMs ?? 0, true);
  view.setUint32(at + AnswerField.HALF_CLOSE_TIMEOUT_MS, verdict.halfCloseTimeoutMs ?? 0, true);
  view.setFloat64(at + AnswerField.MAX_BYTES, verdict.maxBytes ?? 0, true);
  const control = congestion === undefined ? 0 : CONGESTION_NAMES.indexOf(congestion) + 1;
  view.setUint8(at + AnswerField.CONGESTION, control);
}

function writeText(view: DataView, at: number, text: string): number {
  const into = new Uint8Array(
    view.buffer,
    view.byteOffset + at + AnswerField.TEXT,
    VERDICT_TEXT_BYTES,
  );
  const { written } = utf8.encodeInto(text, into);
  view.setUint8(at + AnswerField.TEXT_LENGTH, written);
  return ANSWER_FIXED_BYTES + written;
}

/**
 * An answer as numbers, read into again and again. Addresses and text are positions in the view
 * that was read, and valid as long as that.
 */
export class DecisionAnswer {
  requestId = 0;
  epoch = 0;
  /** VerdictCode, or VERDICT_FAILED. */
  verdict = 0;
  /** By the verdict: position in REJECT_WITHS, HandshakeCode, Service, or failure code. */
  detail = 0;
  generation = 0;
  /** Position of the script; 0xffff_ffff when none claimed the flow. */
  script = 0;
  /** 4, 6, or 0 for the original destination, address and port. */
  toFamily = 0;
  /** Never 0 beside an address, but for a flow without ports. */
  toPort = 0;
  toAt = 0;
  /** 4, 6, or 0 for any local address. */
  bindFamily = 0;
  bindAt = 0;
  /** -1 for the configured one. */
  mark = -1;
  /** 1, 2, or 0 for none. */
  proxyProtocol = 0;
  /** Milliseconds; 0 for the configured ones. */
  connectTimeoutMs = 0;
  idleTimeoutMs = 0;
  halfCloseTimeoutMs = 0;
  /** 0 for no limit. */
  maxBytes = 0;
  /** Position in CONGESTION_NAMES, and one more; 0 for the configured one. */
  congestion = 0;
  /** Of a NAT: the upstream sees an address of the pool as source. */
  masquerade = false;
  /** Scripts before the one that decided have failed, and were passed over. */
  afterFailure = false;
  textAt = 0;
  textLength = 0;
}

/** Reads an answer; false when the datagram is none, and `into` is as it was. */
export function decodeDecisionAnswer(
  view: DataView,
  at: number,
  length: number,
  into: DecisionAnswer,
): boolean {
  if (length < ANSWER_FIXED_BYTES || view.getUint8(at) !== DatagramKind.ANSWER) return false;
  const textLength = view.getUint8(at + AnswerField.TEXT_LENGTH);
  if (length !== ANSWER_FIXED_BYTES + textLength) return false;
  into.requestId = view.getUint32(at + AnswerField.REQUEST_ID, true);
  into.epoch = view.getUint32(at + AnswerField.EPOCH, true);
  into.verdict = view.getUint8(at + AnswerField.VERDICT);
  into.detail = view.getUint8(at + AnswerField.DETAIL);
  into.generation = view.getUint32(at + AnswerField.GENERATION, true);
  into.script = view.getUint32(at + AnswerField.SCRIPT, true);
  into.toFamily = view.getUint8(at + AnswerField.TO_FAMILY);
  into.toPort = view.getUint16(at + AnswerField.TO_PORT, true);
  into.toAt = at + AnswerField.TO;
  into.bindFamily = view.getUint8(at + AnswerField.BIND_FAMILY);
  into.bindAt = at + AnswerField.BIND;
  const hasMark = view.getUint8(at + AnswerField.HAS_MARK) !== 0;
  into.mark = hasMark ? view.getUint32(at + AnswerField.MARK, true) : -1;
  into.proxyProtocol = view.getUint8(at + AnswerField.PROXY_PROTOCOL);
  into.connectTimeoutMs = view.getUint32(at + AnswerField.CONNECT_TIMEOUT_MS, true);
  into.idleTimeoutMs = view.getUint32(at + AnswerField.IDLE_TIMEOUT_MS, true);
  into.halfCloseTimeoutMs = view.getUint32(at + AnswerField.HALF_CLOSE_TIMEOUT_MS, true);
  into.maxBytes = view.getFloat64(at + AnswerField.MAX_BYTES, true);
  into.congestion = view.getUint8(at + AnswerField.CONGESTION);
  into.masquerade = view.getUint8(at + AnswerField.MASQUERADE) !== 0;
  into.afterFailure = view.getUint8(at + AnswerField.AFTER_FAILURE) !== 0;
  into.textAt = at + AnswerField.TEXT;
  into.textLength = textLength;
  return true;
}

/** Reason of a rejection, note or listener of a redirection, upstream of a forward. Allocates. */
export const answerText = (view: DataView, answer: DecisionAnswer): string =>
  fromUtf8.decode(new Uint8Array(view.buffer, view.byteOffset + answer.textAt, answer.textLength));
