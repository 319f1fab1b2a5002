/** A flow as logs and the API show it: one set of names for both. */
import type { FlowSnapshot } from '../../../stack/flow-row.ts';
import { DIRECT, formatEndpoint } from '../../../stack/verdict.ts';
import type { FlowContext, FlowFacts, FlowNames } from '../../flow-filter/flow-context.ts';

/** The fields of a flow, named as in the log; times in milliseconds. */
export interface FlowView {
  readonly proto: string;
  readonly src: string;
  readonly src_port: number;
  readonly dst: string;
  readonly dst_port: number;
  readonly iface: string;
  /** What the client speaks, where a script has looked. */
  readonly sniff?: FlowFacts['sniff'] | undefined;
  /** The name that the script gave for the upstream, else the one that the client asked DNS for. */
  readonly dns_name?: string | undefined;
  /** The name that the client asked DNS for, where that was seen. */
  readonly seen_name?: string | undefined;
  readonly phase: string;
  /** Of RFC 9293 where our TCP ends the flow, of nf_conntrack where it is only watched. */
  readonly state: string;
  readonly carrier: string;
  readonly verdict: string;
  readonly decider: string;
  readonly script?: string | undefined;
  readonly script_version?: number | undefined;
  /** Name of the listener that decided, or to which the script gave it. */
  readonly rule?: string | undefined;
  /** Name of the upstream; `direct` for none, or a service inside the gateway. */
  readonly upstream?: string | undefined;
  /** Of a proxy, where it was asked to go. */
  readonly upstream_addr?: string | undefined;
  /** The source that the upstream sees, when it is not the client. */
  readonly nat_addr?: string | undefined;
  /** When the client is answered: after the dial, before it, or with a SYN cookie. */
  readonly handshake?: string | undefined;
  /** RFC 3339 */
  readonly start: string;
  readonly duration_ms: number;
  readonly decision_ms: number;
  readonly connect_ms: number;
  /** From the first packet to the first byte of the upstream. */
  readonly ttfb_ms?: number | undefined;
  readonly bytes_up: number;
  readonly bytes_down: number;
  readonly pkts_up: number;
  readonly pkts_down: number;
  readonly retrans: number;
  readonly rtt_ms: number;
}

export interface EndedFlowView extends FlowView {
  readonly close_by: string;
  readonly close_reason: string;
}

/** @param untilUs  where the duration ends: now for a live flow, the last packet of an ended one */
export function viewFlow(flow: FlowSnapshot, untilUs: number, context: FlowContext): FlowView {
  const { names, iface, nowMs, nowUs } = context;
  const isScript = flow.decider === 'script';
  const { sniff, dnsName, seenName, rule } = context.noteOf?.(flow.serial) ?? {};
  return {
    proto: flow.protocol,
    src: flow.source.ip,
    src_port: flow.source.port,
    dst: flow.destination.ip,
    dst_port: flow.destination.port,
    iface,
    sniff,
    dns_name: dnsName || seenName,
    seen_name: seenName,
    phase: flow.phase,
    state: flowState(flow),
    carrier: flow.carrier,
    verdict: flow.verdict,
    decider: flow.decider,
    script: isScript ? names.scriptName(flow.generation, flow.deciderIndex) : undefined,
    script_version: isScript ? flow.generation : undefined,
    rule:
      flow.decider === 'listener' ? names.listenerName(flow.generation, flow.deciderIndex) : rule,
    upstream: flow.service ?? upstreamOf(flow, names),
    upstream_addr: flow.upstream === undefined ? undefined : formatEndpoint(flow.upstream),
    nat_addr: flow.natSource === undefined ? undefined : formatEndpoint(flow.natSource),
    handshake: flow.handshake,
    start: new Date(nowMs - (nowUs - flow.startedAt) / 1000).toISOString(),
    duration_ms: toMs(Math.max(0, untilUs - flow.startedAt)),
    decision_ms: toMs(flow.decisionUs),
    connect_ms: toMs(flow.connectUs),
    ttfb_ms: flow.firstByteUs === 0 ? undefined : toMs(flow.firstByteUs),
    bytes_up: flow.bytesUp,
    bytes_down: flow.bytesDown,
    pkts_up: flow.packetsUp,
    pkts_down: flow.packetsDown,
    retrans: flow.retransmits,
    rtt_ms: toMs(flow.srttUs),
  };
}

export const viewEndedFlow = (flow: FlowSnapshot, context: FlowContext): EndedFlowView => ({
  ...viewFlow(flow, flow.lastUsedAt, context),
  close_by: flow.closedBy,
  close_reason: flow.closeReason,
});

function upstreamOf(flow: FlowSnapshot, names: FlowNames): string | undefined {
  if (flow.via !== 0) return names.upstreamName(flow.via);
  return flow.upstream === undefined ? undefined : DIRECT;
}

/** The name that TrackState has for a flow that is not tracked. */
const UNTRACKED = 'NONE';

export const flowState = ({ trackState, tcpState }: FlowSnapshot): string =>
  trackState === UNTRACKED ? tcpState : trackState;

const toMs = (us: number): number => Math.round(us) / 1000;
