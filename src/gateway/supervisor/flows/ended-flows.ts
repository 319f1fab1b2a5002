/** What becomes of rows of flows that ended: a log line and a place in the histogram. */
import {
  FLOW_ROW_BYTES,
  FlowField,
  type FlowSnapshot,
  flowDurationUs,
  flowVerdict,
  PROTOCOL_NAMES,
  readFlowRow,
} from '../../../stack/flow-row.ts';
import type { FlowContext } from '../../flow-filter/flow-context.ts';
import { flowId } from '../../flow-filter/flow-id.ts';
import type { Logger } from '../log/logger.ts';
import { Histogram } from '../metrics/histogram.ts';
import { viewEndedFlow } from './flow-view.ts';

/** Upper bounds in seconds: from a refused scan to a session of a day. */
const DURATION_BOUNDS_S = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 86_400];

const US_PER_S = 1_000_000;

export interface FlowDurations {
  readonly proto: string;
  readonly verdict: string;
  readonly histogram: Histogram;
}

export class EndedFlows {
  readonly #durations = new Map<string, FlowDurations>();
  readonly #log: Logger;
  readonly #context: () => FlowContext;

  constructor(log: Logger, context: () => FlowContext) {
    this.#log = log;
    this.#context = context;
  }

  /** How long flows lived. */
  get durations(): readonly FlowDurations[] {
    return [...this.#durations.values()];
  }

  /** @param logged  write a line for each flow */
  take(rows: Uint8Array, logged: boolean): void {
    const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
    for (let at = 0; at + FLOW_ROW_BYTES <= rows.byteLength; at += FLOW_ROW_BYTES) {
      const proto = PROTOCOL_NAMES[view.getUint8(at + FlowField.PROTOCOL)] ?? 'other';
      this.#of(proto, flowVerdict(view, at)).observe(flowDurationUs(view, at) / US_PER_S);
    }
    if (!logged) return;
    const context = this.#context();
    for (let at = 0; at + FLOW_ROW_BYTES <= rows.byteLength; at += FLOW_ROW_BYTES) {
      const flow = readFlowRow(view, at);
      if (flow !== undefined) this.#write(flow, context);
    }
  }

  #write(flow: FlowSnapshot, context: FlowContext): void {
    const { phase: _, ...fields } = viewEndedFlow(flow, context);
    const line = { event: 'flow', flow_id: flowId(flow.serial), ...fields };
    this.#log.info({ ...line, orig_dst: fields.dst }, 'flow');
  }

  #of(proto: string, verdict: string): Histogram {
    const key = `${proto} ${verdict}`;
    const known = this.#durations.get(key);
    if (known !== undefined) return known.histogram;
    const histogram = new Histogram(DURATION_BOUNDS_S);
    this.#durations.set(key, { proto, verdict, histogram });
    return histogram;
  }
}
