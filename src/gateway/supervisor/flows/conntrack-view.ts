/** A flow as connection tracking shows it: two tuples, what each direction carried, and a state. */
import type { FlowSnapshot } from '../../../stack/flow-row.ts';
import type { Endpoint } from '../../../stack/verdict.ts';
import { Protocol } from '../../../stack/wire/protocol.ts';
import type { FlowContext } from '../../flow-filter/flow-context.ts';
import { flowId } from '../../flow-filter/flow-id.ts';
import { flowState } from './flow-view.ts';

/** What a packet of one direction has in its headers when it enters the gateway. */
export interface TupleView {
  readonly src: string;
  readonly dst: string;
  /** Absent where the protocol has no ports. */
  readonly sport?: number;
  readonly dport?: number;
  /** Identifier of an ICMP echo. */
  readonly icmp_id?: number;
  readonly packets: number;
  readonly bytes: number;
}

export interface ConntrackView {
  readonly id: string;
  readonly family: 4 | 6;
  readonly proto: string;
  readonly carrier: string;
  readonly state: string;
  /** Until the entry expires without another packet; absent where no such time is kept. */
  readonly expires_ms?: number;
  /** A packet of the reply direction was seen. */
  readonly replied: boolean;
  /** It does not give way when the table is full. */
  readonly assured: boolean;
  readonly original: TupleView;
  readonly reply: TupleView;
}

export function viewConntrack(flow: FlowSnapshot, { nowUs }: FlowContext): ConntrackView {
  const { source, destination, upstream, natSource } = flow;
  // Only a rewritten flow has other addresses in its replies than a client expects in them.
  const isRewritten = flow.carrier === 'nat';
  const repliesFrom = (isRewritten ? upstream : undefined) ?? destination;
  const repliesTo = (isRewritten ? natSource : undefined) ?? source;
  const up = { packets: flow.packetsUp, bytes: flow.bytesUp };
  const down = { packets: flow.packetsDown, bytes: flow.bytesDown };
  const expiresUs = Math.max(0, flow.expiresAt - nowUs);
  return {
    id: flowId(flow.serial),
    family: source.family,
    proto: flow.protocol,
    carrier: flow.carrier,
    state: flowState(flow),
    ...(flow.expiresAt === 0 ? {} : { expires_ms: Math.round(expiresUs / 1000) }),
    replied: flow.hasReply || flow.packetsDown > 0,
    assured: flow.isAssured,
    original: { ...endsOf(flow, source, destination, source.port), ...up },
    reply: { ...endsOf(flow, repliesFrom, repliesTo, repliesTo.port), ...down },
  };
}

/** @param icmpId  stands in the row where other protocols have the port of the client's side */
function endsOf({ protocol }: FlowSnapshot, from: Endpoint, to: Endpoint, icmpId: number) {
  const addresses = { src: from.ip, dst: to.ip };
  if (protocol === 'icmp') return { ...addresses, icmp_id: icmpId };
  if (from.port === 0 && to.port === 0) return addresses;
  return { ...addresses, sport: from.port, dport: to.port };
}

/** The IANA number; of ICMP there is one for each family. */
export function protocolNumber(proto: string, family: 4 | 6): number {
  switch (proto) {
    case 'tcp':
      return Protocol.TCP;
    case 'udp':
      return Protocol.UDP;
    case 'icmp':
      return family === 4 ? Protocol.ICMP : Protocol.ICMPV6;
    default:
      return Number(proto);
  }
}
