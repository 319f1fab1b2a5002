/**
 * Answers of DNS servers that a data plane carries to clients, copied to the script host, which
 * remembers for `flow.dnsName` what names addresses have. They go the way of requests
 * (decision.ts): what a client was told is known before a flow that begins with it is asked about.
 */
import { formatAddress } from '../../stack/wire/ip-address.ts';
import { DatagramKind } from './decision.ts';

/** Offsets in bytes. The kind and the epoch stand where requests have them. */
const SeenField = {
  KIND: 0,
  FAMILY: 1,
  EPOCH: 8,
  /** 16 bytes in network order, IPv4 in the first four. */
  CLIENT: 12,
  PAYLOAD: 28,
} as const;

const CLIENT_BYTES = 16;

/** What an Ethernet carries; servers keep below it (RFC 9715 §3). What is cut off is not seen. */
const SEEN_BYTES_MAX = 1500;

/**
 * Writes one answer.
 *
 * @param from  the buffer in which the client's address, 16 bytes, and the payload lie
 * @returns     length in bytes
 */
export function encodeSeenAnswer(
  view: DataView,
  epoch: number,
  family: number,
  from: DataView,
  clientAt: number,
  payloadAt: number,
  payloadLength: number,
): number {
  view.setUint8(SeenField.KIND, DatagramKind.DNS_ANSWER);
  view.setUint8(SeenField.FAMILY, family);
  view.setUint32(SeenField.EPOCH, epoch, true);
  for (let i = 0; i < CLIENT_BYTES; i += 4) {
    view.setInt32(SeenField.CLIENT + i, from.getInt32(clientAt + i));
  }
  const length = Math.min(payloadLength, SEEN_BYTES_MAX);
  for (let i = 0; i < length; i++) {
    view.setUint8(SeenField.PAYLOAD + i, from.getUint8(payloadAt + i));
  }
  return SeenField.PAYLOAD + length;
}

export interface SeenAnswer {
  /** Address of the client that has it. */
  readonly client: string;
  /** The message; valid as long as the buffer that it was read from. */
  readonly message: Uint8Array;
}

/** The answer in a datagram of `length` bytes; undefined when it is malformed. */
export function decodeSeenAnswer(
  view: DataView,
  at: number,
  length: number,
): SeenAnswer | undefined {
  const family = view.getUint8(at + SeenField.FAMILY);
  if (length < SeenField.PAYLOAD || (family !== 4 && family !== 6)) return undefined;
  const messageAt = view.byteOffset + at + SeenField.PAYLOAD;
  return {
    client: formatAddress(view, at + SeenField.CLIENT, family === 4 ? 4 : 16),
    message: new Uint8Array(view.buffer, messageAt, length - SeenField.PAYLOAD),
  };
}
