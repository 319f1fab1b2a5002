/**
 * The addresses in an answer of a DNS server, RFC 1035 §4, and the name that was asked for. The
 * message is whatever somebody sent from port 53: what is malformed ends the reading, what was read
 * before counts.
 */
import { ByteReader } from '../../scripts-runtime/sniff/byte-reader.ts';
import { hostName, lowerCase } from '../../scripts-runtime/sniff/text.ts';
import { formatAddress } from '../../stack/wire/ip-address.ts';

const HEADER_BYTES = 12;
const COUNTS_AT = 4;
const CLASS_IN = 1;
/** IANA, DNS resource record types. */
const RecordType = { A: 1, CNAME: 5, AAAA: 28 } as const;
const V4_BYTES = 4;
const V6_BYTES = 16;
/** A label is shorter; the two bits above are set in a pointer (RFC 1035 §4.1.4). */
const LABEL_BYTES_MAX = 63;
const POINTER_BITS = 0xc0;
/** Labels with their lengths and the root, RFC 1035 §2.3.4. */
const NAME_BYTES_MAX = 255;
/** Above it a time to live counts as none, RFC 2181 §8. */
const TTL_MAX_S = 0x7fff_ffff;

/** No name has so many addresses or aliases; what is behind them is not read. */
const RECORDS_MAX = 64;

export interface DnsAnswer {
  /** The name that was asked for, in lower case, without the dot at the end. */
  readonly name: string;
  readonly addresses: readonly DnsAddress[];
}

export interface DnsAddress {
  readonly ip: string;
  /** Seconds; of aliases on the way to it the least. */
  readonly ttlS: number;
}

interface Name {
  /** As on the wire, in lower case: dots inside of labels are none between them. */
  readonly key: string;
  /** Where the bytes behind it are. */
  readonly end: number;
}

interface DnsRecord {
  readonly owner: string;
  readonly ttlS: number;
  /** Of a CNAME. */
  readonly alias?: string;
  readonly ip?: string;
}

/** @returns undefined when no host name was asked for, or the answer has no address of it */
export function readDnsAnswer(message: Uint8Array): DnsAnswer | undefined {
  const reader = new ByteReader(message, COUNTS_AT, message.length);
  const questions = reader.u16();
  const answers = Math.min(reader.u16(), RECORDS_MAX);
  const asked = nameAt(message, HEADER_BYTES);
  if (questions !== 1 || asked === undefined) return undefined;
  const name = textOf(asked.key);
  reader.at = asked.end;
  reader.u16();
  const isInternet = reader.u16() === CLASS_IN;
  if (name === undefined || reader.isShort || !isInternet) return undefined;
  const addresses = addressesOf(asked.key, readRecords(message, reader, answers));
  return addresses.length === 0 ? undefined : { name, addresses };
}

function readRecords(message: Uint8Array, reader: ByteReader, count: number): DnsRecord[] {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const records: DnsRecord[] = [];
  for (let i = 0; i < count; i++) {
    const owner = nameAt(message, reader.at);
    if (owner === undefined) break;
    reader.at = owner.end;
    const type = reader.u16();
    const isInternet = reader.u16() === CLASS_IN;
    const ttl = reader.u32();
    const length = reader.u16();
    const at = reader.skip(length);
    if (reader.isShort) break;
    const head = { owner: owner.key, ttlS: ttl > TTL_MAX_S ? 0 : ttl };
    if (!isInternet) continue;
    if (type === RecordType.CNAME) {
      const alias = nameAt(message, at);
      if (alias?.end === at + length) records.push({ ...head, alias: alias.key });
    } else if (
      (type === RecordType.A && length === V4_BYTES) ||
      (type === RecordType.AAAA && length === V6_BYTES)
    ) {
      records.push({ ...head, ip: formatAddress(view, at, length) });
    }
  }
  return records;
}

/** Servers put aliases in their order, but need not: it is gone over them until none is new. */
function addressesOf(asked: string, records: readonly DnsRecord[]): DnsAddress[] {
  const known = new Map([[asked, TTL_MAX_S]]);
  let before = 0;
  while (known.size > before) {
    before = known.size;
    for (const { owner, ttlS, alias } of records) {
      const lives = known.get(owner);
      if (lives === undefined || alias === undefined || known.has(alias)) continue;
      known.set(alias, Math.min(lives, ttlS));
    }
  }
  return records.flatMap(({ owner, ttlS, ip }) => {
    const lives = known.get(owner);
    return lives === undefined || ip === undefined ? [] : [{ ip, ttlS: Math.min(lives, ttlS) }];
  });
}

/**
 * A pointer leads to what stands before it, and before where the last one led: so it ends.
 *
 * @returns undefined when it is malformed or cut off
 */
function nameAt(message: Uint8Array, from: number): Name | undefined {
  let key = '';
  let end = 0;
  let at = from;
  let limit = from;
  for (;;) {
    const length = message[at];
    if (length === undefined) return undefined;
    if ((length & POINTER_BITS) === POINTER_BITS) {
      const low = message[at + 1];
      if (low === undefined) return undefined;
      if (end === 0) end = at + 2;
      at = ((length & ~POINTER_BITS) << 8) | low;
      if (at >= limit || at < HEADER_BYTES) return undefined;
      limit = at;
      continue;
    }
    if (length > LABEL_BYTES_MAX || at + 1 + length > message.length) return undefined;
    if (length === 0) return { key, end: end === 0 ? at + 1 : end };
    if (key.length + 1 + length > NAME_BYTES_MAX - 1) return undefined;
    for (let i = at; i <= at + length; i++) key += characterAt(message, i, i > at);
    at += 1 + length;
  }
}

const characterAt = (message: Uint8Array, at: number, isFolded: boolean): string => {
  const byte = message[at] ?? 0;
  return String.fromCharCode(isFolded ? lowerCase(byte) : byte);
};

/** With dots. @returns undefined where a label has what no host name has, and for the root */
function textOf(key: string): string | undefined {
  const labels: string[] = [];
  for (let at = 0; at < key.length; at += 1 + key.charCodeAt(at)) {
    labels.push(key.slice(at + 1, at + 1 + key.charCodeAt(at)));
  }
  if (labels.length === 0 || labels.some((label) => label.includes('.'))) return undefined;
  const bytes = Uint8Array.from(labels.join('.'), (character) => character.charCodeAt(0));
  return hostName(bytes, 0, bytes.length);
}
