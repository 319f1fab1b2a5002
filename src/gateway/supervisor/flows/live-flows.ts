/** Live flows, read from the memory of the data plane. */
import { Decider, FlowField, type FlowSnapshot, PROTOCOL_NAMES } from '../../../stack/flow-row.ts';
import type { FlowReader } from '../../../stack/layout.ts';
import type { FlowRef } from '../../messages/control.ts';
import type { Filter, RowTest } from './filter/fields.ts';
import { type FlowContext, type FlowView, flowId, viewFlow } from './flow-view.ts';

export interface LiveFlowView extends FlowView {
  readonly id: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Row where the next page starts; absent at the end. */
  readonly next?: number;
}

export interface PageRequest {
  readonly filter: Filter;
  /** Row to start from. */
  readonly from: number;
  readonly limit: number;
}

interface ScriptFlowCount {
  readonly script: string;
  readonly generation: number;
  readonly count: number;
}

/** Live flows by script and generation, and by protocol. */
export interface Census {
  readonly scripts: readonly ScriptFlowCount[];
  readonly protocols: ReadonlyMap<string, number>;
}

export class LiveFlows {
  readonly #reader: FlowReader;
  readonly #context: () => FlowContext;

  constructor(reader: FlowReader, context: () => FlowContext) {
    this.#reader = reader;
    this.#context = context;
  }

  get capacity(): number {
    return this.#reader.capacity;
  }

  /**
   * One page, in the order of rows; a flow that comes or goes meanwhile may be missed. Only what
   * passes the filter is decoded.
   */
  page<T>(
    { filter, from, limit }: PageRequest,
    show: (flow: FlowSnapshot, context: FlowContext, row: number) => T,
  ): Page<T> {
    const context = this.#context();
    const items: T[] = [];
    let next: number | undefined;
    this.#each(filter(context), from, (row, serial) => {
      const flow = this.#reader.snapshot(row);
      if (flow?.serial !== serial) return true;
      if (items.length < limit) items.push(show(flow, context, row));
      else next = row;
      return next === undefined;
    });
    return next === undefined ? { items } : { items, next };
  }

  /** The flow and its row; undefined when it has ended. */
  find(serial: number): { readonly row: number; readonly flow: LiveFlowView } | undefined {
    for (let row = 0; row < this.capacity; row++) {
      if (this.#reader.serialOf(row) !== serial) continue;
      const flow = this.#reader.snapshot(row);
      if (flow?.serial === serial) return { row, flow: viewLiveFlow(flow, this.#context()) };
    }
    return undefined;
  }

  count(filter: Filter): number {
    let count = 0;
    this.#each(filter(this.#context()), 0, () => {
      count++;
      return true;
    });
    return count;
  }

  refs(filter: Filter): readonly FlowRef[] {
    const refs: FlowRef[] = [];
    this.#each(filter(this.#context()), 0, (row, serial) => {
      refs.push({ row, serial });
      return true;
    });
    return refs;
  }

  /**
   * Every row is looked at, each time somebody asks for metrics, so that nothing is decoded but
   * what is counted; a row that changes hands at that moment may be counted for the wrong one.
   */
  census(): Census {
    const reader = this.#reader;
    const scripts = new Map<number, number>();
    const protocols = new Float64Array(PROTOCOLS);
    for (let row = 0; row < this.capacity; row++) {
      if (reader.serialOf(row) === 0) continue;
      const view = reader.viewOf(row);
      const at = reader.positionOf(row);
      protocols[view.getUint8(at + FlowField.PROTOCOL)]! += 1;
      if (view.getUint8(at + FlowField.DECIDER) !== Decider.SCRIPT) continue;
      const generation = view.getUint32(at + FlowField.GENERATION, true);
      const key = generation * KEY_STEP + view.getUint32(at + FlowField.DECIDER_INDEX, true);
      scripts.set(key, (scripts.get(key) ?? 0) + 1);
    }
    return { scripts: this.#named(scripts), protocols: sumByName(protocols) };
  }

  #named(counts: ReadonlyMap<number, number>): ScriptFlowCount[] {
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

  /** Calls `take` for each flow that passes, from row `from` on, until it returns false. */
  #each(test: RowTest, from: number, take: (row: number, serial: number) => boolean): void {
    const reader = this.#reader;
    for (let row = from; row < this.capacity; row++) {
      const serial = reader.serialOf(row);
      if (serial === 0 || !test(reader.viewOf(row), reader.positionOf(row))) continue;
      // Else the row changed hands, and who knows which of the two has passed.
      if (reader.serialOf(row) === serial && !take(row, serial)) return;
    }
  }
}

const PROTOCOLS = 256;
/** More than a bundle has scripts; with 32 bits of generation a key stays an exact integer. */
const KEY_STEP = 2 ** 16;

/** Those with a name, which are always there, and `other`. */
function sumByName(counts: Float64Array): ReadonlyMap<string, number> {
  const sums = new Map(Object.values(PROTOCOL_NAMES).map((name) => [name, 0]));
  sums.set('other', 0);
  for (const [protocol, count] of counts.entries()) {
    const name = PROTOCOL_NAMES[protocol] ?? 'other';
    sums.set(name, (sums.get(name) ?? 0) + count);
  }
  return sums;
}

export const viewLiveFlow = (flow: FlowSnapshot, context: FlowContext): LiveFlowView => ({
  id: flowId(flow.serial),
  ...viewFlow(flow, context.nowUs, context),
});
