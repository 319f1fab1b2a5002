/** Addresses as four words of 32 bits, read from text without making anything. */

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;
const GROUPS = 8;
/** Words of `::ffff:a.b.c.d`, RFC 4291 §2.5.5.2. */
const MAPPED = 0xffff;

/** Of `readIpv6`; nobody else runs before it is copied out. */
const groups = new Uint16Array(GROUPS);

/**
 * Reads the address that lies in `text` from `at` to `end`. One of IPv4 is the last word; a mapped
 * one counts as one of IPv4.
 *
 * @param into  four words, the first one the highest
 * @returns     the family, 0 when it is no address
 */
export function readAddress(text: string, at: number, end: number, into: Uint32Array): 4 | 6 | 0 {
  for (let i = at; i < end; i++) {
    if (text.charCodeAt(i) !== COLON) continue;
    if (!readIpv6(text, at, end)) return 0;
    for (let word = 0; word < 4; word++) {
      into[word] = ((groups[word * 2] ?? 0) << 16) | (groups[word * 2 + 1] ?? 0);
    }
    return into[0] === 0 && into[1] === 0 && into[2] === MAPPED ? 4 : 6;
  }
  const value = readIpv4(text, at, end);
  if (value < 0) return 0;
  into[3] = value;
  return 4;
}

/** A dotted quad without leading zeros; -1 when it is none. */
function readIpv4(text: string, at: number, end: number): number {
  let value = 0;
  let octet = -1;
  let octets = 0;
  for (let i = at; i <= end; i++) {
    const code = i === end ? DOT : text.charCodeAt(i);
    if (code === DOT) {
      if (octet < 0 || octet > 255) return -1;
      value = value * 256 + octet;
      octet = -1;
      octets++;
    } else {
      const digit = code - ZERO;
      // inet_aton would read a leading zero as octal.
      if (digit < 0 || digit > 9 || octet === 0 || octet > 255) return -1;
      octet = (octet < 0 ? 0 : octet * 10) + digit;
    }
  }
  return octets === 4 ? value : -1;
}

/** RFC 4291 §2.2, into `groups`. */
function readIpv6(text: string, at: number, end: number): boolean {
  groups.fill(0);
  let count = 0;
  /** Groups in front of `::`, or -1. */
  let gap = -1;
  let i = at;
  if (text.charCodeAt(i) === COLON) {
    if (text.charCodeAt(i + 1) !== COLON || i + 1 >= end) return false;
    gap = 0;
    i += 2;
  }
  while (i < end) {
    if (count === GROUPS) return false;
    const next = groupEnd(text, i, end);
    if (next < end && text.charCodeAt(next) === DOT) {
      const tail = count <= GROUPS - 2 ? readIpv4(text, i, end) : -1;
      if (tail < 0) return false;
      groups[count++] = Math.floor(tail / 0x10000);
      groups[count++] = tail & 0xffff;
      break;
    }
    const value = readGroup(text, i, next);
    if (value < 0) return false;
    groups[count++] = value;
    i = next;
    if (i === end) break;
    if (text.charCodeAt(i) !== COLON || ++i === end) return false;
    if (text.charCodeAt(i) === COLON) {
      if (gap >= 0) return false;
      gap = count;
      i++;
    }
  }
  if (gap < 0) return count === GROUPS;
  if (count === GROUPS) return false;
  groups.copyWithin(GROUPS - (count - gap), gap, count);
  groups.fill(0, gap, GROUPS - (count - gap));
  return true;
}

function groupEnd(text: string, at: number, end: number): number {
  let i = at;
  while (i < end && hexDigit(text.charCodeAt(i)) >= 0) i++;
  return i;
}

function readGroup(text: string, at: number, end: number): number {
  if (end === at || end - at > 4) return -1;
  let value = 0;
  for (let i = at; i < end; i++) value = value * 16 + hexDigit(text.charCodeAt(i));
  return value;
}

function hexDigit(code: number): number {
  if (code >= ZERO && code <= ZERO + 9) return code - ZERO;
  // A letter in either case.
  const letter = (code | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}
