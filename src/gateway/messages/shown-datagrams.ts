/**
 * What a script host is shown of a UDP flow that waits for its verdict: it asks once (SHOW), and
 * gets each datagram that waits, and those that come until it has answered (SHOWN). Both begin with
 * the fields of a cancellation (decision.ts); behind them lies the payload.
 */
import { DatagramKind, DECISION_CANCEL_BYTES, encodeDecisionCancel } from './decision.ts';

/** What an Ethernet carries. */
const SHOWN_BYTES_MAX = 1500;

/** Writes a wish to see datagrams; returns its length in bytes. */
export function encodeShow(view: DataView, at: number, requestId: number, epoch: number): number {
  const length = encodeDecisionCancel(view, at, requestId, epoch);
  view.setUint8(at, DatagramKind.SHOW);
  return length;
}

/**
 * Writes one datagram of a flow that waits, cut off where it is longer than what is shown.
 *
 * @param from  of the buffer in which the payload lies
 * @returns     length in bytes
 */
export function encodeShown(
  view: DataView,
  at: number,
  requestId: number,
  epoch: number,
  from: DataView,
  payloadAt: number,
  payloadLength: number,
): number {
  const to = at + encodeDecisionCancel(view, at, requestId, epoch);
  view.setUint8(at, DatagramKind.SHOWN);
  const length = Math.min(payloadLength, SHOWN_BYTES_MAX);
  for (let i = 0; i < length; i++) view.setUint8(to + i, from.getUint8(payloadAt + i));
  return to - at + length;
}

/** The payload of a SHOWN of `length` bytes, a copy. */
export const decodeShown = (view: DataView, at: number, length: number): Uint8Array =>
  new Uint8Array(
    view.buffer,
    view.byteOffset + at + DECISION_CANCEL_BYTES,
    length - DECISION_CANCEL_BYTES,
  ).slice();
