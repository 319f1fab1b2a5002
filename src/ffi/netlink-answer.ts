/** How answers of rtnetlink end, and what an answer to RTM_GETROUTE means for a dial. */
import { Errno } from './errno.ts';
import { textOf } from './libc.ts';
import {
  align4,
  attributeLength,
  ErrorAttribute,
  findAttribute,
  MessageFlag,
  RouteAttribute,
} from './netlink-message.ts';
import { HOST_ORDER, NlMsgErr, NlMsgHdr, RtAttr, RtMsg } from './structs.ts';

const RTN_BLACKHOLE = 6;
const RTN_UNREACHABLE = 7;
const RTN_PROHIBIT = 8;

/** How an answer ended; `text` is empty when the kernel said no more than the number. */
export interface AnswerEnd {
  readonly errno: number;
  readonly text: string;
}

/** An acknowledgment (errno 0) or an error in [at, end), with the kernel's own words if any. */
export function readEnd(bytes: Uint8Array, at: number, end: number): AnswerEnd {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const body = at + NlMsgHdr.BYTES;
  if (body + NlMsgErr.BYTES > end) return { errno: Errno.EBADMSG, text: '' };
  const errno = -view.getInt32(body + NlMsgErr.ERROR, HOST_ORDER);
  const flags = view.getUint16(at + NlMsgHdr.FLAGS, HOST_ORDER);
  if (errno === 0 || (flags & MessageFlag.ACK_TLVS) === 0) return { errno, text: '' };
  const requestLength = view.getUint32(body + NlMsgErr.REQUEST + NlMsgHdr.LENGTH, HOST_ORDER);
  const repeated = (flags & MessageFlag.CAPPED) !== 0 ? NlMsgHdr.BYTES : align4(requestLength);
  const attributes = body + NlMsgErr.REQUEST + repeated;
  const found = findAttribute(view, attributes, end, ErrorAttribute.MSG);
  if (found < 0) return { errno, text: '' };
  const from = found + RtAttr.BYTES;
  return { errno, text: textOf(bytes.subarray(from, from + attributeLength(view, found))) };
}

/** Reads one RTM_NEWROUTE. A route that forbids is given as what `connect` makes of it. */
export function readRoute(view: DataView, size: number): number {
  switch (view.getUint8(NlMsgHdr.BYTES + RtMsg.TYPE)) {
    case RTN_BLACKHOLE:
      return -Errno.EINVAL;
    case RTN_UNREACHABLE:
      return -Errno.EHOSTUNREACH;
    case RTN_PROHIBIT:
      return -Errno.EACCES;
  }
  const attributes = NlMsgHdr.BYTES + RtMsg.BYTES;
  const at = findAttribute(view, attributes, size, RouteAttribute.OIF);
  return at < 0 ? -Errno.ENETUNREACH : view.getInt32(at + RtAttr.BYTES, HOST_ORDER);
}
