/** One fragment of an IPv4 or IPv6 packet, and whether it can be one. */
import { DropReason } from '../drop-reason.ts';
import type { Ecn } from '../wire/ecn.ts';
import { Protocol } from '../wire/protocol.ts';
import { TCP_HEADER_BYTES } from '../wire/tcp.ts';

/** Offsets count in units of 8 bytes: RFC 791 §3.1, RFC 8200 §4.5. */
export const FRAGMENT_UNIT = 8;
const MAX_PACKET_BYTES = 0xffff;

/** The fragment under the reader's eye; one object is reused. */
export interface Fragment {
  family: 4 | 6;
  /** Position of the IP header, whose addresses are those of the packet. */
  headerAt: number;
  /** Bytes of the header that the whole packet has too, and that its length counts. */
  countedHeaderBytes: number;
  /** Of the payload; what lies before it is header. */
  payloadAt: number;
  payloadLength: number;
  /** Bytes of the packet's payload before this one. */
  offset: number;
  /** Another fragment follows. */
  hasMore: boolean;
  identification: number;
  /** IPv4: the protocol. IPv6: the next header that the fragment header names. */
  protocol: number;
  ecn: Ecn;
}

/**
 * The door check. Refused: an empty fragment; one that is not the last and ends between two units;
 * one that would end behind the longest packet ("ping of death"); and for TCP one that cuts its
 * header (RFC 1858 §3, RFC 3128 §2, RFC 7112 §5), which no honest sender does.
 */
export function checkFragment(fragment: Fragment): DropReason {
  const { offset, payloadLength, hasMore } = fragment;
  if (payloadLength === 0) return DropReason.BAD_FRAGMENT;
  if (hasMore && payloadLength % FRAGMENT_UNIT !== 0) return DropReason.BAD_FRAGMENT;
  if (fragment.countedHeaderBytes + offset + payloadLength > MAX_PACKET_BYTES) {
    return DropReason.BAD_FRAGMENT;
  }
  if (fragment.protocol !== Protocol.TCP) return DropReason.NONE;
  const cutsHeader = offset === 0 ? payloadLength < TCP_HEADER_BYTES : offset < TCP_HEADER_BYTES;
  return cutsHeader ? DropReason.BAD_FRAGMENT : DropReason.NONE;
}
