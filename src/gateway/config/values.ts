/** Schemas of the values that a config writes as text. */
import { z } from 'zod';
import {
  formatMs,
  MARK_MAX,
  PORT_MAX,
  type PortRange,
  parseCidr,
  parseDuration,
  parseIp,
  parseMark,
  parsePorts,
  parseSize,
  parseTarget,
} from './value-texts.ts';

/** A row of a flow counts milliseconds in 32 bits: 1193 hours. */
export const IDLE_MS_MAX = 1000 * 3_600_000;

export const objectName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected letters, digits, ".", "_" or "-"');

/** A schema of text that `parse` turns into a value; `wanted` says what was expected. */
export function textOf<T>(parse: (text: string) => T | undefined, wanted: string) {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value === undefined) {
      context.addIssue({ code: 'custom', message: `expected ${wanted}, got "${text}"` });
      return z.NEVER;
    }
    return value;
  });
}

/** @param minMs, maxMs  bounds, both included */
export const duration = (minMs: number, maxMs: number) =>
  textOf(parseDuration, 'a duration such as "250ms", "10s" or "1m30s"').refine(
    (ms) => ms >= minMs && ms <= maxMs,
    { message: `must be between ${formatMs(minMs)} and ${formatMs(maxMs)}` },
  );

export const cidr = textOf(parseCidr, 'an address with a prefix length such as "10.0.0.0/8"');
export const target = textOf(parseTarget, 'an "ip" or "ip:port"');

export const size = z.union([
  z.int().nonnegative(),
  textOf(parseSize, 'a size such as "64KiB" or "256MiB"'),
]);

/** @param least, most  bounds, both included, as a config writes them */
export const sizeBetween = (least: string, most: string) =>
  size.refine((bytes) => bytes >= (parseSize(least) ?? 0) && bytes <= (parseSize(most) ?? 0), {
    message: `must be between ${least} and ${most}`,
  });

export const mark = z.union([
  z.int().nonnegative().max(MARK_MAX),
  textOf(parseMark, 'a mark such as 555 or "0x22b"'),
]);
const port = z.int().min(1).max(PORT_MAX);
const portText = textOf(parsePorts, 'ports such as "80,443,8000-8100"');

/** A port, a text of ports, or a list of both, as inclusive ranges. */
export const ports = z
  .union([port, portText, z.array(z.union([port, portText]))])
  .transform((value): PortRange[] => {
    if (typeof value === 'number') return [[value, value]];
    return value.flatMap((item) =>
      typeof item === 'number' ? [[item, item] as const] : isRange(item) ? [item] : item,
    );
  });

/** One range as text. */
export const portRange = textOf((text) => {
  const [range, ...more] = parsePorts(text) ?? [];
  return more.length === 0 ? range : undefined;
}, 'a range of ports such as "1024-65535"');

const isRange = (item: PortRange | PortRange[]): item is PortRange => typeof item[0] === 'number';

export const ipAddress = textOf((text) => parseIp(text)?.ip, 'an IP address');
