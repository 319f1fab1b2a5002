/** A flow by its addresses alone, as it would begin. */
import { familyOf } from '../../config/value-texts.ts';
import type { RecordedFlow } from '../../messages/script-control.ts';

/** As the API and logs name it. */
export interface FlowAddresses {
  readonly proto: 'tcp' | 'udp' | 'icmp';
  readonly src: string;
  readonly src_port: number;
  readonly dst: string;
  readonly dst_port: number;
  readonly dns_name?: string | undefined;
}

/** Addresses do not say how the SYN was; this is how most are. */
const USUAL_SYN = { mss: 1460, windowScale: 7, ttl: 64, ecn: false };

export const toRecordedFlow = (flow: FlowAddresses): RecordedFlow => ({
  protocol: flow.proto,
  source: { ip: flow.src, port: flow.src_port, family: familyOf(flow.src) },
  destination: { ip: flow.dst, port: flow.dst_port, family: familyOf(flow.dst) },
  ...(flow.proto === 'tcp' ? { syn: USUAL_SYN } : {}),
  ...(flow.dns_name === undefined ? {} : { dnsName: flow.dns_name }),
});
