/**
 * IPv4 and IPv6 addresses: as bytes on the path of a packet, as text for people. An address is a
 * position and a length, 4 or 16 bytes, in network order.
 */
import { wordsEqual } from './bytes.ts';

const IPV4_BYTES = 4;
const IPV6_BYTES = 16;
const GROUPS = 8;

/** Text of the address at `at`: dotted quad, or RFC 5952. Allocates. */
export function formatAddress(view: DataView, at: number, length: number): string {
  return length === IPV4_BYTES ? formatIpv4(view, at) : formatIpv6(view, at);
}

/**
 * Bytes of an address, 4 or 16 of them; undefined when the text is none. Strict: no leading zero
 * in a dotted quad (inet_aton would read it as octal), no zone, no brackets, no prefix.
 */
export function parseAddress(text: string): Uint8Array<ArrayBuffer> | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** Writes the address that `text` is, and returns its family; 0 when it is none. */
export function writeAddress(text: string, view: DataView, at: number): 4 | 6 | 0 {
  const bytes = parseAddress(text);
  if (bytes === undefined) return 0;
  for (let i = 0; i < bytes.length; i++) view.setUint8(at + i, bytes[i]!);
  return bytes.length === IPV4_BYTES ? 4 : 6;
}

/** An address block: an address of which the first `prefixLength` bits count. */
export interface Cidr {
  /** 4 or 16 bytes. Bits after the prefix are kept as they were written. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly prefixLength: number;
}

/** `10.0.0.0/8`, `fd00::1/64`, or a single address; undefined when the text is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const bits = bytes.length * 8;
  if (slash < 0) return { bytes, prefixLength: bits };
  const digits = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const prefixLength = Number(digits);
  return prefixLength <= bits ? { bytes, prefixLength } : undefined;
}

export const addressEquals = (view: DataView, aAt: number, bAt: number, length: number): boolean =>
  wordsEqual(view, aAt, bAt, length);

/**
 * Whether the address at `at` begins with the first `prefixLength` bits of `prefixBytes`. The
 * caller compares only addresses of one family.
 */
export function matchesPrefix(
  view: DataView,
  at: number,
  prefixBytes: Uint8Array,
  prefixLength: number,
): boolean {
  const wholeBytes = prefixLength >>> 3;
  for (let i = 0; i < wholeBytes; i++) {
    if (view.getUint8(at + i) !== prefixBytes[i]) return false;
  }
  const rest = prefixLength & 7;
  if (rest === 0) return true;
  const difference = view.getUint8(at + wholeBytes) ^ (prefixBytes[wholeBytes] ?? 0);
  return difference >>> (8 - rest) === 0;
}

/** 0.0.0.0 or `::`. */
export function isUnspecified(view: DataView, at: number, length: number): boolean {
  for (let i = 0; i < length; i += 4) if (view.getInt32(at + i) !== 0) return false;
  return true;
}

/** 224.0.0.0/4 or ff00::/8. */
export function isMulticast(view: DataView, at: number, length: number): boolean {
  const first = view.getUint8(at);
  return length === IPV4_BYTES ? first >>> 4 === 0xe : first === 0xff;
}

/** 255.255.255.255, the limited broadcast. IPv6 has none. */
export function isBroadcast(view: DataView, at: number, length: number): boolean {
  return length === IPV4_BYTES && view.getInt32(at) === -1;
}

/** 127.0.0.0/8 or ::1. */
export function isLoopback(view: DataView, at: number, length: number): boolean {
  if (length === IPV4_BYTES) return view.getUint8(at) === 127;
  return isUnspecified(view, at, 12) && view.getInt32(at + 12) === 1;
}

/** 169.254.0.0/16 or fe80::/10. */
export function isLinkLocal(view: DataView, at: number, length: number): boolean {
  const first = view.getUint16(at);
  return length === IPV4_BYTES ? first === 0xa9fe : (first & 0xffc0) === 0xfe80;
}

/** ::ffff:0:0/96, an IPv4 address inside an IPv6 socket: never legal on a wire. */
export function isMapped(view: DataView, at: number, length: number): boolean {
  return length === IPV6_BYTES && isUnspecified(view, at, 8) && view.getInt32(at + 8) === 0xffff;
}

function formatIpv4(view: DataView, at: number): string {
  const byte = (index: number) => view.getUint8(at + index);
  return `${byte(0)}.${byte(1)}.${byte(2)}.${byte(3)}`;
}

/** RFC 5952 §4: lower case, no leading zeros, `::` for the first longest run of two or more. */
function formatIpv6(view: DataView, at: number): string {
  if (isMapped(view, at, IPV6_BYTES)) return `::ffff:${formatIpv4(view, at + 12)}`;
  let runStart = -1;
  let runLength = 1;
  for (let start = 0; start < GROUPS; start++) {
    let end = start;
    while (end < GROUPS && view.getUint16(at + 2 * end) === 0) end++;
    if (end - start > runLength) {
      runStart = start;
      runLength = end - start;
    }
  }
  const groups = (from: number, to: number): string => {
    const words: string[] = [];
    for (let group = from; group < to; group++) {
      words.push(view.getUint16(at + 2 * group).toString(16));
    }
    return words.join(':');
  };
  if (runStart < 0) return groups(0, GROUPS);
  return `${groups(0, runStart)}::${groups(runStart + runLength, GROUPS)}`;
}

function parseIpv4(text: string): Uint8Array<ArrayBuffer> | undefined {
  const parts = text.split('.');
  if (parts.length !== IPV4_BYTES) return undefined;
  const bytes = new Uint8Array(IPV4_BYTES);
  for (const [index, part] of parts.entries()) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    bytes[index] = Number(part);
  }
  return bytes;
}

/** RFC 4291 §2.2, all three forms. */
function parseIpv6(text: string): Uint8Array<ArrayBuffer> | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const compressed = halves.length === 2;
  const head = parseGroups(halves[0] ?? '', !compressed);
  const tail = parseGroups(halves[1] ?? '', true);
  if (head === undefined || tail === undefined) return undefined;
  const given = head.length + tail.length;
  if (compressed ? given >= IPV6_BYTES : given !== IPV6_BYTES) return undefined;
  const bytes = new Uint8Array(IPV6_BYTES);
  bytes.set(head, 0);
  bytes.set(tail, IPV6_BYTES - tail.length);
  return bytes;
}

/** Bytes of `a:b:c`, where the last group may be a dotted quad if the text ends the address. */
function parseGroups(text: string, endsAddress: boolean): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [index, group] of groups.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >>> 8, value & 0xff);
      continue;
    }
    const quad = endsAddress && index === groups.length - 1 ? parseIpv4(group) : undefined;
    if (quad === undefined) return undefined;
    bytes.push(...quad);
  }
  return bytes;
}
