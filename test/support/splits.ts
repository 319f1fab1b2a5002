/** Bytes as they may arrive: how a sniffer is fed in tests. */
import { sniff } from '../../src/scripts-runtime/sniff/sniff.ts';
import type { Sniffed, SniffProtocol } from '../../src/scripts-runtime/sniff/sniffed.ts';

export const ascii = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

export const joined = (pieces: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(Buffer.concat(pieces));

/**
 * Sniffs every prefix, as though the client sent byte by byte.
 *
 * @returns the first answer, and the length of the prefix that gave it
 */
export function sniffByteByByte(
  bytes: Uint8Array,
  protocols?: readonly SniffProtocol[],
): { sniffed: Sniffed | 'need-more'; length: number } {
  for (let length = 0; length <= bytes.length; length++) {
    const sniffed = sniff(bytes.slice(0, length), protocols);
    if (sniffed !== 'need-more') return { sniffed, length };
  }
  return { sniffed: 'need-more', length: bytes.length };
}
