/** SSH: the line that a client begins with, RFC 4253 §4.2. */
import type { Outcome } from './sniffed.ts';
import { latin1 } from './text.ts';

const PREFIX = new TextEncoder().encode('SSH-');
/** With its end. */
const LINE_BYTES_MAX = 255;
const [LF, CR, SPACE, DELETE] = [0x0a, 0x0d, 0x20, 0x7f];
/** 1.99 is a client that speaks 2.0 too. */
const VERSION_PATTERN = /^SSH-(?:2\.0|1\.\d{1,2})-[^ -]/;

export function sniffSsh(bytes: Uint8Array): Outcome {
  for (let i = 0; i < bytes.length && i < PREFIX.length; i++) {
    if (bytes[i] !== PREFIX[i]) return 'no-match';
  }
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    if (i >= LINE_BYTES_MAX) return 'no-match';
    if (byte === LF) return outcomeOf(bytes, bytes[i - 1] === CR ? i - 1 : i);
    const isLast = byte === CR && (bytes[i + 1] ?? LF) === LF;
    if (!isLast && (byte < SPACE || byte >= DELETE)) return 'no-match';
  }
  return bytes.length < LINE_BYTES_MAX ? 'need-more' : 'no-match';
}

function outcomeOf(bytes: Uint8Array, end: number): Outcome {
  const banner = latin1(bytes, 0, end);
  return VERSION_PATTERN.test(banner) ? { proto: 'ssh', banner } : 'no-match';
}
