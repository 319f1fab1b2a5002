/** What is known of flows beside their rows. */

/** Knows what numbers in a row stand for. */
export interface FlowNames {
  scriptName(generation: number, index: number): string | undefined;
  listenerName(generation: number, index: number): string | undefined;
  upstreamName(id: number): string | undefined;
}

export interface FlowContext {
  readonly names: FlowNames;
  readonly iface: string;
  /** CLOCK_MONOTONIC in microseconds. */
  readonly nowUs: number;
  /** Milliseconds since 1970 at `nowUs`. */
  readonly nowMs: number;
}
