/**
 * Requests and answers between the data plane and the script host: one datagram each on a
 * SOCK_SEQPACKET pair, in host byte order. Positions and numbers only: neither side allocates to
 * encode a request or to read an answer's head.
 */
import type { DecidedBy, Endpoint, RejectWith, Verdict } from '../../stack/verdict.ts';

/** A datagram is never longer. */
export const DECISION_MAX_BYTES = 1024;
/** UTF-8 bytes of a reason or note; what is longer is cut. */
export const DECISION_TEXT_BYTES = 200;

export const DecisionKind = { REQUEST: 1, CANCEL: 2, ANSWER: 3 } as const;

/** Data plane → script host. CANCEL ends after `EPOCH`. */
export const RequestField = {
  KIND: 0,
  /** uint8: 4 or 6. */
  FAMILY: 1,
  /** uint8: IANA protocol number. */
  PROTOCOL: 2,
  /** uint8: bit 0: the SYN asks for ECN. */
  FLAGS: 3,
  /** uint32: echoed by the answer. */
  REQUEST: 4,
  /** uint32: a host answers requests of its own epoch only. */
  EPOCH: 8,
  /** uint8 */
  WINDOW_SCALE: 12,
  HOP_LIMIT: 13,
  /** uint16 */
  MSS: 14,
  SOURCE_PORT: 16,
  DESTINATION_PORT: 18,
  /** float64: serial number of the flow. */
  FLOW: 24,
  /** 16 bytes each, network order; IPv4 in the first four. */
  SOURCE: 32,
  DESTINATION: 48,
} as const;
export const REQUEST_BYTES = 64;
export const CANCEL_BYTES = 12;

/** Script host → data plane. */
export const AnswerField = {
  KIND: 0,
  /** uint8: AnswerVerdict. */
  VERDICT: 1,
  /** uint8: position in REJECT_WITH, or AnswerFailure. */
  DETAIL: 2,
  /** uint8: bit 0 accept-first, bits 1 and 2 PROXY protocol version. */
  FLAGS: 3,
  REQUEST: 4,
  EPOCH: 8,
  /** uint32 */
  GENERATION: 12,
  SCRIPT: 16,
  MARK: 20,
  CONNECT_TIMEOUT_MS: 24,
  IDLE_TIMEOUT_MS: 28,
  HALF_CLOSE_TIMEOUT_MS: 32,
  /** uint16 */
  PORT: 36,
  /** uint8: family of ADDRESS, 0 for the original destination. */
  FAMILY: 38,
  /** uint8: family of BIND, 0 for none. */
  BIND_FAMILY: 39,
  /** float64 */
  MAX_BYTES: 40,
  /** 16 bytes each. */
  ADDRESS: 48,
  BIND: 64,
  /** uint16 lengths of the two texts that follow: a listener's name, and a reason or note. */
  NAME_LENGTH: 80,
  TEXT_LENGTH: 82,
  TEXTS: 84,
} as const;

export const AnswerVerdict = {
  FAILED: 0,
  DECLINE: 1,
  REJECT: 2,
  FORWARD: 3,
  REDIRECT: 4,
} as const;
export type AnswerVerdict = (typeof AnswerVerdict)[keyof typeof AnswerVerdict];

/** Why a script gave no verdict. */
export const AnswerFailure = {
  ERROR: 0,
  CPU: 1,
  MEMORY: 2,
  WALL: 3,
  PENDING: 4,
  DISABLED: 5,
  BAD_VERDICT: 6,
  STACK: 7,
} as const;
export type AnswerFailure = (typeof AnswerFailure)[keyof typeof AnswerFailure];

export const REJECT_WITH: readonly RejectWith[] = ['rst', 'icmp', 'drop'];

const ACCEPT_FIRST = 1;
const PROXY_SHIFT = 1;
const utf8 = new TextEncoder();

/** Writes an answer without a verdict. @returns its length */
export function encodeFailure(
  view: DataView,
  request: number,
  epoch: number,
  failure: AnswerFailure,
  by: DecidedBy,
): number {
  encodeHead(view, request, epoch, AnswerVerdict.FAILED, by);
  view.setUint8(AnswerField.DETAIL, failure);
  return AnswerField.TEXTS;
}

/**
 * Writes a verdict to the start of `view`, which holds DECISION_MAX_BYTES.
 *
 * @param parse  bytes of an address, for `forward` to another address and for `bind`
 * @returns      its length
 */
export function encodeVerdict(
  view: DataView,
  request: number,
  epoch: number,
  verdict: Verdict,
  by: DecidedBy,
  parse: (address: string) => Uint8Array | undefined,
): number {
  switch (verdict.kind) {
    case 'decline':
      encodeHead(view, request, epoch, AnswerVerdict.DECLINE, by);
      return AnswerField.TEXTS;
    case 'reject':
      encodeHead(view, request, epoch, AnswerVerdict.REJECT, by);
      view.setUint8(AnswerField.DETAIL, REJECT_WITH.indexOf(verdict.with));
      return encodeTexts(view, '', verdict.reason);
    case 'redirect':
      encodeHead(view, request, epoch, AnswerVerdict.REDIRECT, by);
      return encodeTexts(view, verdict.listener, verdict.note);
    case 'forward':
      encodeHead(view, request, epoch, AnswerVerdict.FORWARD, by);
      encodeForward(view, verdict, parse);
      return AnswerField.TEXTS;
  }
}

function encodeForward(
  view: DataView,
  verdict: Extract<Verdict, { kind: 'forward' }>,
  parse: (address: string) => Uint8Array | undefined,
): void {
  const acceptFirst = verdict.handshake === 'accept-first' ? ACCEPT_FIRST : 0;
  view.setUint8(AnswerField.FLAGS, acceptFirst | ((verdict.proxyProtocol ?? 0) << PROXY_SHIFT));
  view.setUint32(AnswerField.MARK, verdict.mark ?? 0, true);
  view.setUint32(AnswerField.CONNECT_TIMEOUT_MS, verdict.connectTimeoutMs ?? 0, true);
  view.setUint32(AnswerField.IDLE_TIMEOUT_MS, verdict.idleTimeoutMs ?? 0, true);
  view.setUint32(AnswerField.HALF_CLOSE_TIMEOUT_MS, verdict.halfCloseTimeoutMs ?? 0, true);
  view.setFloat64(AnswerField.MAX_BYTES, verdict.maxBytes ?? 0, true);
  if (verdict.to !== undefined) encodeAddress(view, verdict.to, parse);
  if (verdict.bind !== undefined) {
    const bytes = parse(verdict.bind);
    if (bytes === undefined) throw new Error(`no address: ${verdict.bind}`);
    view.setUint8(AnswerField.BIND_FAMILY, bytes.length === 4 ? 4 : 6);
    setBytes(view, AnswerField.BIND, bytes);
  }
}

function encodeAddress(
  view: DataView,
  to: Endpoint,
  parse: (address: string) => Uint8Array | undefined,
): void {
  const bytes = parse(to.ip);
  if (bytes === undefined) throw new Error(`no address: ${to.ip}`);
  view.setUint8(AnswerField.FAMILY, bytes.length === 4 ? 4 : 6);
  view.setUint16(AnswerField.PORT, to.port, true);
  setBytes(view, AnswerField.ADDRESS, bytes);
}

function encodeHead(
  view: DataView,
  request: number,
  epoch: number,
  verdict: AnswerVerdict,
  by: DecidedBy,
): void {
  for (let i = 0; i < AnswerField.TEXTS; i += 4) view.setUint32(i, 0);
  view.setUint8(AnswerField.KIND, DecisionKind.ANSWER);
  view.setUint8(AnswerField.VERDICT, verdict);
  view.setUint32(AnswerField.REQUEST, request, true);
  view.setUint32(AnswerField.EPOCH, epoch, true);
  view.setUint32(AnswerField.GENERATION, by.generation, true);
  view.setUint32(AnswerField.SCRIPT, by.script, true);
}

function encodeTexts(view: DataView, name: string, text: string): number {
  const bytes = new Uint8Array(view.buffer, view.byteOffset);
  const nameAt = AnswerField.TEXTS;
  const nameLength = utf8.encodeInto(name, bytes.subarray(nameAt, nameAt + 64)).written;
  const textAt = nameAt + nameLength;
  const textLength = utf8.encodeInto(
    text,
    bytes.subarray(textAt, textAt + DECISION_TEXT_BYTES),
  ).written;
  view.setUint16(AnswerField.NAME_LENGTH, nameLength, true);
  view.setUint16(AnswerField.TEXT_LENGTH, textLength, true);
  return textAt + textLength;
}

function setBytes(view: DataView, at: number, bytes: Uint8Array): void {
  bytes.forEach((byte, i) => {
    view.setUint8(at + i, byte);
  });
}

/** Head of an answer's flags. */
export const isAcceptFirst = (flags: number): boolean => (flags & ACCEPT_FIRST) !== 0;
export const proxyProtocolOf = (flags: number): 0 | 1 | 2 => {
  const version = flags >>> PROXY_SHIFT;
  return version === 1 || version === 2 ? version : 0;
};
