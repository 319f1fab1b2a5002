/** Reads `src=10.0.0.0/8 port=443 verdict!=forward`: every term must hold. */
import { BlockList } from 'node:net';
import { parseCidr } from '../config/values.ts';
import type { FlowView } from './flow-view.ts';

export type FlowPredicate = (flow: FlowView) => boolean;

/** A filter that cannot be read; the message names the term. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
  readonly code = 'BAD_FILTER';
}

const FIELDS: Readonly<Record<string, (value: string) => FlowPredicate>> = {
  src: (value) => inNetwork(value, (flow) => flow.src),
  dst: (value) => inNetwork(value, (flow) => flow.dst),
  port: (value) => hasPort(value, (flow) => flow.dst_port),
  src_port: (value) => hasPort(value, (flow) => flow.src_port),
  proto: (value) => isWord(value, (flow) => flow.proto),
  verdict: (value) => isWord(value, (flow) => flow.verdict),
  script: (value) => isWord(value, (flow) => flow.script),
  rule: (value) => isWord(value, (flow) => flow.rule),
  state: (value) => isWord(value, (flow) => flow.state),
  phase: (value) => isWord(value, (flow) => flow.phase),
};

/**
 * Terms are separated by spaces or commas; an empty filter takes every flow.
 *
 * @throws FilterError
 */
export function parseFilter(text: string): FlowPredicate {
  const terms = text.split(/[\s,]+/).filter((term) => term !== '');
  const predicates = terms.map(parseTerm);
  return (flow) => predicates.every((holds) => holds(flow));
}

function parseTerm(term: string): FlowPredicate {
  const match = /^(\w+)(!?=)(.+)$/.exec(term);
  if (match === null) throw new FilterError(`"${term}" is not of the form field=value`);
  const [, field = '', operator, value = ''] = match;
  const make = FIELDS[field];
  if (make === undefined || !Object.hasOwn(FIELDS, field)) {
    throw new FilterError(`"${field}" is no field: ${Object.keys(FIELDS).join(', ')}`);
  }
  const holds = make(value);
  return operator === '=' ? holds : (flow) => !holds(flow);
}

function inNetwork(value: string, pick: (flow: FlowView) => string): FlowPredicate {
  const cidr = parseCidr(value);
  if (cidr === undefined) throw new FilterError(`"${value}" is no address or network`);
  const network = new BlockList();
  network.addSubnet(cidr.ip, cidr.prefixLength, cidr.family === 4 ? 'ipv4' : 'ipv6');
  return (flow) => {
    const address = pick(flow);
    return network.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
  };
}

function hasPort(value: string, pick: (flow: FlowView) => number): FlowPredicate {
  if (!/^\d{1,5}$/.test(value)) throw new FilterError(`"${value}" is no port`);
  return (flow) => pick(flow) === Number(value);
}

function isWord(value: string, pick: (flow: FlowView) => string | undefined): FlowPredicate {
  const wanted = value.toLowerCase();
  return (flow) => pick(flow)?.toLowerCase() === wanted;
}
