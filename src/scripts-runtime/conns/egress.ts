/**
 * Where `connect()` of a script may go. A pattern is a host and ports: `10.0.0.0/8:443`,
 * `[fd00::/8]:*`, `db.example:5432-5440`, `*.corp.example:*`, `*:53`.
 *
 * Without a list a script reaches what its client asked for, and nothing else: as far as
 * `forward()` without an address goes. An empty list is nothing at all. A name is allowed by its
 * own name, or by each address it resolves to. Whatever is allowed, addresses that are the gateway
 * itself stay closed, and so do those that are no single host.
 */
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import type { Endpoint } from '../../stack/verdict.ts';

interface Pattern {
  /** `subnet` matches addresses, `name` names; `any` both. */
  readonly kind: 'subnet' | 'name' | 'any';
  readonly subnet?: BlockList;
  /** In lower case; of `*.corp.example` it is `.corp.example`. */
  readonly name?: string;
  readonly from: number;
  readonly to: number;
}

const PORT_MAX = 65_535;

/** Unspecified, multicast and broadcast: what the kernel would understand as somebody else. */
const NOWHERE = new BlockList();
NOWHERE.addSubnet('0.0.0.0', 8, 'ipv4');
NOWHERE.addSubnet('224.0.0.0', 4, 'ipv4');
NOWHERE.addAddress('255.255.255.255', 'ipv4');
NOWHERE.addAddress('::', 'ipv6');
NOWHERE.addSubnet('ff00::', 8, 'ipv6');

export class Egress {
  readonly #allowed: readonly Pattern[] | undefined;
  readonly #denied: readonly Pattern[];

  /**
   * @param allow   of the script; absent: only what the client asked for
   * @param denied  what nobody may reach, in the same form
   * @throws RangeError  a pattern is none
   */
  constructor(allow: readonly string[] | undefined, denied: readonly string[]) {
    this.#allowed = allow?.map(parsePattern);
    this.#denied = denied.map(parsePattern);
  }

  /** Whether it is worth asking for the addresses of a name: a question leaves the gateway too. */
  allowsLookup(name: string, port: number): boolean {
    return (
      this.#allowsName(name, port) ||
      (this.#allowed ?? []).some((one) => one.kind === 'subnet' && hasPort(one, port))
    );
  }

  /**
   * @param name      under which the address was found; empty for none
   * @param original  where the client wanted to go; undefined without a client
   * @returns         in words why not; undefined when it may
   */
  refusal(name: string, to: Endpoint, original: Endpoint | undefined): string | undefined {
    if (NOWHERE.check(to.ip, `ipv${to.family}`)) return `${to.ip} is no address of a host`;
    if (this.#denied.some((one) => matchesAddress(one, to))) {
      return `${to.ip} port ${to.port} is the gateway itself`;
    }
    if (this.#allowed === undefined) {
      if (original === undefined) return 'without "allow" there is nowhere to go without a client';
      const isOriginal = to.ip === original.ip && to.port === original.port;
      return isOriginal ? undefined : 'without "allow" only the original destination is';
    }
    if (name !== '' && this.#allowsName(name, to.port)) return undefined;
    if (this.#allowed.some((one) => matchesAddress(one, to))) return undefined;
    return `"allow" of the script does not have ${name || to.ip} port ${to.port}`;
  }

  #allowsName(name: string, port: number): boolean {
    const wanted = name.toLowerCase().replace(/\.$/, '');
    return (this.#allowed ?? []).some((one) => {
      if (!hasPort(one, port) || one.kind === 'subnet') return false;
      const { name: known } = one;
      if (known === undefined) return true;
      return known.startsWith('.') ? wanted.endsWith(known) : wanted === known;
    });
  }
}

/** An IPv6 address that stands for one of IPv4 reaches it: it is checked as what it is. */
export function plainEndpoint(to: Endpoint): Endpoint {
  if (to.family === 4) return to;
  const ip = new URL(`http://[${to.ip}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(ip);
  if (mapped === null) return { ...to, ip };
  const high = Number.parseInt(mapped[1] ?? '', 16);
  const low = Number.parseInt(mapped[2] ?? '', 16);
  const ipv4 = [high >>> 8, high & 0xff, low >>> 8, low & 0xff].join('.');
  return { ip: ipv4, port: to.port, family: 4 };
}

const hasPort = ({ from, to }: Pattern, port: number): boolean => from <= port && port <= to;

const matchesAddress = (one: Pattern, { ip, port, family }: Endpoint): boolean =>
  hasPort(one, port) && (one.kind === 'any' || (one.subnet?.check(ip, `ipv${family}`) ?? false));

/** @throws RangeError */
function parsePattern(text: string): Pattern {
  const match = /^(?:\[([^\]]+)\]|([^[\]:]+)):(\*|\d{1,5}(?:-\d{1,5})?)$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) throw unreadable(text);
  const [first = '', last = first] = (match?.[3] ?? '').split('-');
  const from = first === '*' ? 1 : Number(first);
  const to = first === '*' ? PORT_MAX : Number(last);
  if (from < 1 || to > PORT_MAX || from > to) throw unreadable(text);
  return { ...parseHost(host, match?.[1] !== undefined, text), from, to };
}

function parseHost(
  host: string,
  isBracketed: boolean,
  text: string,
): Pick<Pattern, 'kind' | 'subnet' | 'name'> {
  if (host === '*') return { kind: 'any' };
  const [ip = '', length] = host.split('/');
  const isAddress = isBracketed ? isIPv6(ip) && !ip.includes('%') : isIPv4(ip);
  if (isAddress) {
    const bits = isBracketed ? 128 : 32;
    const prefix = length === undefined ? bits : Number(length);
    if (!/^\d{1,3}$/.test(length ?? '0') || prefix > bits) throw unreadable(text);
    const subnet = new BlockList();
    subnet.addSubnet(ip, prefix, isBracketed ? 'ipv6' : 'ipv4');
    return { kind: 'subnet', subnet };
  }
  const isName = /^(?:\*\.)?[a-z\d_](?:[a-z\d_.-]*[a-z\d_])?$/i.test(host);
  if (isBracketed || !isName || /^[\d.]+$/.test(host)) throw unreadable(text);
  return { kind: 'name', name: host.replace('*', '').toLowerCase() };
}

const unreadable = (text: string): RangeError =>
  new RangeError(
    `"${text}" is no pattern; write "10.0.0.0/8:443", "[fd00::/8]:*" or "*.corp.example:443"`,
  );
