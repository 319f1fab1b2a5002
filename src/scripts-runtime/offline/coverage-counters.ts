/** What instrumented scripts count, summed up over all sandboxes in which they run. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { GuestExtension } from '../engine/guest-extension.ts';
import coverageModule from '../guest/coverage.js' with { type: 'text' };
import { type HostFunctions, readNumber, readText } from '../host-functions/arguments.ts';

const COUNTER_BYTES = Uint32Array.BYTES_PER_ELEMENT;
/** Of one file: a script of the largest size has fewer. */
const COUNTERS_MAX = 1_000_000;

/** How often, by the path of the file: as CoverageCounts of a report. */
export type CoverageSums = Map<string, number[]>;

/** Counters of one file in one sandbox. */
interface Counting {
  readonly path: string;
  readonly context: QuickJSContext;
  /** An `ArrayBuffer`. */
  readonly memory: QuickJSHandle;
}

/** Of sandboxes that live equally long. */
export class CoverageCounters {
  /** For each of the sandboxes. */
  readonly extension: GuestExtension = {
    modules: new Map([['culvert:coverage', coverageModule]]),
    functions: (context) => this.#functions(context),
  };
  readonly #sums: CoverageSums;
  #counting: Counting[] = [];

  /** @param sums  what `collect` adds to */
  constructor(sums: CoverageSums) {
    this.#sums = sums;
  }

  /** Takes what was counted until now; the sandboxes may be dropped then. */
  collect(): void {
    const counting = this.#counting;
    this.#counting = [];
    for (const { path, context, memory } of counting) this.#add(path, read(context, memory));
  }

  #add(path: string, counters: Uint32Array): void {
    const sums = this.#sums.get(path) ?? [];
    for (const [index, count] of counters.entries()) sums[index] = (sums[index] ?? 0) + count;
    this.#sums.set(path, sums);
  }

  #functions(context: QuickJSContext): HostFunctions {
    return {
      coverageCounters: (path, count) => {
        const length = Math.min(readNumber(context, count), COUNTERS_MAX) * COUNTER_BYTES;
        const memory = context.newArrayBuffer(new ArrayBuffer(length));
        this.#counting.push({ path: readText(context, path) ?? '', context, memory });
        return memory.dup();
      },
    };
  }
}

/** Nothing of the sandbox runs for that, so it may be one that a limit has ended. */
function read(context: QuickJSContext, memory: QuickJSHandle): Uint32Array {
  using bytes = context.getArrayBuffer(memory);
  return new Uint32Array(bytes.value.slice().buffer);
}
