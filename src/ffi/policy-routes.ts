/** Routes of a table and policy rules: made, taken away, listed. As ip-route(8), ip-rule(8). */
import { Errno } from './errno.ts';
import { raise, SystemError } from './errors.ts';
import { cString } from './libc.ts';
import type { Netlink } from './netlink.ts';
import {
  attributeLength,
  findAttribute,
  MessageBuilder,
  MessageFlag,
  MessageType,
  RouteAttribute,
  RuleAttribute,
} from './netlink-message.ts';
import {
  FIB_RULE_INVERT,
  type ListedRule,
  MASK_ALL,
  type PolicyRule,
  readRule,
} from './rule-message.ts';
import { AddressFamily, FibRuleHdr, HOST_ORDER, RtAttr, RtMsg } from './structs.ts';

// linux/rtnetlink.h, linux/fib_rules.h
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
/** Of a request to delete: any scope. */
const RT_SCOPE_NOWHERE = 255;
const RTN_UNICAST = 1;
const RTN_THROW = 9;
const FR_ACT_TO_TBL = 1;

/** Metric of a route of IPv6 that names none, net/ipv6.h. */
const IP6_RT_PRIO_USER = 1024;
/** What leads a route elsewhere than onto the link. */
const BEYOND: readonly number[] = [
  RouteAttribute.GATEWAY,
  RouteAttribute.MULTIPATH,
  RouteAttribute.VIA,
  RouteAttribute.ENCAP_TYPE,
  RouteAttribute.NH_ID,
];

/** More than any request here needs. */
const REQUEST_BYTES = 512;

/** Where a table of routes says no more than a byte, the attribute says it. */
const TABLE_BYTE_MAX = 255;
const TABLE_UNSPEC = 0;

export interface TableRoute {
  readonly family: 4 | 6;
  /** 4 or 16 bytes, network order, host bits zero. */
  readonly destination: Uint8Array;
  readonly prefixLength: number;
  readonly table: number;
  /** `throw`: the look-up goes on with the next rule. */
  readonly kind: 'unicast' | 'throw';
  /** Index of the interface; 0 for a route that throws. */
  readonly interfaceIndex: number;
}

/** @throws SystemError  `EPERM`, `EEXIST` for another route to the prefix, `ENETDOWN` */
export const addTableRoute = (netlink: Netlink, route: TableRoute): void =>
  changeRoute(netlink, route, MessageType.RTM_NEWROUTE);

/** Takes it away; a route that is not there is fine. @throws SystemError  `EPERM` */
export const deleteTableRoute = (netlink: Netlink, route: TableRoute): void =>
  changeRoute(netlink, route, MessageType.RTM_DELROUTE);

/**
 * @throws SystemError  `EPERM`, `EEXIST` also where one of others differs in "from" and "to" alone,
 *                      for which the kernel takes it to be the same
 */
export const addRule = (netlink: Netlink, rule: PolicyRule): void =>
  changeRule(netlink, rule, MessageType.RTM_NEWRULE);

/**
 * Takes it away; a rule that is not there is fine. The kernel takes the first rule that has what a
 * request names, whatever else that one asks for: nothing is taken where that is another.
 *
 * @throws SystemError  `EPERM`; `EEXIST` where a rule of others would be taken in its place
 */
export function deleteRule(netlink: Netlink, rule: PolicyRule): void {
  const rules = listRules(netlink, rule.family);
  if (!rules.some((listed) => isExactly(listed, rule))) return;
  const first = rules.find((listed) => isAnswerTo(listed, rule));
  if (first !== undefined && !isExactly(first, rule)) {
    raise(Errno.EEXIST, 'netlink(RTM_DELRULE)', {
      device: `rule ${rule.priority}`,
      hint: 'one of others stands before it, which the kernel would take away: move that one',
    });
  }
  changeRule(netlink, rule, MessageType.RTM_DELRULE);
}

const isExactly = ({ rule: listed, beyond }: ListedRule, rule: PolicyRule): boolean =>
  beyond.length === 0 && Bun.deepEquals(listed, rule);

/** Has all that a request to delete `rule` names. */
function isAnswerTo({ rule: listed, beyond, protocol }: ListedRule, rule: PolicyRule): boolean {
  const { priority, table, exceptMark: mark, inputInterface: name } = rule;
  const suppressed = rule.suppressPrefixLength;
  return (
    (protocol ?? RTPROT_STATIC) === RTPROT_STATIC &&
    listed.priority === priority &&
    listed.table === table &&
    // What lies beyond may be the same mark: the kernel does not look at "not".
    (mark === undefined || listed.exceptMark === mark || beyond.length > 0) &&
    (name === undefined || listed.inputInterface === name) &&
    (suppressed === undefined || listed.suppressPrefixLength === suppressed)
  );
}

/** The routes of one table that `TableRoute` says all of. */
export function listTableRoutes(netlink: Netlink, family: 4 | 6, table: number): TableRoute[] {
  const found: TableRoute[] = [];
  exchange(
    netlink,
    {
      type: MessageType.RTM_GETROUTE,
      flags: MessageFlag.DUMP,
      bodyLength: RtMsg.BYTES,
      about: `table ${table}`,
    },
    (request, at) => {
      request.view.setUint8(at + RtMsg.FAMILY, domainOf(family));
      request.uint32(RouteAttribute.TABLE, table);
    },
    (view, type, at, end) => {
      const route = type === MessageType.RTM_NEWROUTE ? readRoute(view, at, end) : undefined;
      // A kernel without filters gives all tables.
      if (route !== undefined && route.family === family && route.table === table)
        found.push(route);
    },
  );
  return found;
}

/** The rules that look up a table, in the order of the kernel. */
export function listRules(netlink: Netlink, family: 4 | 6): ListedRule[] {
  const found: ListedRule[] = [];
  exchange(
    netlink,
    {
      type: MessageType.RTM_GETRULE,
      flags: MessageFlag.DUMP,
      bodyLength: FibRuleHdr.BYTES,
      about: 'rules',
    },
    (request, at) => request.view.setUint8(at + FibRuleHdr.FAMILY, domainOf(family)),
    (view, type, at, end) => {
      if (type !== MessageType.RTM_NEWRULE) return;
      if (view.getUint8(at + FibRuleHdr.ACTION) !== FR_ACT_TO_TBL) return;
      found.push(readRule(view, at, end, family));
    },
  );
  return found;
}

interface Exchange {
  readonly type: number;
  readonly flags: number;
  /** Of the struct of the family. */
  readonly bodyLength: number;
  /** For the error: what the request is about. */
  readonly about: string;
}

/** Sends what `build` makes of the struct at `at`; `onMessage` sees each message of the answer. */
function exchange(
  netlink: Netlink,
  { type, flags, bodyLength, about }: Exchange,
  build: (request: MessageBuilder, at: number) => void,
  onMessage?: (view: DataView, type: number, at: number, end: number) => void,
): void {
  const request = new MessageBuilder(REQUEST_BYTES);
  const at = request.begin(type, flags, 0, bodyLength);
  build(request, at);
  const body = new Uint8Array(request.view.buffer, at, request.length - at);
  netlink.request(type, flags, body, about, (kind, answer) => {
    const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
    onMessage?.(view, kind, 0, answer.byteLength);
  });
}

const domainOf = (family: 4 | 6): number =>
  family === 4 ? AddressFamily.INET : AddressFamily.INET6;

function changeRoute(netlink: Netlink, route: TableRoute, type: number): void {
  const { family, destination, prefixLength, table, kind, interfaceIndex } = route;
  const isNew = type === MessageType.RTM_NEWROUTE;
  tolerate(isNew ? [] : [Errno.ESRCH, Errno.ENODEV], () =>
    exchange(
      netlink,
      {
        type,
        flags: MessageFlag.ACK | (isNew ? MessageFlag.CREATE | MessageFlag.EXCL : 0),
        bodyLength: RtMsg.BYTES,
        about: `table ${table}`,
      },
      (request, at) => {
        const { view } = request;
        const scope = kind === 'unicast' && family === 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
        view.setUint8(at + RtMsg.FAMILY, domainOf(family));
        view.setUint8(at + RtMsg.DESTINATION_LENGTH, prefixLength);
        view.setUint8(at + RtMsg.TABLE, tableByte(table));
        view.setUint8(at + RtMsg.PROTOCOL, RTPROT_STATIC);
        view.setUint8(at + RtMsg.SCOPE, isNew ? scope : RT_SCOPE_NOWHERE);
        view.setUint8(at + RtMsg.TYPE, kind === 'throw' ? RTN_THROW : RTN_UNICAST);
        request.raw(RouteAttribute.DST, destination);
        if (interfaceIndex !== 0) request.uint32(RouteAttribute.OIF, interfaceIndex);
        request.uint32(RouteAttribute.TABLE, table);
      },
    ),
  );
}

function changeRule(netlink: Netlink, rule: PolicyRule, type: number): void {
  const isNew = type === MessageType.RTM_NEWRULE;
  tolerate(isNew ? [] : [Errno.ENOENT, Errno.ENODEV], () =>
    exchange(
      netlink,
      {
        type,
        flags: MessageFlag.ACK | (isNew ? MessageFlag.CREATE | MessageFlag.EXCL : 0),
        bodyLength: FibRuleHdr.BYTES,
        about: `rule ${rule.priority}`,
      },
      (request, at) => {
        const { view } = request;
        const { exceptMark, inputInterface, suppressPrefixLength } = rule;
        view.setUint8(at + FibRuleHdr.FAMILY, domainOf(rule.family));
        view.setUint8(at + FibRuleHdr.TABLE, tableByte(rule.table));
        view.setUint8(at + FibRuleHdr.ACTION, FR_ACT_TO_TBL);
        view.setUint32(
          at + FibRuleHdr.FLAGS,
          exceptMark === undefined ? 0 : FIB_RULE_INVERT,
          HOST_ORDER,
        );
        request.uint32(RuleAttribute.PRIORITY, rule.priority);
        request.uint32(RuleAttribute.TABLE, rule.table);
        request.raw(RuleAttribute.PROTOCOL, Uint8Array.of(RTPROT_STATIC));
        if (exceptMark !== undefined) {
          request.uint32(RuleAttribute.FWMARK, exceptMark);
          request.uint32(RuleAttribute.FWMASK, MASK_ALL);
        }
        if (inputInterface !== undefined) {
          request.raw(RuleAttribute.IIFNAME, cString(inputInterface));
        }
        if (suppressPrefixLength !== undefined) {
          request.uint32(RuleAttribute.SUPPRESS_PREFIXLEN, suppressPrefixLength);
        }
      },
    ),
  );
}

const tableByte = (table: number): number => (table > TABLE_BYTE_MAX ? TABLE_UNSPEC : table);

function readRoute(view: DataView, at: number, end: number): TableRoute | undefined {
  const family = view.getUint8(at + RtMsg.FAMILY) === AddressFamily.INET ? 4 : 6;
  const type = view.getUint8(at + RtMsg.TYPE);
  if (type !== RTN_UNICAST && type !== RTN_THROW) return undefined;
  const attributes = at + RtMsg.BYTES;
  const value = (attribute: number) => readUint32(view, attributes, end, attribute);
  if (view.getUint8(at + RtMsg.TOS) !== 0) return undefined;
  if (BEYOND.some((attribute) => value(attribute) !== undefined)) return undefined;
  const metric = family === 6 ? IP6_RT_PRIO_USER : 0;
  if (type === RTN_UNICAST && (value(RouteAttribute.PRIORITY) ?? 0) !== metric) return undefined;
  const destination = new Uint8Array(family === 4 ? 4 : 16);
  const given = findAttribute(view, attributes, end, RouteAttribute.DST);
  if (given >= 0) {
    const from = given + RtAttr.BYTES;
    for (let i = 0; i < attributeLength(view, given); i++) destination[i] = view.getUint8(from + i);
  }
  return {
    family,
    destination,
    prefixLength: view.getUint8(at + RtMsg.DESTINATION_LENGTH),
    table: value(RouteAttribute.TABLE) ?? view.getUint8(at + RtMsg.TABLE),
    kind: type === RTN_THROW ? 'throw' : 'unicast',
    // A route of IPv6 that throws stands at the loopback interface.
    interfaceIndex: type === RTN_THROW ? 0 : (value(RouteAttribute.OIF) ?? 0),
  };
}

function readUint32(view: DataView, at: number, end: number, type: number): number | undefined {
  const found = findAttribute(view, at, end, type);
  return found < 0 ? undefined : view.getUint32(found + RtAttr.BYTES, HOST_ORDER);
}

function tolerate(errnos: readonly number[], work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof SystemError) || !errnos.includes(error.errno)) throw error;
  }
}
