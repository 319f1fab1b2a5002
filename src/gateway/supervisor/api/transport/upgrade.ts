/**
 * Requests that ask for a protocol which nobody speaks here, such as `Upgrade: h2c` of curl: they
 * are answered in the one that they came in, as if they had not asked, RFC 9110 §7.8.
 */
import type { IncomingMessage } from 'node:http';

/** Mean nothing without the upgrade that they belong to. */
const DROPPED = new Set(['upgrade', 'http2-settings']);

/** The head of the request as it came, without what asks. */
export function headWithoutUpgrade(message: IncomingMessage): Buffer {
  const { method, url, httpVersion, rawHeaders } = message;
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [name = '', value = ''] = rawHeaders.slice(i, i + 2);
    if (DROPPED.has(name.toLowerCase())) continue;
    if (name.toLowerCase() !== 'connection') lines.push(`${name}: ${value}`);
    else lines.push(`${name}: ${withoutUpgrade(value)}`);
  }
  // Bytes of a head are those of Latin-1, as the parser has them.
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

const withoutUpgrade = (value: string): string =>
  value
    .split(',')
    .filter((option) => !DROPPED.has(option.trim().toLowerCase()))
    .join(',');
