/**
 * The Internet checksum, RFC 1071: the 16-bit one's complement sum of big-endian words.
 *
 * A running sum is a plain number below 2^53 that nothing has folded yet. It may be taken in
 * 32-bit words, because 2^16 is 1 in one's complement arithmetic: both halves of a word land on
 * the same 16 bits when the sum is folded. Sums of parts add up as long as every part but the last
 * has an even length.
 */

const WORD = 0x1_0000_0000;

/**
 * Running sum of `length` bytes, an odd last byte padded with zero.
 *
 * Four sums side by side, because one sum waits for itself: 5.5 GB/s against 3.9 GB/s.
 *
 * @param length  up to 8 MiB, where the sum still is exact
 */
export function sum(view: DataView, at: number, length: number, initial = 0): number {
  const end = at + length;
  let position = at;
  let first = initial;
  let second = 0;
  let third = 0;
  let fourth = 0;
  for (; position + 16 <= end; position += 16) {
    first += view.getUint32(position);
    second += view.getUint32(position + 4);
    third += view.getUint32(position + 8);
    fourth += view.getUint32(position + 12);
  }
  for (; position + 2 <= end; position += 2) second += view.getUint16(position);
  if (position < end) third += view.getUint8(position) << 8;
  return first + second + third + fourth;
}

/** The running sum in 16 bits, not inverted; 0 only when every summed byte is zero. */
export function fold(runningSum: number): number {
  let folded = runningSum;
  while (folded >= WORD) folded = Math.floor(folded / WORD) + (folded % WORD);
  folded = (folded >>> 16) + (folded & 0xffff);
  return (folded >>> 16) + (folded & 0xffff);
}

/**
 * What belongs into a checksum field that was zero, or is no part of the range. Over a range that
 * holds a right checksum it is 0.
 */
export function checksum(view: DataView, at: number, length: number, initial = 0): number {
  return ~fold(sum(view, at, length, initial)) & 0xffff;
}

/**
 * Running sum of the pseudo header of TCP, UDP and ICMPv6: RFC 9293 §3.1, RFC 8200 §8.1. The two
 * forms give the same sum, because the fields that differ in width hold the same values.
 *
 * @param length  of the transport header and payload
 */
export function pseudoHeaderSum(
  view: DataView,
  sourceAt: number,
  destinationAt: number,
  addressLength: number,
  protocol: number,
  length: number,
): number {
  const source = sum(view, sourceAt, addressLength, protocol + length);
  return sum(view, destinationAt, addressLength, source);
}

/**
 * The checksum after one 16-bit word that it covers changed: RFC 1624 equation 3, which unlike
 * that of RFC 1071 never turns a right checksum into its other zero.
 */
export function adjust(oldChecksum: number, oldWord: number, newWord: number): number {
  return adjustBy(oldChecksum, (~oldWord & 0xffff) + newWord);
}

/** The same for many words. @param change  sum of ~old and new words, each of 16 bits */
export const adjustBy = (oldChecksum: number, change: number): number =>
  ~fold((~oldChecksum & 0xffff) + change) & 0xffff;

/**
 * What a sum gains when the bytes at `at` give way to those at `byAt`: ~m + m' of RFC 1624.
 *
 * @param length  a multiple of 4; an address or two
 */
export function changeOf(view: DataView, at: number, byAt: number, length: number): number {
  let change = 0;
  for (let i = 0; i < length; i += 4) {
    const oldWord = ~view.getInt32(at + i);
    const newWord = view.getInt32(byAt + i);
    change += (oldWord >>> 16) + (oldWord & 0xffff) + (newWord >>> 16) + (newWord & 0xffff);
  }
  return change;
}
