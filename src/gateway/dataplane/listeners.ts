/** Static listeners: the first rule that matches a new flow decides, before any script. */
import type { FlowProtocol } from '../../stack/verdict.ts';
import { matchesPrefix, parseCidr } from '../../stack/wire/ip-address.ts';
import { Protocol } from '../../stack/wire/protocol.ts';
import type { ListenerRule } from '../messages/control.ts';

interface Compiled {
  readonly rule: ListenerRule;
  readonly prefixes: readonly { readonly bytes: Uint8Array; readonly prefixLength: number }[];
}

/** Of the protocols that a rule can name. */
const NAMES: ReadonlyMap<number, FlowProtocol> = new Map([
  [Protocol.TCP, 'tcp'],
  [Protocol.UDP, 'udp'],
  [Protocol.ICMP, 'icmp'],
  [Protocol.ICMPV6, 'icmp'],
]);

export const NO_LISTENER = -1;

export class Listeners {
  readonly #compiled: readonly Compiled[];

  /** @throws Error when a destination is no CIDR: the supervisor has validated them */
  constructor(rules: readonly ListenerRule[]) {
    this.#compiled = rules.map((rule) => ({
      rule,
      prefixes: rule.destinations.map((text) => {
        const prefix = parseCidr(text);
        if (prefix === undefined) throw new Error(`listener ${rule.name}: no CIDR: ${text}`);
        return prefix;
      }),
    }));
  }

  /** @param protocol  IANA number. @returns position of the rule, or NO_LISTENER */
  match(
    protocol: number,
    view: DataView,
    destinationAt: number,
    addressLength: number,
    port: number,
  ): number {
    return this.#compiled.findIndex(
      ({ rule, prefixes }) =>
        (rule.protocol === 'any' || rule.protocol === NAMES.get(protocol)) &&
        (rule.ports.length === 0 || rule.ports.some(([from, to]) => port >= from && port <= to)) &&
        (prefixes.length === 0 ||
          prefixes.some(
            ({ bytes, prefixLength }) =>
              bytes.length === addressLength &&
              matchesPrefix(view, destinationAt, bytes, prefixLength),
          )),
    );
  }

  rule(index: number): ListenerRule {
    return this.#compiled[index]!.rule;
  }
}
