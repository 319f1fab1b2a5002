/** What a filter can ask of a flow, and how the answer is found in the bytes of its row. */
import {
  CARRIER_NAMES,
  DECIDER_NAMES,
  Decider,
  FlowField,
  flowHandshake,
  flowVia,
  HANDSHAKE_NAMES,
  PHASE_NAMES,
  PROTOCOL_NAMES,
  SERVICE_NAMES,
  TRACK_STATE_NAMES,
  TrackBit,
  VERDICT_NAMES,
} from '../../stack/flow-row.ts';
import { TCP_STATE_NAMES } from '../../stack/tcp/states.ts';
import { DIRECT } from '../../stack/verdict.ts';
import { matchesPrefix, parseAddress } from '../../stack/wire/ip-address.ts';
import { parseCidr, parseSize, parseSpan } from '../config/value-texts.ts';
import { FilterError } from './filter-error.ts';
import type { FlowContext, FlowFacts, FlowNames } from './flow-context.ts';
import { parseFlowId } from './flow-id.ts';
import type { Token } from './tokens.ts';

/** Whether the flow whose row lies at `at` is meant. */
export type RowTest = (view: DataView, at: number) => boolean;
/** A filter that was read; with names and a clock it becomes a test. */
export type Filter = (context: FlowContext) => RowTest;
/** `!=` is the negation of `=`. */
export type Compare = '=' | '<' | '<=' | '>' | '>=' | 'in';

/** @param sign  where the comparison stands, when it is a sign @throws FilterError */
type Field = (compare: Compare, value: Token, sign?: Token) => Filter;

const US_PER_MS = 1000;
/** More than there are scripts or listeners; with 32 bits of generation a key stays exact. */
const KEY_STEP = 2 ** 16;
const CODES = 256;

const u8 = (field: number) => (view: DataView, at: number) => view.getUint8(at + field);
const u16 = (field: number) => (view: DataView, at: number) => view.getUint16(at + field, true);
const u32 = (field: number) => (view: DataView, at: number) => view.getUint32(at + field, true);
const f64 = (field: number) => (view: DataView, at: number) => view.getFloat64(at + field, true);
const sum = (a: number, b: number) => (view: DataView, at: number) =>
  view.getFloat64(at + a, true) + view.getFloat64(at + b, true);

const sourcePort = numbers(integerOf('port', 65_535), u16(FlowField.SOURCE_PORT));
const destinationPort = numbers(integerOf('port', 65_535), u16(FlowField.DESTINATION_PORT));
const counts = (read: NumberOf) => numbers(integerOf('count', Number.MAX_SAFE_INTEGER), read);
const sizes = (read: NumberOf) => numbers(sizeOf, read);
const spans = (read: NumberOf) => numbers(durationOf, read);

/** By name; where the API has another name for the field, a filter knows both. */
export const FIELDS: Readonly<Record<string, Field>> = {
  id: ids,
  proto: codes(protocolsOf, u8(FlowField.PROTOCOL)),
  family: numbers(integerOf('family', 6), u8(FlowField.FAMILY)),
  src: addresses(FlowField.SOURCE, u8(FlowField.FAMILY)),
  dst: addresses(FlowField.DESTINATION, u8(FlowField.FAMILY)),
  sport: sourcePort,
  dport: destinationPort,
  port: destinationPort,
  src_port: sourcePort,
  dst_port: destinationPort,
  upstream: addresses(FlowField.UPSTREAM, u8(FlowField.UPSTREAM_FAMILY)),
  upstream_port: numbers(integerOf('port', 65_535), u16(FlowField.UPSTREAM_PORT)),
  nat: addresses(FlowField.NAT_SOURCE, natFamily),
  nat_port: numbers(integerOf('port', 65_535), u16(FlowField.NAT_SOURCE_PORT)),
  state: states,
  phase: codes(wordsOf('phase', PHASE_NAMES), u8(FlowField.PHASE)),
  carrier: codes(wordsOf('carrier', CARRIER_NAMES), u8(FlowField.CARRIER)),
  assured: codes(wordsOf('answer', ['false', 'true']), isAssured),
  replied: codes(wordsOf('answer', ['false', 'true']), isReplied),
  verdict: codes(wordsOf('verdict', VERDICT_NAMES), u8(FlowField.VERDICT)),
  decider: codes(wordsOf('decider', DECIDER_NAMES), u8(FlowField.DECIDER)),
  script: deciderName(Decider.SCRIPT, (names, generation, index) =>
    names.scriptName(generation, index),
  ),
  rule: either(
    deciderName(Decider.LISTENER, (names, generation, index) =>
      names.listenerName(generation, index),
    ),
    noted(({ rule }) => [rule]),
  ),
  via: upstreamName,
  handshake: codes(wordsOf('handshake', HANDSHAKE_NAMES), flowHandshake),
  sniff: noted(({ sniff }) => [sniff?.proto]),
  sni: noted(({ sniff }) => [sniff?.sni]),
  host: noted(({ sniff, dnsName, seenName }) => [sniff?.sni, sniff?.host, dnsName, seenName]),
  dns_name: noted(({ dnsName, seenName }) => [dnsName || seenName]),
  seen_name: noted(({ seenName }) => [seenName]),
  generation: counts(u32(FlowField.GENERATION)),
  service: codes(wordsOf('service', SERVICE_NAMES), u8(FlowField.SERVICE)),
  bytes: sizes(sum(FlowField.BYTES_UP, FlowField.BYTES_DOWN)),
  bytes_up: sizes(f64(FlowField.BYTES_UP)),
  bytes_down: sizes(f64(FlowField.BYTES_DOWN)),
  pkts: counts(sum(FlowField.PACKETS_UP, FlowField.PACKETS_DOWN)),
  pkts_up: counts(f64(FlowField.PACKETS_UP)),
  pkts_down: counts(f64(FlowField.PACKETS_DOWN)),
  retrans: counts(u32(FlowField.RETRANSMITS)),
  rtt: spans(u32(FlowField.SRTT_US)),
  age: spans((view, at, nowUs) => nowUs - view.getFloat64(at + FlowField.STARTED_AT, true)),
  idle: spans((view, at, nowUs) => nowUs - view.getFloat64(at + FlowField.LAST_USED_AT, true)),
  expires: spans(untilEnd),
};

type NumberOf = (view: DataView, at: number, nowUs: number) => number;
type ParseNumber = (text: string, at: number) => number;

/** `=`, an order, or `in` a range `80-90`. */
function numbers(parse: ParseNumber, read: NumberOf): Field {
  return (compare, { text, at: textAt }) => {
    if (compare === 'in') {
      const [from = '', to = from, rest] = text.split('-');
      if (rest !== undefined) throw new FilterError(textAt, `"${text}" is no range`);
      const least = parse(from, textAt);
      const most = parse(to, textAt);
      return numberTest(read, (value) => value >= least && value <= most);
    }
    const wanted = parse(text, textAt);
    switch (compare) {
      case '=':
        return numberTest(read, (value) => value === wanted);
      case '<':
        return numberTest(read, (value) => value < wanted);
      case '<=':
        return numberTest(read, (value) => value <= wanted);
      case '>':
        return numberTest(read, (value) => value > wanted);
      case '>=':
        return numberTest(read, (value) => value >= wanted);
    }
  };
}

const numberTest =
  (read: NumberOf, holds: (value: number) => boolean): Filter =>
  ({ nowUs }) =>
  (view, at) =>
    holds(read(view, at, nowUs));

/** Of words that stand for codes; `parse` tells which. */
function codes(
  parse: (text: string, at: number) => readonly number[],
  read: (view: DataView, at: number) => number,
): Field {
  return (_, { text, at: textAt }, sign) => {
    refuseOrder(sign);
    const wanted = tableOf(parse(text, textAt));
    return () => (view, at) => wanted[read(view, at)] === 1;
  };
}

/** An address or a network. Of a family that is 0 there is no address. */
function addresses(field: number, family: (view: DataView, at: number) => number): Field {
  return (_, { text, at: textAt }, sign) => {
    refuseOrder(sign);
    const cidr = parseCidr(text);
    const bytes = parseAddress(cidr?.ip ?? '');
    if (cidr === undefined || bytes === undefined) {
      throw new FilterError(textAt, `"${text}" is no address or network`);
    }
    return () => (view, at) =>
      family(view, at) === cidr.family && matchesPrefix(view, at + field, bytes, cidr.prefixLength);
  };
}

/** A state of RFC 9293 or of nf_conntrack, as the flow has one or the other. */
function states(_: Compare, { text, at: textAt }: Token, sign?: Token): Filter {
  refuseOrder(sign);
  const word = plain(text);
  const indexesOf = (names: readonly string[]) =>
    names.flatMap((name, index) => (plain(name) === word ? [index] : []));
  const tcp = indexesOf(TCP_STATE_NAMES);
  const tracked = indexesOf(TRACK_STATE_NAMES).filter((state) => state !== 0);
  if (tcp.length + tracked.length === 0) {
    const names = new Set([...TCP_STATE_NAMES, ...TRACK_STATE_NAMES.slice(1)].map(plain));
    throw new FilterError(textAt, `"${text}" is no state: ${[...names].join(', ')}`);
  }
  const tcpTable = tableOf(tcp);
  const trackTable = tableOf(tracked);
  return () => (view, at) => {
    const state = view.getUint8(at + FlowField.TRACK_STATE);
    return state === 0
      ? tcpTable[view.getUint8(at + FlowField.TCP_STATE)] === 1
      : trackTable[state] === 1;
  };
}

function ids(_: Compare, { text, at: textAt }: Token, sign?: Token): Filter {
  refuseOrder(sign);
  const serial = parseFlowId(text);
  if (serial === undefined) throw new FilterError(textAt, `"${text}" is no id of a flow`);
  return () => (view, at) => view.getFloat64(at + FlowField.SERIAL, true) === serial;
}

/** The name of who decided; each name is looked up once, however many flows there are. */
function deciderName(
  decider: Decider,
  nameOf: (names: FlowNames, generation: number, index: number) => string | undefined,
): Field {
  return (_, { text }, sign) => {
    refuseOrder(sign);
    const wanted = text.toLowerCase();
    return ({ names }) => {
      const known = new Map<number, boolean>();
      return (view, at) => {
        if (view.getUint8(at + FlowField.DECIDER) !== decider) return false;
        const generation = view.getUint32(at + FlowField.GENERATION, true);
        const index = view.getUint32(at + FlowField.DECIDER_INDEX, true);
        const key = generation * KEY_STEP + index;
        const answer = known.get(key);
        if (answer !== undefined) return answer;
        const isWanted = nameOf(names, generation, index)?.toLowerCase() === wanted;
        known.set(key, isWanted);
        return isWanted;
      };
    };
  };
}

/** A flow that passes one of two. */
function either(one: Field, other: Field): Field {
  return (...asked) => {
    const [first, second] = [one(...asked), other(...asked)];
    return (context) => {
      const [isFirst, isSecond] = [first(context), second(context)];
      return (view, at) => isFirst(view, at) || isSecond(view, at);
    };
  };
}

/** `direct` is a flow with an upstream that has no name. */
function upstreamName(_: Compare, { text }: Token, sign?: Token): Filter {
  refuseOrder(sign);
  const wanted = text.toLowerCase();
  return ({ names }) =>
    (view, at) => {
      const id = flowVia(view, at);
      if (id !== 0) return names.upstreamName(id)?.toLowerCase() === wanted;
      return wanted === DIRECT && view.getUint8(at + FlowField.UPSTREAM_FAMILY) !== 0;
    };
}

/** A name, or `*.` and a domain of which it is a part; a flow of which none is so is not meant. */
function noted(namesOf: (facts: FlowFacts) => readonly (string | undefined)[]): Field {
  return (_, { text }, sign) => {
    refuseOrder(sign);
    const wanted = text.toLowerCase();
    const suffix = wanted.startsWith('*.') ? wanted.slice(1) : undefined;
    const isMeant = (name: string) =>
      suffix === undefined ? name === wanted : name.endsWith(suffix);
    return ({ noteOf }) =>
      (view, at) => {
        const note = noteOf?.(view.getFloat64(at + FlowField.SERIAL, true));
        if (note === undefined) return false;
        return namesOf(note).some((name) => name !== undefined && isMeant(name.toLowerCase()));
      };
  };
}

/** A flow that does not expire by itself is infinitely far from it. */
function untilEnd(view: DataView, at: number, nowUs: number): number {
  const expiresAt = view.getFloat64(at + FlowField.EXPIRES_AT, true);
  return expiresAt === 0 ? Number.POSITIVE_INFINITY : Math.max(0, expiresAt - nowUs);
}

function natFamily(view: DataView, at: number): number {
  const isNat = (view.getUint8(at + FlowField.TRACK_BITS) & TrackBit.SOURCE_NAT) !== 0;
  return isNat ? view.getUint8(at + FlowField.FAMILY) : 0;
}

function isAssured(view: DataView, at: number): number {
  return (view.getUint8(at + FlowField.TRACK_BITS) & TrackBit.ASSURED) === 0 ? 0 : 1;
}

/** The bit is of flows that are only watched; what our TCP ends has counted what it sent. */
function isReplied(view: DataView, at: number): number {
  const isSeen = (view.getUint8(at + FlowField.TRACK_BITS) & TrackBit.SEEN_REPLY) !== 0;
  return isSeen || view.getFloat64(at + FlowField.PACKETS_DOWN, true) > 0 ? 1 : 0;
}

function refuseOrder(sign: Token | undefined): void {
  if (sign === undefined || sign.text === '=') return;
  throw new FilterError(sign.at, `"${sign.text}" needs a number: use =, != or in`);
}

function wordsOf(what: string, names: readonly string[]) {
  return (text: string, at: number): readonly number[] => {
    const index = names.indexOf(plain(text));
    if (index < 0) throw new FilterError(at, `"${text}" is no ${what}: ${names.join(', ')}`);
    return [index];
  };
}

/** `tcp`, `icmp` of both families, or an IANA number. */
function protocolsOf(text: string, at: number): readonly number[] {
  const number = /^\d{1,3}$/.test(text) ? Number(text) : CODES;
  if (number < CODES) return [number];
  const word = plain(text);
  const named = Object.keys(PROTOCOL_NAMES).map(Number);
  const found = named.filter((protocol) => PROTOCOL_NAMES[protocol] === word);
  if (found.length > 0) return found;
  const words = [...new Set(Object.values(PROTOCOL_NAMES))].join(', ');
  throw new FilterError(at, `"${text}" is no protocol: ${words}, or a number up to 255`);
}

function integerOf(what: string, most: number): ParseNumber {
  return (text, at) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (value <= most) return value;
    throw new FilterError(at, `"${text}" is no ${what}`);
  };
}

/** Bytes. */
function sizeOf(text: string, at: number): number {
  const bytes = /^\d{1,16}$/.test(text) ? Number(text) : parseSize(text);
  if (bytes !== undefined) return bytes;
  throw new FilterError(at, `"${text}" is no size such as 500, 64KiB or 1.5GiB`);
}

/** Microseconds. */
function durationOf(text: string, at: number): number {
  const ms = parseSpan(text);
  if (ms !== undefined) return ms * US_PER_MS;
  throw new FilterError(at, `"${text}" is no duration such as 250ms, 10s or 1m30s`);
}

function tableOf(wanted: readonly number[]): Uint8Array {
  const table = new Uint8Array(CODES);
  for (const code of wanted) table[code] = 1;
  return table;
}

/** `SYN_SENT` and `SYN-SENT` are one state to a user. */
const plain = (text: string): string => text.toLowerCase().replaceAll('_', '-');
