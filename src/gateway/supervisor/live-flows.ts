/** Live flows, read from the memory of the data plane. */
import { Decider, FLOW_ROW_BYTES, FlowField, type FlowSnapshot } from '../../stack/flow-row.ts';
import { FlowReader, type StateLimits } from '../../stack/layout.ts';
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

export interface ScriptFlowCount {
  readonly script: string;
  readonly generation: number;
  readonly count: number;
}

export interface PageRequest {
  readonly filter: FlowPredicate;
  /** Row to start from. */
  readonly from: number;
  readonly limit: number;
}

export class LiveFlows {
  readonly #view: DataView;
  readonly #reader: FlowReader;
  readonly #context: () => FlowContext;

  /** @param memory  of the data plane, as stack/layout.ts lays it out */
  constructor(memory: ArrayBuffer, limits: StateLimits, context: () => FlowContext) {
    this.#view = new DataView(memory);
    this.#reader = new FlowReader(memory, limits);
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
      if (this.#serialOf(row) !== serial) continue;
      const flow = this.#reader.snapshot(row);
      if (flow?.serial === serial) return { row, flow: toView(flow, this.#context()) };
    }
    return undefined;
  }

  /**
   * Live flows per script and generation. Every row is looked at, each time somebody asks for
   * metrics, so that nothing is decoded but what is counted; a row that changes hands at that
   * moment may be counted for the wrong one.
   */
  countByScript(): readonly ScriptFlowCount[] {
    const view = this.#view;
    const counts = new Map<number, number>();
    for (let row = 0; row < this.#reader.capacity; row++) {
      const at = row * FLOW_ROW_BYTES;
      if (this.#serialOf(row) === 0) continue;
      if (view.getUint8(at + FlowField.DECIDER) !== Decider.SCRIPT) continue;
      const generation = view.getUint32(at + FlowField.GENERATION, true);
      const key = generation * KEY_STEP + view.getUint32(at + FlowField.DECIDER_INDEX, true);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const { names } = this.#context();
    return [...counts].map(([key, count]) => {
      const generation = Math.floor(key / KEY_STEP);
      return {
        script: names.scriptName(generation, key % KEY_STEP) ?? 'unknown',
        generation,
        count,
      };
    });
  }

  /** 0 of a row that is free. */
  #serialOf(row: number): number {
    return this.#view.getFloat64(row * FLOW_ROW_BYTES + FlowField.SERIAL, true);
  }
}

/** More than a bundle has scripts; with 32 bits of generation a key stays an exact integer. */
const KEY_STEP = 2 ** 16;

const toView = (flow: FlowSnapshot, context: FlowContext): LiveFlowView => ({
  id: flowId(flow.serial),
  ...viewFlow(flow, context.nowUs, context),
});
