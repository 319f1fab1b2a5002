/**
 * Tells scripts of the end of flows that they let through. A script host is asked to take some, and
 * no more until it has; what ends faster than that is left out and counted.
 */
import { FLOW_ROW_BYTES, type FlowSnapshot, readFlowRow } from '../../../stack/flow-row.ts';
import type { FlowProtocol } from '../../../stack/verdict.ts';
import type { FlowContext, FlowNames } from '../../flow-filter/flow-context.ts';
import type { EndedFlow } from '../../messages/script-control.ts';

/** Of one message. */
const BATCH_FLOWS = 256;
/** That wait for a host: some megabytes. */
const QUEUE_MAX = 8192;

const LET_THROUGH: readonly string[] = ['forward', 'nat', 'redirect', 'claim'];
const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'icmp'] satisfies FlowProtocol[];

export class ClosedFlows {
  /** Flows that no script heard of. */
  dropped = 0;
  readonly #send: (flows: readonly EndedFlow[]) => void;
  #closers: ReadonlySet<string> = new Set();
  #queue: EndedFlow[] = [];
  #isBusy = false;

  constructor(send: (flows: readonly EndedFlow[]) => void) {
    this.#send = send;
  }

  /** A host is there, in which scripts of these names want to hear of ends. */
  start(closers: readonly string[]): void {
    this.#closers = new Set(closers);
    if (closers.length === 0) this.#queue = [];
    this.#isBusy = false;
    this.#sendSome();
  }

  /** Other scripts are in the host that is there: a canary, say. */
  watch(closers: readonly string[]): void {
    this.#closers = new Set(closers);
  }

  /** The host is gone, with what it was told last. */
  stop(): void {
    // What ends meanwhile waits for the next one.
    this.#isBusy = true;
  }

  /** Rows of flows that ended. */
  take(rows: Uint8Array, names: FlowNames, noteOf?: FlowContext['noteOf']): void {
    if (this.#closers.size === 0) return;
    const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
    for (let at = 0; at + FLOW_ROW_BYTES <= rows.byteLength; at += FLOW_ROW_BYTES) {
      const flow = readFlowRow(view, at);
      const script = flow && scriptOf(flow, names);
      if (flow === undefined || script === undefined || !this.#closers.has(script)) continue;
      if (this.#queue.length >= QUEUE_MAX) this.dropped++;
      else this.#queue.push(endedFlow(flow, script, noteOf?.(flow.serial)?.seenName));
    }
    this.#sendSome();
  }

  /** The host has told its scripts of all that was sent. */
  told(): void {
    this.#isBusy = false;
    this.#sendSome();
  }

  #sendSome(): void {
    if (this.#isBusy || this.#queue.length === 0) return;
    this.#isBusy = true;
    this.#send(this.#queue.splice(0, BATCH_FLOWS));
  }
}

/** Name of the script that let the flow through. */
function scriptOf(flow: FlowSnapshot, names: FlowNames): string | undefined {
  const isOurs = flow.decider === 'script' && LET_THROUGH.includes(flow.verdict);
  if (!isOurs || !PROTOCOLS.includes(flow.protocol)) return undefined;
  return names.scriptName(flow.generation, flow.deciderIndex);
}

const endedFlow = (flow: FlowSnapshot, script: string, dnsName?: string): EndedFlow => ({
  script,
  generation: flow.generation,
  flow: {
    flow: flow.serial,
    protocol: flow.protocol as FlowProtocol,
    source: flow.source,
    destination: flow.destination,
    ...(dnsName === undefined ? {} : { dnsName }),
  },
  result: {
    bytesUp: flow.bytesUp,
    bytesDown: flow.bytesDown,
    durationMs: Math.max(0, Math.round((flow.lastUsedAt - flow.startedAt) / 1000)),
    reason: flow.closeReason,
  },
});
