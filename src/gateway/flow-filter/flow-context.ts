/** What is known of flows beside their rows. */

/** Knows what numbers in a row stand for. */
export interface FlowNames {
  scriptName(generation: number, index: number): string | undefined;
  listenerName(generation: number, index: number): string | undefined;
  upstreamName(id: number): string | undefined;
}

/** What script hosts have found out about a flow. */
export interface FlowFacts {
  /** What its client speaks. */
  readonly sniff?: {
    readonly proto: string;
    readonly sni?: string;
    readonly host?: string;
    readonly alpn?: readonly string[];
  };
  /** By which its upstream was dialled; empty of an address. */
  readonly dnsName?: string;
  /** The listener to which a script gave it. */
  readonly rule?: string;
  readonly seenName?: string;
}

export interface FlowContext {
  readonly names: FlowNames;
  readonly iface: string;
  /** CLOCK_MONOTONIC in microseconds. */
  readonly nowUs: number;
  /** Milliseconds since 1970 at `nowUs`. */
  readonly nowMs: number;
  /** What is known of a flow, by its serial number, that is not in its row. */
  readonly noteOf?: (serial: number) => FlowFacts | undefined;
}
