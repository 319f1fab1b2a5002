/** Live flows, read from the memory of the data plane. */
import type { FlowSnapshot } from '../../stack/flow-row.ts';
import type { FlowReader } from '../../stack/layout.ts';
import type { FlowPredicate } from './flow-filter.ts';
import { type FlowContext, type FlowView, flowId, viewFlow } from './flow-view.ts';

export interface LiveFlowView extends FlowView {
  readonly id: string;
}

export interface FlowPage {
  readonly flows: readonly LiveFlowView[];
  /** Where the next page starts; absent at the end. */
  readonly next?: number;
}

export interface PageRequest {
  readonly filter: FlowPredicate;
  /** Row to start from. */
  readonly from: number;
  readonly limit: number;
}

export class LiveFlows {
  readonly #reader: FlowReader;
  readonly #context: () => FlowContext;

  constructor(reader: FlowReader, context: () => FlowContext) {
    this.#reader = reader;
    this.#context = context;
  }

  /** One page, in the order of rows; a flow that comes or goes meanwhile may be missed. */
  page({ filter, from, limit }: PageRequest): FlowPage {
    const context = this.#context();
    const flows: LiveFlowView[] = [];
    for (let row = from; row < this.#reader.capacity; row++) {
      const flow = this.#reader.snapshot(row);
      if (flow === undefined) continue;
      const view = toView(flow, context);
      if (!filter(view)) continue;
      if (flows.length === limit) return { flows, next: row };
      flows.push(view);
    }
    return { flows };
  }

  /** The flow and its row; undefined when it has ended. */
  find(serial: number): { readonly row: number; readonly flow: LiveFlowView } | undefined {
    for (let row = 0; row < this.#reader.capacity; row++) {
      const flow = this.#reader.snapshot(row);
      if (flow?.serial === serial) return { row, flow: toView(flow, this.#context()) };
    }
    return undefined;
  }

  /** Live flows per script and generation. */
  countByScript(): ReadonlyMap<string, { script: string; generation: number; count: number }> {
    const { names } = this.#context();
    const counts = new Map<string, { script: string; generation: number; count: number }>();
    for (let row = 0; row < this.#reader.capacity; row++) {
      const flow = this.#reader.snapshot(row);
      if (flow?.decider !== 'script') continue;
      const { generation, deciderIndex } = flow;
      const key = `${generation}/${deciderIndex}`;
      const script = names.scriptName(generation, deciderIndex) ?? 'unknown';
      const entry = counts.get(key) ?? { script, generation, count: 0 };
      entry.count++;
      counts.set(key, entry);
    }
    return counts;
  }
}

const toView = (flow: FlowSnapshot, context: FlowContext): LiveFlowView => ({
  id: flowId(flow.serial),
  ...viewFlow(flow, context.nowUs, context),
});
