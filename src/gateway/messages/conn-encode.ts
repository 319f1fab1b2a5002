/** Writes the datagrams of conn.ts. */
import type { Endpoint } from '../../stack/verdict.ts';
import { writeAddress } from '../../stack/wire/ip-address.ts';
import {
  CLIENT_END,
  ClosedField,
  CONN_LENGTHS,
  CONN_PAYLOAD_AT,
  ConnKind,
  CreditField,
  DialedField,
  DialField,
  type DialResult,
  HeadField,
  OpenedField,
  PeekField,
  SpliceField,
} from './conn.ts';

/*
 * Each function below writes a message at `at` and returns its length in bytes.
 */

/** The data plane begins, or turns to this host. */
export function encodeStarted(view: DataView, at: number, epoch: number): number {
  writeHead(view, at, ConnKind.STARTED, 0, 0, 0, epoch, CLIENT_END);
  return CONN_LENGTHS[ConnKind.STARTED]!;
}

/** @param requestId  of the decision that claimed the flow */
export function encodeOpened(
  view: DataView,
  at: number,
  conn: number,
  epoch: number,
  requestId: number,
  flow: number,
  generation: number,
  script: number,
): number {
  writeHead(view, at, ConnKind.OPENED, 0, 0, conn, epoch, CLIENT_END);
  view.setUint32(at + OpenedField.REQUEST_ID, requestId, true);
  view.setUint32(at + OpenedField.GENERATION, generation, true);
  view.setFloat64(at + OpenedField.FLOW, flow, true);
  view.setUint32(at + OpenedField.SCRIPT, script, true);
  return CONN_LENGTHS[ConnKind.OPENED]!;
}

/** The `length` bytes were put at CONN_PAYLOAD_AT before. @param flags  bits of PeekedFlag */
export function encodePeeked(
  view: DataView,
  at: number,
  conn: number,
  epoch: number,
  end: number,
  peek: number,
  flags: number,
  length: number,
): number {
  writeHead(view, at, ConnKind.PEEKED, flags, peek, conn, epoch, end);
  return CONN_PAYLOAD_AT + length;
}

/** The `length` bytes, one at least, were put at CONN_PAYLOAD_AT before. */
export function encodeBytes(
  view: DataView,
  at: number,
  kind: typeof ConnKind.DATA | typeof ConnKind.WRITE,
  conn: number,
  epoch: number,
  end: number,
  length: number,
): number {
  writeHead(view, at, kind, 0, 0, conn, epoch, end);
  return CONN_PAYLOAD_AT + length;
}

/** What is said by its kind alone. @param reason  CloseReason of an ABORT; 0 for the usual one */
export function encodeSignal(
  view: DataView,
  at: number,
  kind: typeof ConnKind.FIN | typeof ConnKind.ABORT | typeof ConnKind.CLOSE,
  conn: number,
  epoch: number,
  end: number,
  reason = 0,
): number {
  writeHead(view, at, kind, reason, 0, conn, epoch, end);
  return CONN_LENGTHS[kind]!;
}

/** @param bytes  in addition to what is left of those before; a WANT of 0 takes that back */
export function encodeCredit(
  view: DataView,
  at: number,
  kind: typeof ConnKind.WANT | typeof ConnKind.ROOM,
  conn: number,
  epoch: number,
  end: number,
  bytes: number,
): number {
  writeHead(view, at, kind, 0, 0, conn, epoch, end);
  view.setUint32(at + CreditField.BYTES, bytes, true);
  return CONN_LENGTHS[kind]!;
}

/** Both ends of a socket that stands. */
export interface SocketEnds {
  readonly family: 4 | 6;
  /** 16 bytes each: what the far end sees as its client, and the far end. */
  readonly addresses: DataView;
  localPort: number;
  readonly remotePort: number;
}

/** @param ends  undefined unless the result is OK */
export function encodeDialed(
  view: DataView,
  at: number,
  conn: number,
  epoch: number,
  socket: number,
  result: DialResult,
  ends: SocketEnds | undefined,
): number {
  writeHead(view, at, ConnKind.DIALED, result, 0, conn, epoch, socket);
  for (let i = 0; i < 32; i += 4) {
    view.setInt32(at + DialedField.LOCAL + i, ends?.addresses.getInt32(i) ?? 0);
  }
  const family = ends?.family ?? 0;
  view.setUint8(at + DialedField.LOCAL_FAMILY, family);
  view.setUint8(at + DialedField.REMOTE_FAMILY, family);
  view.setUint16(at + DialedField.LOCAL_PORT, ends?.localPort ?? 0, true);
  view.setUint16(at + DialedField.REMOTE_PORT, ends?.remotePort ?? 0, true);
  view.setUint16(at + CONN_LENGTHS[ConnKind.DIALED]! - 2, 0, true);
  return CONN_LENGTHS[ConnKind.DIALED]!;
}

/**
 * @param reason     CloseReason
 * @param requestId  of a conn: also one that was never OPENED is known by it
 * @param bytesUp    of a conn, what the client sent in all; of a socket, what was written to it
 */
export function encodeClosed(
  view: DataView,
  at: number,
  conn: number,
  epoch: number,
  end: number,
  reason: number,
  requestId: number,
  bytesUp: number,
  bytesDown: number,
): number {
  writeHead(view, at, ConnKind.CLOSED, reason, 0, conn, epoch, end);
  view.setUint32(at + ClosedField.REQUEST_ID, requestId, true);
  view.setUint32(at + ClosedField.REQUEST_ID + 4, 0, true);
  view.setFloat64(at + ClosedField.BYTES_UP, bytesUp, true);
  view.setFloat64(at + ClosedField.BYTES_DOWN, bytesDown, true);
  return CONN_LENGTHS[ConnKind.CLOSED]!;
}

/**
 * @param peek       uint16 that comes back with the PEEKED
 * @param min        answers as soon as so many bytes, or the end's FIN, are there
 * @param max        bytes that the PEEKED may have, up to CONN_PAYLOAD_BYTES_MAX
 * @param timeoutMs  answers then with what there is; 0 is at once
 */
export function encodePeek(
  view: DataView,
  at: number,
  conn: number,
  epoch: number,
  end: number,
  peek: number,
  min: number,
  max: number,
  timeoutMs: number,
): number {
  writeHead(view, at, ConnKind.PEEK, 0, peek, conn, epoch, end);
  view.setUint32(at + PeekField.MIN, min, true);
  view.setUint32(at + PeekField.MAX, max, true);
  view.setUint32(at + PeekField.TIMEOUT_MS, timeoutMs, true);
  return CONN_LENGTHS[ConnKind.PEEK]!;
}

/** What a script says about a socket; addresses are text. */
export interface SocketDial {
  readonly to: Endpoint;
  /** By our TCP into the device, not by a socket of the host. */
  readonly isIntoDevice: boolean;
  /** Of the dial; 0 for the configured one. */
  readonly timeoutMs: number;
  /** Local address. Absent: the kernel's choice; into the device, the flow's own destination. */
  readonly bind?: string;
  /** SO_MARK, over `egress.fwmark`. Not of a dial into the device. */
  readonly mark?: number;
  /** Header about the client, in front of all else. */
  readonly proxyProtocol?: 1 | 2;
}

export function encodeDial(
  view: DataView,
  at: number,
  conn: number,
  epoch: number,
  socket: number,
  dial: SocketDial,
): number {
  const length = CONN_LENGTHS[ConnKind.DIAL]!;
  for (let i = CONN_PAYLOAD_AT; i < length; i++) view.setUint8(at + i, 0);
  writeHead(view, at, ConnKind.DIAL, 0, 0, conn, epoch, socket);
  const { to, bind, mark } = dial;
  view.setUint8(at + DialField.FAMILY, writeAddress(to.ip, view, at + DialField.TARGET));
  if (bind !== undefined) {
    view.setUint8(at + DialField.BIND_FAMILY, writeAddress(bind, view, at + DialField.BIND));
  }
  view.setUint16(at + DialField.PORT, to.port, true);
  view.setUint32(at + DialField.MARK, mark ?? 0, true);
  view.setUint32(at + DialField.TIMEOUT_MS, dial.timeoutMs, true);
  view.setUint8(at + DialField.HAS_MARK, mark === undefined ? 0 : 1);
  view.setUint8(at + DialField.PROXY_PROTOCOL, dial.proxyProtocol ?? 0);
  view.setUint8(at + DialField.INTO_DEVICE, dial.isIntoDevice ? 1 : 0);
  return length;
}

/** Milliseconds, 0 for those that the flow has; bytes of both directions, 0 for no limit. */
export function encodeSplice(
  view: DataView,
  at: number,
  conn: number,
  epoch: number,
  socket: number,
  idleTimeoutMs: number,
  halfCloseTimeoutMs: number,
  maxBytes: number,
): number {
  writeHead(view, at, ConnKind.SPLICE, 0, 0, conn, epoch, socket);
  view.setUint32(at + SpliceField.IDLE_TIMEOUT_MS, idleTimeoutMs, true);
  view.setUint32(at + SpliceField.HALF_CLOSE_TIMEOUT_MS, halfCloseTimeoutMs, true);
  view.setFloat64(at + SpliceField.MAX_BYTES, maxBytes, true);
  return CONN_LENGTHS[ConnKind.SPLICE]!;
}

function writeHead(
  view: DataView,
  at: number,
  kind: ConnKind,
  detail: number,
  peek: number,
  conn: number,
  epoch: number,
  end: number,
): void {
  view.setUint8(at + HeadField.KIND, kind);
  view.setUint8(at + HeadField.DETAIL, detail);
  view.setUint16(at + HeadField.PEEK, peek, true);
  view.setUint32(at + HeadField.CONN, conn, true);
  view.setUint32(at + HeadField.EPOCH, epoch, true);
  view.setUint32(at + HeadField.END, end, true);
}
