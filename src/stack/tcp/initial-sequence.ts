import type { HalfSipHash } from '../sip-hash.ts';
import type { Instant } from '../time.ts';
import { asSeq, type Seq } from '../wire/seq.ts';
import { hashTuple } from './syn-packet.ts';

/**
 * ISS of a connection, RFC 6528 §3: a clock of 4 µs, and a hash of the tuple that only we can
 * compute. The tuple is that of the flow table, whoever opens, so that the numbers of one pair of
 * ends go on where they were.
 *
 * @param ports  of the source in the upper half
 */
export function initialSequence(
  hash: HalfSipHash,
  view: DataView,
  sourceAt: number,
  destinationAt: number,
  addressLength: number,
  ports: number,
  now: Instant,
): Seq {
  hash.start();
  hashTuple(hash, view, sourceAt, destinationAt, addressLength, ports);
  return asSeq(hash.finish() + Math.floor(now / 4));
}
