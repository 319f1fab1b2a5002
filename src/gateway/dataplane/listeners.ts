/** Static listeners: the first rule that matches a new flow decides, before any script. */
import { PROTOCOL_NAMES } from '../../stack/flow-row.ts';
import type { FlowProtocol } from '../../stack/verdict.ts';
import { matchesPrefix, parseCidr } from '../../stack/wire/ip-address.ts';
import type { ListenerRule } from '../messages/control.ts';

interface Compiled {
  readonly rule: ListenerRule;
  readonly prefixes: readonly { readonly bytes: Uint8Array; readonly prefixLength: number }[];
}

export const NO_LISTENER = -1;

/** Why a rule does not match: the first condition that fails. */
export type ListenerMismatch = 'protocol' | 'port' | 'destination' | 'prefix';

export class Listeners {
  /** One of them rewrites. */
  readonly haveNat: boolean;
  /** Positions of the prefix rules. */
  readonly prefixesAt: readonly number[];
  readonly #compiled: readonly Compiled[];

  /** @throws Error when a destination is no CIDR: the supervisor has validated them */
  constructor(rules: readonly ListenerRule[]) {
    this.haveNat = rules.some(({ action }) => action.kind === 'nat');
    this.prefixesAt = rules.flatMap(({ action }, at) => (action.kind === 'prefix' ? [at] : []));
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
    const name = PROTOCOL_NAMES[protocol];
    // Loops, for a closure would be an object for each packet of a flood.
    for (let i = 0; i < this.#compiled.length; i++) {
      const why = mismatchOf(this.#compiled[i]!, name, view, destinationAt, addressLength, port);
      if (why === undefined) return i;
    }
    return NO_LISTENER;
  }

  /** Why each rule does not match, in their order; undefined for one that does. */
  mismatches(
    name: FlowProtocol,
    view: DataView,
    destinationAt: number,
    addressLength: number,
    port: number,
  ): (ListenerMismatch | undefined)[] {
    return this.#compiled.map((one) =>
      mismatchOf(one, name, view, destinationAt, addressLength, port),
    );
  }

  /** The rule of that name, if flows can be given to it. */
  named(name: string): ListenerRule | undefined {
    const rule = this.#compiled.find((one) => one.rule.name === name)?.rule;
    return rule?.action.kind === 'prefix' ? undefined : rule;
  }

  rule(index: number): ListenerRule {
    return this.#compiled[index]!.rule;
  }
}

function mismatchOf(
  { rule, prefixes }: Compiled,
  name: FlowProtocol | undefined,
  view: DataView,
  destinationAt: number,
  addressLength: number,
  port: number,
): ListenerMismatch | undefined {
  // It is about packets, of which none begins a flow: see `Flows.isTakenBefore`.
  if (rule.action.kind === 'prefix') return 'prefix';
  if (rule.protocol !== 'any' && rule.protocol !== name) return 'protocol';
  if (!includesPort(rule.ports, port)) return 'port';
  return isInside(prefixes, view, destinationAt, addressLength) ? undefined : 'destination';
}

/** No range at all is every port. */
function includesPort(ports: ListenerRule['ports'], port: number): boolean {
  if (ports.length === 0) return true;
  for (let i = 0; i < ports.length; i++) {
    const range = ports[i]!;
    if (port >= range[0] && port <= range[1]) return true;
  }
  return false;
}

/** No prefix at all is every destination. */
function isInside(
  prefixes: Compiled['prefixes'],
  view: DataView,
  destinationAt: number,
  addressLength: number,
): boolean {
  if (prefixes.length === 0) return true;
  for (let i = 0; i < prefixes.length; i++) {
    const { bytes, prefixLength } = prefixes[i]!;
    if (bytes.length !== addressLength) continue;
    if (matchesPrefix(view, destinationAt, bytes, prefixLength)) return true;
  }
  return false;
}
