/** Durations, sizes, addresses, ports and marks as people write them, in configs and filters. */
import { formatAddress, isMapped, parseAddress } from '../../stack/wire/ip-address.ts';

const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};
/** Of the block of mapped addresses, ::ffff:0:0/96. */
const MAPPED_PREFIX_LENGTH = 96;
export const MARK_MAX = 0xffffffff;
export const PORT_MAX = 65535;

/** Inclusive. */
export type PortRange = readonly [from: number, to: number];

export interface Cidr {
  readonly ip: string;
  readonly prefixLength: number;
  readonly family: 4 | 6;
}

/** `10s`, `1m30s`, `250ms` in whole milliseconds; undefined when it is not a duration. */
export function parseDuration(text: string): number | undefined {
  const ms = parseSpan(text);
  return ms === undefined ? undefined : Math.round(ms);
}

/** As `parseDuration`, with the fraction that was written. */
export function parseSpan(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    ms += Number(count) * (DURATION_UNITS_MS[unit ?? ''] ?? 0);
  }
  return ms;
}

/** `256MiB`, `64KiB`, `4096B` in bytes; undefined when it is not a size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB)$/.exec(text);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * (SIZE_UNITS[match[2] ?? ''] ?? 0));
}

/**
 * `10.0.0.0/8`, or an address alone, which stands for itself; undefined when it is neither. A
 * network of mapped addresses is one of IPv4.
 */
export function parseCidr(text: string): Cidr | undefined {
  const [written = '', prefix, rest] = text.split('/');
  const address = parseIp(written);
  if (address === undefined || rest !== undefined) return undefined;
  const { ip, family, isMapped: wasMapped } = address;
  const widest = family === 4 ? 32 : 128;
  if (prefix === undefined) return { ip, prefixLength: widest, family };
  if (!/^\d{1,3}$/.test(prefix)) return undefined;
  const prefixLength = Number(prefix) - (wasMapped ? MAPPED_PREFIX_LENGTH : 0);
  return prefixLength >= 0 && prefixLength <= widest ? { ip, prefixLength, family } : undefined;
}

interface Address {
  /** As the stack prints it. */
  readonly ip: string;
  readonly family: 4 | 6;
  readonly isMapped: boolean;
}

/**
 * An address in the one spelling that the rest of the gateway compares; undefined when it is none.
 * `::ffff:1.2.3.4` stands for 1.2.3.4 (RFC 4291 §2.5.5.2), and no packet carries it: it would be an
 * address that nothing matches, or a way around the checks of the address that it means.
 */
export function parseIp(text: string): Address | undefined {
  const bytes = parseAddress(text);
  if (bytes === undefined) return undefined;
  const view = new DataView(bytes.buffer);
  if (bytes.length === 4) return { ip: formatAddress(view, 0, 4), family: 4, isMapped: false };
  if (isMapped(view, 0, 16)) return { ip: formatAddress(view, 12, 4), family: 4, isMapped: true };
  return { ip: formatAddress(view, 0, 16), family: 6, isMapped: false };
}

/** `80`, `8000-8100`, `80,443,8000-8100`; undefined when a part is no port or range. */
export function parsePorts(text: string): PortRange[] | undefined {
  const ranges: PortRange[] = [];
  for (const part of text.split(',')) {
    const match = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part);
    if (match === null) return undefined;
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    if (from < 1 || to > PORT_MAX || from > to) return undefined;
    ranges.push([from, to]);
  }
  return ranges;
}

/** `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]:80`; undefined when it is none of them. */
export function parseTarget(text: string): { ip: string; port?: number } | undefined {
  const alone = parseIp(text);
  if (alone !== undefined) return { ip: alone.ip };
  const match = /^\[(?<v6>[0-9a-fA-F:.]+)\]:(?<p6>\d{1,5})$|^(?<v4>[0-9.]+):(?<p4>\d{1,5})$/.exec(
    text,
  );
  const written = match?.groups?.['v6'] ?? match?.groups?.['v4'] ?? '';
  const port = Number(match?.groups?.['p6'] ?? match?.groups?.['p4']);
  const address = parseIp(written);
  // Brackets are for what is written with colons.
  const isBracketed = match?.groups?.['v6'] !== undefined;
  if (address === undefined || written.includes(':') !== isBracketed) return undefined;
  return port >= 1 && port <= PORT_MAX ? { ip: address.ip, port } : undefined;
}

/** A firewall mark, decimal or `0x…`; undefined when it does not fit 32 bits. */
export function parseMark(text: string): number | undefined {
  if (!/^(0x[0-9a-fA-F]{1,8}|\d{1,10})$/.test(text)) return undefined;
  const mark = Number(text);
  return mark <= MARK_MAX ? mark : undefined;
}

/** As `parseDuration` reads it, in the largest unit that divides it. */
export const formatMs = (ms: number): string => {
  const [unit, scale] = Object.entries(DURATION_UNITS_MS).findLast(([, of]) => ms % of === 0) ?? [];
  return ms === 0 ? '0s' : `${ms / (scale ?? 1)}${unit}`;
};

/** Of an address as text. */
export const familyOf = (ip: string): 4 | 6 => (ip.includes(':') ? 6 : 4);
