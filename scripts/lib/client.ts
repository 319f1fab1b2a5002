import type { Endpoint } from 'culvert';

/**
 * Who counts as one client: an IPv4 address, or the /64 of an IPv6 address, since the rest of it is
 * the client's own to choose, and changes.
 */
export function clientOf({ ip, family }: Pick<Endpoint, 'ip' | 'family'>): string {
  if (family === 4) return ip;
  const [head = [], tail = []] = ip.split('::').map((part) => part.split(':').filter(Boolean));
  const zeros = new Array<string>(8 - head.length - tail.length).fill('0');
  return `${[...head, ...zeros, ...tail].slice(0, 4).join(':')}::/64`;
}

/** From 0 to 99, always the same for the same text: FNV-1a, 32 bits. */
export function shareOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const letter of text) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x01000193);
  // The low bits of near texts are near: mixed once more.
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 12)) >>> 0) % 100;
}
