/** Reads the datagrams of conn.ts. */
import type { Endpoint } from '../../stack/verdict.ts';
import { formatAddress } from '../../stack/wire/ip-address.ts';
import {
  CLIENT_END,
  ClosedField,
  CONN_BYTES_MAX,
  CONN_LENGTHS,
  CONN_PAYLOAD_AT,
  CONN_PAYLOAD_BYTES_MAX,
  ConnKind,
  CreditField,
  DialedField,
  DialField,
  DialResult,
  HeadField,
  OpenedField,
  PeekedFlag,
  PeekField,
  SpliceField,
} from './conn.ts';

const DIAL_RESULT_MAX = Math.max(...Object.values(DialResult));

/**
 * A message as numbers, read into again and again. Only the fields of its kind are written; what is
 * called `…At` is a position in the view that was read, and valid as long as that.
 */
export class ConnMessage {
  kind: number = 0;
  /** PeekedFlag of PEEKED, DialResult of DIALED, CloseReason of CLOSED and ABORT. */
  detail = 0;
  /** Of PEEK and PEEKED. */
  peek = 0;
  conn = 0;
  epoch = 0;
  end = 0;
  /** PEEKED, DATA, WRITE. */
  payloadAt = 0;
  payloadLength = 0;
  /** OPENED, CLOSED. */
  requestId = 0;
  /** OPENED: serial number of the flow. */
  flow = 0;
  generation = 0;
  script = 0;
  /** CLOSED. */
  bytesUp = 0;
  bytesDown = 0;
  /** WANT, ROOM. */
  bytes = 0;
  /** PEEK. */
  min = 0;
  max = 0;
  /** PEEK, DIAL. */
  timeoutMs = 0;
  /** DIALED: the remote end. DIAL: the target. Family 4 or 6; of DIALED, 0 for none. */
  addressAt = 0;
  family = 0;
  port = 0;
  /** DIALED: the local end. DIAL: the address to bind, without a port. Family 0 for none. */
  localAt = 0;
  localFamily = 0;
  localPort = 0;
  /** DIAL: -1 for the configured one. */
  mark = -1;
  /** DIAL: 1, 2, or 0 for none. */
  proxyProtocol = 0;
  isIntoDevice = false;
  /** SPLICE: 0 for those of the flow. */
  idleTimeoutMs = 0;
  halfCloseTimeoutMs = 0;
  /** SPLICE: 0 for no limit. */
  maxBytes = 0;
}

/** Reads what the data plane says; false when it is malformed, and `into` means nothing. */
export function decodeToHost(
  view: DataView,
  at: number,
  length: number,
  into: ConnMessage,
): boolean {
  if (!readHead(view, at, length, into)) return false;
  switch (into.kind) {
    case ConnKind.STARTED:
    case ConnKind.FIN:
      return true;
    case ConnKind.DATA:
      return into.payloadLength > 0;
    case ConnKind.PEEKED:
      return into.detail <= (PeekedFlag.FIN | PeekedFlag.TIMED_OUT);
    case ConnKind.ROOM:
      into.bytes = view.getUint32(at + CreditField.BYTES, true);
      return true;
    case ConnKind.OPENED:
      into.requestId = view.getUint32(at + OpenedField.REQUEST_ID, true);
      into.generation = view.getUint32(at + OpenedField.GENERATION, true);
      into.flow = view.getFloat64(at + OpenedField.FLOW, true);
      into.script = view.getUint32(at + OpenedField.SCRIPT, true);
      return true;
    case ConnKind.CLOSED:
      into.requestId = view.getUint32(at + ClosedField.REQUEST_ID, true);
      into.bytesUp = view.getFloat64(at + ClosedField.BYTES_UP, true);
      into.bytesDown = view.getFloat64(at + ClosedField.BYTES_DOWN, true);
      return true;
    case ConnKind.DIALED:
      return readDialed(view, at, into);
    default:
      return false;
  }
}

/** Reads what a host says; false when it is malformed, and `into` means nothing. */
export function decodeToDataPlane(
  view: DataView,
  at: number,
  length: number,
  into: ConnMessage,
): boolean {
  if (!readHead(view, at, length, into)) return false;
  switch (into.kind) {
    case ConnKind.FIN:
    case ConnKind.ABORT:
    case ConnKind.CLOSE:
      return true;
    case ConnKind.WRITE:
      return into.payloadLength > 0;
    case ConnKind.WANT:
      into.bytes = view.getUint32(at + CreditField.BYTES, true);
      return true;
    case ConnKind.PEEK:
      into.min = view.getUint32(at + PeekField.MIN, true);
      into.max = view.getUint32(at + PeekField.MAX, true);
      into.timeoutMs = view.getUint32(at + PeekField.TIMEOUT_MS, true);
      return into.min <= into.max && into.max <= CONN_PAYLOAD_BYTES_MAX;
    case ConnKind.DIAL:
      return into.end !== CLIENT_END && readDial(view, at, into);
    case ConnKind.SPLICE:
      into.idleTimeoutMs = view.getUint32(at + SpliceField.IDLE_TIMEOUT_MS, true);
      into.halfCloseTimeoutMs = view.getUint32(at + SpliceField.HALF_CLOSE_TIMEOUT_MS, true);
      into.maxBytes = view.getFloat64(at + SpliceField.MAX_BYTES, true);
      return into.end !== CLIENT_END && Number.isFinite(into.maxBytes) && into.maxBytes >= 0;
    default:
      return false;
  }
}

/** An end of a DIALED as a value. Allocates. */
export const endpointAt = (
  view: DataView,
  addressAt: number,
  family: number,
  port: number,
): Endpoint => ({
  ip: formatAddress(view, addressAt, family === 4 ? 4 : 16),
  port,
  family: family === 4 ? 4 : 6,
});

/** @returns false unless the length is one of the kind's */
function readHead(view: DataView, at: number, length: number, into: ConnMessage): boolean {
  if (length < CONN_PAYLOAD_AT || length > CONN_BYTES_MAX) return false;
  const kind = view.getUint8(at + HeadField.KIND);
  const fixed = CONN_LENGTHS[kind];
  if (fixed === undefined || (fixed !== 0 && fixed !== length)) return false;
  into.kind = kind;
  into.detail = view.getUint8(at + HeadField.DETAIL);
  into.peek = view.getUint16(at + HeadField.PEEK, true);
  into.conn = view.getUint32(at + HeadField.CONN, true);
  into.epoch = view.getUint32(at + HeadField.EPOCH, true);
  into.end = view.getUint32(at + HeadField.END, true);
  into.payloadAt = at + CONN_PAYLOAD_AT;
  into.payloadLength = length - CONN_PAYLOAD_AT;
  return true;
}

function readDialed(view: DataView, at: number, into: ConnMessage): boolean {
  into.localAt = at + DialedField.LOCAL;
  into.localFamily = view.getUint8(at + DialedField.LOCAL_FAMILY);
  into.localPort = view.getUint16(at + DialedField.LOCAL_PORT, true);
  into.addressAt = at + DialedField.REMOTE;
  into.family = view.getUint8(at + DialedField.REMOTE_FAMILY);
  into.port = view.getUint16(at + DialedField.REMOTE_PORT, true);
  return (
    into.detail <= DIAL_RESULT_MAX &&
    isFamilyOrNone(into.localFamily) &&
    isFamilyOrNone(into.family)
  );
}

function readDial(view: DataView, at: number, into: ConnMessage): boolean {
  into.addressAt = at + DialField.TARGET;
  into.family = view.getUint8(at + DialField.FAMILY);
  into.port = view.getUint16(at + DialField.PORT, true);
  into.localAt = at + DialField.BIND;
  into.localFamily = view.getUint8(at + DialField.BIND_FAMILY);
  into.localPort = 0;
  into.timeoutMs = view.getUint32(at + DialField.TIMEOUT_MS, true);
  const hasMark = view.getUint8(at + DialField.HAS_MARK) !== 0;
  into.mark = hasMark ? view.getUint32(at + DialField.MARK, true) : -1;
  into.proxyProtocol = view.getUint8(at + DialField.PROXY_PROTOCOL);
  into.isIntoDevice = view.getUint8(at + DialField.INTO_DEVICE) !== 0;
  return (
    isFamilyOrNone(into.family) &&
    into.family !== 0 &&
    isFamilyOrNone(into.localFamily) &&
    into.port !== 0 &&
    into.proxyProtocol <= 2
  );
}

const isFamilyOrNone = (family: number): boolean => family === 0 || family === 4 || family === 6;
