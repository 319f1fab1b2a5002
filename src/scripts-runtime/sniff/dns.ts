/** A question to a DNS server, RFC 1035 §4: by UDP, or behind a length by TCP (§4.2.2). */
import { ByteReader } from './byte-reader.ts';
import type { Outcome } from './sniffed.ts';
import { isVisible, lowerCase } from './text.ts';

const LENGTH_BYTES = 2;
const HEADER_BYTES = 12;
/** The root as name, a type, a class. */
const QUESTION_BYTES_MIN = 5;
const LABEL_BYTES_MAX = 63;
/** Labels with their lengths, RFC 1035 §2.3.4. */
const NAME_BYTES_MAX = 255;
const [DOT, BACKSLASH] = [0x2e, 0x5c];

/** Bits of a question's flags that are not 0: RD, AD and CD; RFC 1035 §4.1.1, RFC 4035 §3.2. */
const FLAGS_ALLOWED = 0x0130;

/** IANA, DNS resource record types; the others are `TYPE` and their number. */
const TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [1, 'A'],
  [2, 'NS'],
  [5, 'CNAME'],
  [6, 'SOA'],
  [12, 'PTR'],
  [13, 'HINFO'],
  [15, 'MX'],
  [16, 'TXT'],
  [28, 'AAAA'],
  [29, 'LOC'],
  [33, 'SRV'],
  [35, 'NAPTR'],
  [39, 'DNAME'],
  [43, 'DS'],
  [44, 'SSHFP'],
  [46, 'RRSIG'],
  [47, 'NSEC'],
  [48, 'DNSKEY'],
  [50, 'NSEC3'],
  [51, 'NSEC3PARAM'],
  [52, 'TLSA'],
  [59, 'CDS'],
  [60, 'CDNSKEY'],
  [61, 'OPENPGPKEY'],
  [62, 'CSYNC'],
  [63, 'ZONEMD'],
  [64, 'SVCB'],
  [65, 'HTTPS'],
  [251, 'IXFR'],
  [252, 'AXFR'],
  [255, 'ANY'],
  [256, 'URI'],
  [257, 'CAA'],
]);
/** Its question comes with an SOA in the authority section, RFC 1995 §3. */
const IXFR = 251;

/** The first message of a connection. */
export function sniffDnsStream(bytes: Uint8Array): Outcome {
  if (bytes.length < LENGTH_BYTES) return 'need-more';
  const length = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
  if (length < HEADER_BYTES + QUESTION_BYTES_MIN) return 'no-match';
  return readMessage(bytes, LENGTH_BYTES, LENGTH_BYTES + length);
}

/** A datagram, which is there whole or not at all. */
export function sniffDnsDatagram(bytes: Uint8Array): Outcome {
  const outcome = readMessage(bytes, 0, bytes.length);
  return outcome === 'need-more' ? 'no-match' : outcome;
}

/** Up to the end of the question: what is attached, such as EDNS, need not be there yet. */
function readMessage(bytes: Uint8Array, at: number, end: number): Outcome {
  // A message that is cut off here and not by its own end is one that has not arrived yet.
  const short = bytes.length < end ? 'need-more' : 'no-match';
  const reader = new ByteReader(bytes, at, end);
  reader.u16();
  const flags = reader.u16();
  if (!reader.isShort && (flags & ~FLAGS_ALLOWED) !== 0) return 'no-match';
  const questions = reader.u16();
  if (!reader.isShort && questions !== 1) return 'no-match';
  const answers = reader.u16();
  if (!reader.isShort && answers !== 0) return 'no-match';
  const authorities = reader.u16();
  if (!reader.isShort && authorities > 1) return 'no-match';
  reader.u16();
  if (reader.isShort) return short;
  const qname = readName(reader, bytes);
  if (qname === undefined) return 'no-match';
  const type = reader.u16();
  reader.u16();
  if (reader.isShort) return short;
  if (authorities === 1 && type !== IXFR) return 'no-match';
  return { proto: 'dns', qname, qtype: TYPE_NAMES.get(type) ?? `TYPE${type}` };
}

/**
 * Labels up to the root. There is nothing before it that it could point to.
 *
 * @returns undefined when it is malformed; when it is cut off the reader is short
 */
function readName(reader: ByteReader, bytes: Uint8Array): string | undefined {
  const from = reader.at;
  let name = '';
  for (;;) {
    const length = reader.u8();
    if (length > LABEL_BYTES_MAX) return undefined;
    const at = reader.skip(length);
    if (reader.isShort || length === 0) return name === '' ? '.' : name;
    if (reader.at - from > NAME_BYTES_MAX - 1) return undefined;
    if (name !== '') name += '.';
    for (let i = at; i < at + length; i++) name += escaped(bytes[i] ?? 0);
  }
}

/** RFC 1035 §5.1: `\.` for a dot inside a label, `\DDD` for what is not visible. */
function escaped(byte: number): string {
  if (!isVisible(byte)) return `\\${String(byte).padStart(3, '0')}`;
  const character = String.fromCharCode(lowerCase(byte));
  return byte === DOT || byte === BACKSLASH ? `\\${character}` : character;
}
