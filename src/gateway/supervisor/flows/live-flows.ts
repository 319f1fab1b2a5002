/** Live flows, read from the memory of the data plane. */
import {
  Decider,
  FlowField,
  FlowPhase,
  type FlowSnapshot,
  PROTOCOL_NAMES,
  VERDICT_NAMES,
} from '../../../stack/flow-row.ts';
import type { FlowReader } from '../../../stack/layout.ts';
import type { Filter, RowTest } from '../../flow-filter/fields.ts';
import type { FlowContext } from '../../flow-filter/flow-context.ts';
import { flowId } from '../../flow-filter/flow-id.ts';
import type { FlowRef } from '../../messages/control.ts';
import { type TcpView, viewTcp } from './flow-info.ts';
import { type FlowView, viewFlow } from './flow-view.ts';

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

interface FlowCount {
  readonly proto: string;
  readonly verdict: string;
  readonly count: number;
}

/** Rows by script and generation, by protocol, and those of flows that are not over. */
export interface Census {
  readonly scripts: readonly ScriptFlowCount[];
  readonly flows: readonly FlowCount[];
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

  /** The connection in a row, where our TCP ends the flow. */
  connection(row: number, flow: FlowSnapshot, nowUs: number): TcpView | undefined {
    const isOurs = flow.protocol === 'tcp' && flow.trackState === 'NONE';
    return isOurs ? viewTcp(this.#reader.connection(row), nowUs) : undefined;
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
    const verdicts = new Map<number, number>();
    for (let row = 0; row < this.capacity; row++) {
      if (reader.serialOf(row) === 0) continue;
      const view = reader.viewOf(row);
      const at = reader.positionOf(row);
      const protocol = view.getUint8(at + FlowField.PROTOCOL);
      protocols[protocol]! += 1;
      if (view.getUint8(at + FlowField.PHASE) !== FlowPhase.TIME_WAIT) {
        const pair = view.getUint8(at + FlowField.VERDICT) * PROTOCOLS + protocol;
        verdicts.set(pair, (verdicts.get(pair) ?? 0) + 1);
      }
      if (view.getUint8(at + FlowField.DECIDER) !== Decider.SCRIPT) continue;
      const generation = view.getUint32(at + FlowField.GENERATION, true);
      const key = generation * KEY_STEP + view.getUint32(at + FlowField.DECIDER_INDEX, true);
      scripts.set(key, (scripts.get(key) ?? 0) + 1);
    }
    return {
      scripts: this.#named(scripts),
      flows: byName(verdicts),
      protocols: sumByName(protocols),
    };
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

/** Protocols without a name are one. */
function byName(verdicts: ReadonlyMap<number, number>): FlowCount[] {
  const counts = new Map<string, FlowCount>();
  for (const [pair, count] of verdicts) {
    const proto = PROTOCOL_NAMES[pair % PROTOCOLS] ?? 'other';
    const verdict = VERDICT_NAMES[Math.floor(pair / PROTOCOLS)] ?? 'unknown';
    const key = `${proto} ${verdict}`;
    counts.set(key, { proto, verdict, count: count + (counts.get(key)?.count ?? 0) });
  }
  return [...counts.values()];
}

/** Those with a name, which are always there, and `other`. */
function sumByName(counts: Float64Array): ReadonlyMap<string, number> {
  const sums = new Map<string, number>(Object.values(PROTOCOL_NAMES).map((name) => [name, 0]));
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
