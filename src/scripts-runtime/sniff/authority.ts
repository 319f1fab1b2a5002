/** The name and port in a Host field, a target or `:authority`: RFC 9110 §7.2, RFC 3986 §3.2. */
import { isIPv6 } from 'node:net';
import { hostName } from './text.ts';

export interface Authority {
  /** In lower case, without port and without the dot at the end; empty when there is none. */
  readonly host: string;
  /** With the port, to be compared. */
  readonly text: string;
}

const NOBODY: Authority = { host: '', text: '' };
const PATTERN = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([^:[\]@]+))(?::(\d{0,5}))?$/;
const PORT_MAX = 65_535;

const utf8 = new TextEncoder();

/** @returns undefined when it is malformed, and names nobody when `text` is empty */
export function parseAuthority(text: string): Authority | undefined {
  if (text === '') return NOBODY;
  const parts = PATTERN.exec(text);
  if (parts === null) return undefined;
  const [, address, name, port = ''] = parts;
  if (Number(port) > PORT_MAX) return undefined;
  const host = address === undefined ? nameOf(name ?? '') : addressOf(address);
  return host === undefined ? undefined : { host, text: `${host}:${port}` };
}

function nameOf(name: string): string | undefined {
  const bytes = utf8.encode(name);
  return hostName(bytes, 0, bytes.length);
}

const addressOf = (address: string): string | undefined =>
  isIPv6(address) ? `[${address.toLowerCase()}]` : undefined;
