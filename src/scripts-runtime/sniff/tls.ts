/** TLS over TCP: the ClientHello, in one record or cut into several (RFC 8446 §5.1). */
import {
  CLIENT_HELLO,
  HANDSHAKE_HEADER_BYTES,
  handshakeLength,
  parseClientHello,
} from './client-hello.ts';
import { type Outcome, SNIFF_BYTES_MAX, TOO_LONG } from './sniffed.ts';

/** Offsets in a record, RFC 8446 §5.1. */
const RecordField = { TYPE: 0, MAJOR: 1, MINOR: 2, LENGTH: 3, FRAGMENT: 5 } as const;

/** ContentType. */
const HANDSHAKE = 22;
/** The first record of a client says 3.1 or 3.3; 3.0 and 3.4 are let pass. */
const MAJOR_VERSION = 3;
const MINOR_VERSION_MAX = 4;
const FRAGMENT_BYTES_MAX = 16_384;

const NO_TLS = -1;

/** Written and read within one call. */
const header = new Uint8Array(HANDSHAKE_HEADER_BYTES);

export function sniffTls(bytes: Uint8Array): Outcome {
  const there = readHandshake(bytes, header);
  if (there === NO_TLS) return 'no-match';
  if (there > 0 && header[0] !== CLIENT_HELLO) return 'no-match';
  if (there < HANDSHAKE_HEADER_BYTES) return 'need-more';
  const length = handshakeLength(header, 0);
  if (RecordField.FRAGMENT + length > SNIFF_BYTES_MAX) return TOO_LONG;
  if (RecordField.FRAGMENT + length > bytes.length) return 'need-more';
  if (fragmentLength(bytes, 0) >= length) {
    const at = RecordField.FRAGMENT;
    return outcomeOf(bytes, at, at + length);
  }
  const message = new Uint8Array(length);
  const got = readHandshake(bytes, message);
  if (got === NO_TLS) return 'no-match';
  return got < length ? 'need-more' : outcomeOf(message, 0, length);
}

function outcomeOf(bytes: Uint8Array, at: number, end: number): Outcome {
  const hello = parseClientHello(bytes, at, end);
  return hello === undefined ? 'no-match' : { proto: 'tls', ...hello };
}

const fragmentLength = (bytes: Uint8Array, at: number): number =>
  ((bytes[at + RecordField.LENGTH] ?? 0) << 8) | (bytes[at + RecordField.LENGTH + 1] ?? 0);

/**
 * Copies handshake bytes out of the records, until `into` is full: what follows them may be records
 * of another kind.
 *
 * @returns how many there were; NO_TLS for records that are none of a handshake
 */
function readHandshake(bytes: Uint8Array, into: Uint8Array): number {
  let filled = 0;
  for (let at = 0; at < bytes.length && filled < into.length; ) {
    // What has not arrived yet is as it should be.
    const major = bytes[at + RecordField.MAJOR] ?? MAJOR_VERSION;
    const minor = bytes[at + RecordField.MINOR] ?? 0;
    if (bytes[at + RecordField.TYPE] !== HANDSHAKE || major !== MAJOR_VERSION) return NO_TLS;
    if (minor > MINOR_VERSION_MAX) return NO_TLS;
    if (at + RecordField.FRAGMENT > bytes.length) return filled;
    const length = fragmentLength(bytes, at);
    if (length === 0 || length > FRAGMENT_BYTES_MAX) return NO_TLS;
    const from = at + RecordField.FRAGMENT;
    at = from + length;
    const end = Math.min(at, bytes.length, from + into.length - filled);
    for (let i = from; i < end; i++) into[filled++] = bytes[i] ?? 0;
  }
  return filled;
}
