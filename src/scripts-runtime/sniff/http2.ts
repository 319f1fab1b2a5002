/**
 * HTTP/2 without TLS, "prior knowledge" (RFC 9113 §3.3): what gRPC speaks inside a cluster. Method,
 * host and path are in the first HEADERS frame. Some clients send it only after the server's
 * SETTINGS, which nobody sends while the gateway sniffs; what is known until then is `PRI *`, the
 * request that the preface looks like: see `sniffLast`.
 */
import { parseAuthority } from './authority.ts';
import { decodeHeaders } from './hpack.ts';
import type { Outcome, Sniffed } from './sniffed.ts';

/** RFC 9113 §3.4. */
const PREFACE = new TextEncoder().encode('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Offsets in a frame, RFC 9113 §4.1. The length has 24 bits. */
const FrameField = { LENGTH: 0, TYPE: 3, FLAGS: 4, STREAM: 5, PAYLOAD: 9 } as const;
const FrameType = { HEADERS: 1, SETTINGS: 4, PUSH_PROMISE: 5, CONTINUATION: 9 } as const;
const HeadersFlag = { END_HEADERS: 0x04, PADDED: 0x08, PRIORITY: 0x20 } as const;
const PRIORITY_BYTES = 5;
/** SETTINGS_MAX_FRAME_SIZE before any was agreed on, RFC 9113 §6.5.2. */
const FRAME_BYTES_MAX = 16_384;

/** The answer to a connection that has begun as HTTP/2 and asked for nothing yet. */
export const HTTP2_PREFACE: Sniffed = Object.freeze({ proto: 'http', method: 'PRI', path: '*' });

/** Whether all of the preface is there. */
export const hasHttp2Preface = (bytes: Uint8Array): boolean =>
  bytes.length >= PREFACE.length && PREFACE.every((byte, i) => bytes[i] === byte);

export function sniffHttp2(bytes: Uint8Array): Outcome {
  for (let i = 0; i < bytes.length && i < PREFACE.length; i++) {
    if (bytes[i] !== PREFACE[i]) return 'no-match';
  }
  let isFirst = true;
  for (let at = PREFACE.length; at + FrameField.PAYLOAD <= bytes.length; ) {
    const type = bytes[at + FrameField.TYPE];
    const length = frameLength(bytes, at);
    // The client's preface ends with its SETTINGS.
    if (isFirst && type !== FrameType.SETTINGS) return 'no-match';
    if (length > FRAME_BYTES_MAX || type === FrameType.PUSH_PROMISE) return 'no-match';
    if (type === FrameType.HEADERS) return readHeaders(bytes, at);
    isFirst = false;
    at += FrameField.PAYLOAD + length;
  }
  return 'need-more';
}

const frameLength = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);

/** A HEADERS frame and its continuations, RFC 9113 §6.2 and §6.10. */
function readHeaders(bytes: Uint8Array, from: number): Outcome {
  const flags = bytes[from + FrameField.FLAGS] ?? 0;
  let at = from + FrameField.PAYLOAD;
  let end = at + frameLength(bytes, from);
  if (end > bytes.length) return 'need-more';
  if ((flags & HeadersFlag.PADDED) !== 0) end -= bytes[at++] ?? 0;
  if ((flags & HeadersFlag.PRIORITY) !== 0) at += PRIORITY_BYTES;
  if (at > end) return 'no-match';
  if ((flags & HeadersFlag.END_HEADERS) !== 0) return outcomeOf(bytes.subarray(at, end));
  return readContinued(bytes, from, at, end);
}

function readContinued(bytes: Uint8Array, headersAt: number, at: number, end: number): Outcome {
  const block = new Uint8Array(bytes.length);
  block.set(bytes.subarray(at, end));
  let filled = end - at;
  let frameAt = headersAt + FrameField.PAYLOAD + frameLength(bytes, headersAt);
  for (;;) {
    const payloadAt = frameAt + FrameField.PAYLOAD;
    if (payloadAt > bytes.length) return 'need-more';
    if (bytes[frameAt + FrameField.TYPE] !== FrameType.CONTINUATION) return 'no-match';
    const frameEnd = payloadAt + frameLength(bytes, frameAt);
    if (frameEnd > bytes.length) return 'need-more';
    block.set(bytes.subarray(payloadAt, frameEnd), filled);
    filled += frameEnd - payloadAt;
    const flags = bytes[frameAt + FrameField.FLAGS] ?? 0;
    if ((flags & HeadersFlag.END_HEADERS) !== 0) return outcomeOf(block.subarray(0, filled));
    frameAt = frameEnd;
  }
}

/** RFC 9113 §8.3.1. CONNECT has no path, and an authority says more than a Host field. */
function outcomeOf(block: Uint8Array): Outcome {
  const headers = decodeHeaders(block);
  if (headers === undefined) return 'no-match';
  const { method, path = '', authority, host } = headers;
  if (method === undefined || (path === '') !== (method === 'CONNECT')) return 'no-match';
  const named = parseAuthority(authority ?? host ?? '');
  if (named === undefined) return 'no-match';
  if (authority !== undefined && host !== undefined) {
    if (parseAuthority(host)?.text !== named.text) return 'no-match';
  }
  const known = { proto: 'http', method, path } as const;
  return named.host === '' ? known : { ...known, host: named.host };
}
