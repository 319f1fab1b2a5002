/**
 * Reads what a script answered. Inside the sandbox a verdict can only be made by our functions,
 * but what crosses the border is text, and text is believed only after this.
 */
import { isIPv4, isIPv6 } from 'node:net';
import {
  CONGESTION_NAMES,
  type Endpoint,
  type ForwardVerdict,
  type NatVerdict,
  REJECT_WITHS,
  type RejectWith,
  type Verdict,
} from '../../stack/verdict.ts';
import { cutText } from '../cut-text.ts';
import { ADDRESS_LENGTH, VERDICT_TEXT_BYTES } from '../limits.ts';

/** An upstream by name; somebody else has to resolve it. */
export interface NamedTarget {
  readonly name: string;
  readonly port: number;
}

/** A verdict as a script gives it: the upstream may be a name, or an address with port 0. */
export type ScriptVerdict = Exclude<Verdict, ForwardVerdict | NatVerdict> | TargetedVerdict;

/** One with an upstream. Port 0 stands for the port that the client asked for. */
export type TargetedVerdict =
  | (Omit<ForwardVerdict, 'to'> & { readonly to?: Endpoint | NamedTarget })
  | (Omit<NatVerdict, 'to'> & { readonly to?: Endpoint | NamedTarget });

const PORT_MAX = 65_535;
const UINT32_MAX = 0xffff_ffff;
/** RFC 1035 §2.3.4, in text. */
const NAME_LENGTH_MAX = 253;

/** Makes the text of a refusal an exception inside this file only. */
class Refusal extends Error {}

/**
 * @param services  names that are of the gateway, where `redirect` may name listeners besides
 * @returns         the verdict, or in words why it is none
 */
export function parseVerdict(value: unknown, services: readonly string[]): ScriptVerdict | string {
  try {
    return parse(asRecord(value), services);
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
}

/** Whether the upstream still has to be resolved. */
export const isNamed = (to: Endpoint | NamedTarget): to is NamedTarget => 'name' in to;

/**
 * `10.0.0.1:80`, `[fd00::1]:80` or `example.com:80`; an address may stand alone, and has port 0
 * then. Undefined when the text is none of them.
 */
export function parseTarget(text: string): Endpoint | NamedTarget | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:\s[\]]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const [, bracketed, bare = '', digits] = match;
  const port = Number(digits ?? 0);
  if (digits !== undefined && (port < 1 || port > PORT_MAX)) return undefined;
  if (bracketed !== undefined) return addressEndpoint(bracketed, port, 6);
  const address = addressEndpoint(bare, port, 4);
  // A name alone is more likely a port forgotten than one to keep.
  return digits === undefined ? address : (address ?? nameTarget(bare, port));
}

function addressEndpoint(ip: string, port: number, family: 4 | 6): Endpoint | undefined {
  // A zone would be a name of an interface, which the other side cannot know.
  const isAddress = family === 4 ? isIPv4(ip) : isIPv6(ip) && !ip.includes('%');
  return isAddress ? { ip, port, family } : undefined;
}

function nameTarget(name: string, port: number): NamedTarget | undefined {
  const isName =
    name.length <= NAME_LENGTH_MAX &&
    name
      .replace(/\.$/, '')
      .split('.')
      .every((label) => /^[a-z\d_]([a-z\d_-]{0,61}[a-z\d_])?$/i.test(label));
  // Digits and dots that are no address, such as 300.1.1.1, are a mistake and no name.
  return isName && !/^[\d.]+$/.test(name) ? { name, port } : undefined;
}

function parse(fields: Record<string, unknown>, services: readonly string[]): ScriptVerdict {
  switch (fields['kind']) {
    case 'decline':
      return { kind: 'decline' };
    case 'reject':
      return {
        kind: 'reject',
        with: rejectWith(fields['with']),
        reason: shortText(fields, 'reason'),
      };
    case 'redirect': {
      const listener = fields['listener'];
      if (!isObjectName(listener)) {
        throw new Refusal(`redirect(): no listener ${quote(listener)}`);
      }
      const note = shortText(fields, 'note');
      if (note !== '' && !services.includes(listener)) {
        throw new Refusal(`redirect(): listener ${quote(listener)} shows no note`);
      }
      return { kind: 'redirect', listener, note };
    }
    case 'forward':
      return parseForward(fields);
    case 'nat':
      return parseNat(fields);
    case 'claim': {
      const { sniff = false } = fields;
      if (typeof sniff !== 'boolean') throw new Refusal('claim(): sniff is true or false');
      return { kind: 'claim', sniff };
    }
    default:
      throw new Refusal('not a verdict');
  }
}

function parseForward(fields: Record<string, unknown>): ScriptVerdict {
  const { handshake = 'dial-first', proxyProtocol, bind, congestion, via } = fields;
  const target = optionalTarget('forward()', fields['to']);
  if (handshake !== 'dial-first' && handshake !== 'accept-first') {
    throw new Refusal('forward(): handshake is "dial-first" or "accept-first"');
  }
  if (proxyProtocol !== undefined && proxyProtocol !== 1 && proxyProtocol !== 2) {
    throw new Refusal('forward(): proxyProtocol is 1 or 2');
  }
  if (bind !== undefined && (typeof bind !== 'string' || !isBindAddress(bind))) {
    throw new Refusal('forward(): bind is an address without a port');
  }
  if (via !== undefined && !isObjectName(via)) {
    throw new Refusal('forward(): via is the name of an upstream');
  }
  const control = CONGESTION_NAMES.find((name) => name === congestion);
  if (congestion !== undefined && control === undefined) {
    throw new Refusal(`forward(): congestion is one of ${CONGESTION_NAMES.join(', ')}`);
  }
  return {
    kind: 'forward',
    handshake,
    ...target,
    ...(via === undefined ? {} : { via }),
    ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
    ...(bind === undefined ? {} : { bind }),
    ...(control === undefined ? {} : { congestion: control }),
    ...numbers('forward()', fields, FORWARD_NUMBERS),
  };
}

function parseNat(fields: Record<string, unknown>): ScriptVerdict {
  const { masquerade = true } = fields;
  if (typeof masquerade !== 'boolean') throw new Refusal('nat(): masquerade is true or false');
  return {
    kind: 'nat',
    ...optionalTarget('nat()', fields['to']),
    masquerade,
    ...numbers('nat()', fields, NAT_NUMBERS),
  };
}

function optionalTarget(name: string, to: unknown): { readonly to?: Endpoint | NamedTarget } {
  if (to === undefined) return {};
  const target = typeof to === 'string' ? parseTarget(to) : undefined;
  if (target !== undefined) return { to: target };
  throw new Refusal(
    `${name}: ${quote(to)} is no address; write "10.0.0.1:80", "[fd00::1]:80" or ` +
      '"example.com:80", or an address alone to keep the port',
  );
}

/** What a script gave instead, as far as it is of use to somebody who reads it. */
const quote = (value: unknown): string =>
  cutText(JSON.stringify(value) ?? 'undefined', ADDRESS_LENGTH);

const isBindAddress = (text: string) => isIPv4(text) || (isIPv6(text) && !text.includes('%'));

/** Of an upstream or a listener, as a configuration has them. */
export const isObjectName = (value: unknown): value is string =>
  typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value);

/** Options that are whole numbers, and their largest value. */
const FORWARD_NUMBERS = {
  mark: UINT32_MAX,
  connectTimeoutMs: UINT32_MAX,
  idleTimeoutMs: UINT32_MAX,
  halfCloseTimeoutMs: UINT32_MAX,
  maxBytes: Number.MAX_SAFE_INTEGER,
} as const;
const NAT_NUMBERS = { idleTimeoutMs: UINT32_MAX } as const;

function numbers<Name extends string>(
  verdict: string,
  fields: Record<string, unknown>,
  options: Readonly<Record<Name, number>>,
): Partial<Record<Name, number>> {
  const found: Partial<Record<Name, number>> = {};
  for (const name of Object.keys(options) as Name[]) {
    const value = fields[name];
    if (value === undefined) continue;
    const max = options[name];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
      throw new Refusal(`${verdict}: ${name} is a whole number from 0 to ${max}`);
    }
    found[name] = value;
  }
  return found;
}

function rejectWith(value: unknown): RejectWith {
  if (value === undefined) return 'rst';
  const how = REJECT_WITHS.find((one) => one === value);
  if (how === undefined) throw new Refusal(`reject(): with is one of ${REJECT_WITHS.join(', ')}`);
  return how;
}

function shortText(fields: Record<string, unknown>, name: string): string {
  const value = fields[name];
  if (value === undefined) return '';
  if (typeof value !== 'string') throw new Refusal(`${name} must be text`);
  return truncateUtf8(value, VERDICT_TEXT_BYTES);
}

/** Cut at the end of a character, so that it stays UTF-8. */
function truncateUtf8(text: string, bytes: number): string {
  if (text.length * 3 <= bytes || Buffer.byteLength(text) <= bytes) return text;
  const buffer = Buffer.from(text);
  let end = bytes;
  while (end > 0 && ((buffer[end] ?? 0) & 0xc0) === 0x80) end--;
  return buffer.toString('utf8', 0, end);
}

function asRecord(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new Refusal('not a verdict');
  return value as Record<string, unknown>;
}
