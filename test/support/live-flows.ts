/** Flows that the gateway has now, as `/v1/flows` shows them. */
import type { Gateway } from './gateway.ts';

/** Some of the fields. */
export interface LiveFlow {
  readonly id: string;
  readonly proto: string;
  readonly dst: string;
  readonly dst_port: number;
  readonly verdict: string;
  readonly carrier: string;
  readonly decider: string;
  readonly rule?: string;
  readonly script?: string;
}

const PAGE = 1000;

/** Those to one destination; of ICMP the port is 0. */
export async function flowsTo(gateway: Gateway, dst: string, port: number): Promise<LiveFlow[]> {
  const { flows } = await gateway.json<{ flows: LiveFlow[] }>(`/v1/flows?limit=${PAGE}`);
  return flows.filter((flow) => flow.dst === dst && flow.dst_port === port);
}
