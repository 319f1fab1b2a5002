/**
 * A policy rule as the kernel tells of it: what `PolicyRule` can say, and the words of ip-rule(8)
 * for all else. Only a rule without such words is one that we could have made.
 */
import { formatAddress } from '../stack/wire/ip-address.ts';
import { textOf } from './libc.ts';
import { attributeLength, forEachAttribute, RuleAttribute } from './netlink-message.ts';
import { FibRuleHdr, HOST_ORDER, RtAttr } from './structs.ts';

// linux/fib_rules.h
export const FIB_RULE_INVERT = 2;
export const MASK_ALL = 0xffff_ffff;

export interface PolicyRule {
  readonly family: 4 | 6;
  readonly priority: number;
  readonly table: number;
  /** The rule is for packets that do not have this firewall mark; absent: for all. */
  readonly exceptMark?: number;
  /** The rule is for what came in by this interface; not together with `exceptMark`. */
  readonly inputInterface?: string;
  /** Routes with a prefix of this length, or a shorter one, do not count. */
  readonly suppressPrefixLength?: number;
}

/** A rule of the kernel. */
export interface ListedRule {
  /** As far as it can be said. */
  readonly rule: PolicyRule;
  /** What else it asks of a packet, in words of ip-rule(8); none: it is `rule` and nothing else. */
  readonly beyond: readonly string[];
  /** Who made it, RTPROT_*; absent where the kernel does not say (before Linux 4.17). */
  readonly protocol?: number;
}

/** Reads the message that stands from `at`, its struct first, to `end`. */
export function readRule(view: DataView, at: number, end: number, family: 4 | 6): ListedRule {
  const attributes = new Map<number, number>();
  forEachAttribute(view, at + FibRuleHdr.BYTES, end, (type, where) => attributes.set(type, where));
  const value = (type: number): number | undefined => {
    const where = attributes.get(type);
    return where === undefined ? undefined : view.getUint32(where + RtAttr.BYTES, HOST_ORDER);
  };
  const isInverted = (view.getUint32(at + FibRuleHdr.FLAGS, HOST_ORDER) & FIB_RULE_INVERT) !== 0;
  const mark = value(RuleAttribute.FWMARK) ?? 0;
  const mask = value(RuleAttribute.FWMASK) ?? 0;
  const suppressed = value(RuleAttribute.SUPPRESS_PREFIXLEN);
  const name = attributes.get(RuleAttribute.IIFNAME);
  const isException = isInverted && mark !== 0 && mask === MASK_ALL;
  const marked = `fwmark 0x${mark.toString(16)}/0x${mask.toString(16)}`;
  const tos = view.getUint8(at + FibRuleHdr.TOS);
  const protocol = attributes.get(RuleAttribute.PROTOCOL);
  return {
    ...(protocol !== undefined && { protocol: view.getUint8(protocol + RtAttr.BYTES) }),
    rule: {
      family,
      priority: value(RuleAttribute.PRIORITY) ?? 0,
      table: value(RuleAttribute.TABLE) ?? view.getUint8(at + FibRuleHdr.TABLE),
      ...(isException && { exceptMark: mark }),
      ...(name !== undefined && { inputInterface: textAt(view, name) }),
      // The kernel says -1 for none.
      ...(suppressed !== undefined &&
        suppressed !== MASK_ALL && { suppressPrefixLength: suppressed }),
    },
    beyond: [
      ...(isInverted && !isException ? ['not'] : []),
      ...((mark !== 0 || mask !== 0) && !isException ? [marked] : []),
      ...(tos === 0 ? [] : [`tos 0x${tos.toString(16)}`]),
      ...Array.from(attributes, ([type, where]) => wordsOf(view, at, type, where)),
    ].filter((words) => words !== ''),
  };
}

/** Words for an attribute that `PolicyRule` knows nothing of; empty for those that it has. */
function wordsOf(view: DataView, rule: number, type: number, at: number): string {
  const value = at + RtAttr.BYTES;
  const uint32 = (offset: number): number => view.getUint32(value + offset, HOST_ORDER);
  const uint16 = (offset: number): number => view.getUint16(value + offset, HOST_ORDER);
  const network = (lengthAt: number): string =>
    `${formatAddress(view, value, attributeLength(view, at))}/${view.getUint8(rule + lengthAt)}`;
  switch (type) {
    case RuleAttribute.IIFNAME:
    case RuleAttribute.PRIORITY:
    case RuleAttribute.FWMARK:
    case RuleAttribute.FWMASK:
    case RuleAttribute.SUPPRESS_PREFIXLEN:
    case RuleAttribute.TABLE:
    case RuleAttribute.PROTOCOL:
    case RuleAttribute.PAD:
      return '';
    case RuleAttribute.SRC:
      return `from ${network(FibRuleHdr.SOURCE_LENGTH)}`;
    case RuleAttribute.DST:
      return `to ${network(FibRuleHdr.DESTINATION_LENGTH)}`;
    case RuleAttribute.OIFNAME:
      return `oif ${textAt(view, at)}`;
    case RuleAttribute.UID_RANGE:
      return `uidrange ${uint32(0)}-${uint32(4)}`;
    case RuleAttribute.IP_PROTO:
      return `ipproto ${view.getUint8(value)}`;
    case RuleAttribute.SPORT_RANGE:
      return `sport ${uint16(0)}-${uint16(2)}`;
    case RuleAttribute.DPORT_RANGE:
      return `dport ${uint16(0)}-${uint16(2)}`;
    case RuleAttribute.SUPPRESS_IFGROUP:
      return uint32(0) === MASK_ALL ? '' : `suppress_ifgroup ${uint32(0)}`;
    case RuleAttribute.L3MDEV:
      return view.getUint8(value) === 0 ? '' : 'l3mdev';
    case RuleAttribute.FLOW:
      return `realms ${uint32(0) >>> 16}/${uint32(0) & 0xffff}`;
    case RuleAttribute.TUN_ID:
      return `tun_id ${view.getBigUint64(value)}`;
    default:
      // A kernel that is newer than this list: whatever it asks, we have not asked for it.
      return `attribute ${type}`;
  }
}

function textAt(view: DataView, at: number): string {
  const from = view.byteOffset + at + RtAttr.BYTES;
  return textOf(new Uint8Array(view.buffer, from, attributeLength(view, at)));
}
