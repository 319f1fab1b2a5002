/**
 * One QuickJS in one WebAssembly instance, and the budget of a turn in it. Each script of each
 * generation has an engine of its own: what breaks is thrown away whole, memory and all, because
 * after a limit was hit a runtime cannot be trusted to be disposed of cleanly.
 *
 * The budget is processor time, read when QuickJS asks whether to go on. It does not ask inside
 * its native operations; for those there is the supervisor's watchdog.
 */
import type {
  JSModuleLoadResult,
  JSModuleNormalizeResult,
  QuickJSContext,
  QuickJSHandle,
  QuickJSRuntime,
  QuickJSWASMModule,
} from 'quickjs-emscripten-core';

/** A WebAssembly instance that no script has touched. */
export type BareEngine = QuickJSWASMModule;

/** How a turn broke the engine; `crash` is a fault of the WebAssembly instance. */
export type Breakage = 'cpu' | 'memory' | 'crash';

export interface EngineLimits {
  readonly memoryBytes: number;
  readonly stackBytes: number;
}

export interface EngineClock {
  /** Microseconds of a clock that does not go back. */
  now(): number;
  /** Microseconds of processor time that this process has used. */
  cpuTime(): number;
}

/** What a call threw, as QuickJS shows it. */
export interface Thrown {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
}

/** Who answers an engine that asks for a module. */
export interface ModuleSource {
  normalize(requested: string): JSModuleNormalizeResult;
  load(name: string): JSModuleLoadResult;
}

/** Jobs run between two looks at the clock. */
const JOBS_PER_LOOK = 64;

/** A turn that waits for the processor is stopped after so many times its budget all the same. */
const WALL_PER_CPU = 8;

/** Calls of the gateway are looked at from here on: a short turn makes some, and pays nothing. */
const FIRST_LOOK_US = 1_000;

const NO_BASE = -1;

const WASM_PAGE_BYTES = 65_536;

/** Memory that the sandbox and the gateway both see. */
export class SharedPage {
  /** The `ArrayBuffer` inside the sandbox. */
  readonly handle: QuickJSHandle;
  readonly #memory: WebAssembly.Memory;
  readonly #at: number;
  readonly #length: number;
  #view: DataView;

  /**
   * QuickJS owns the page and its interface hands out copies only, so the page is found by what
   * it holds at first: random bytes, which stand nowhere else in the memory. A look at all of it
   * to be sure would take milliseconds; a change that QuickJS sees as well proves the same.
   */
  constructor(bare: BareEngine, context: QuickJSContext, length: number) {
    const marker = crypto.getRandomValues(new Uint8Array(length));
    this.handle = context.newArrayBuffer(marker.buffer);
    this.#memory = bare.getWasmMemory();
    const bytes = Buffer.from(this.#memory.buffer);
    this.#at = bytes.indexOf(marker);
    this.#length = length;
    if (this.#at < 0) throw new Error('the page of the sandbox is not where its bytes are');
    this.#view = new DataView(this.#memory.buffer, this.#at, length);
    this.#view.setUint8(0, ~this.#view.getUint8(0));
    using seen = context.getArrayBuffer(this.handle);
    if (seen.value[0] !== this.#view.getUint8(0)) {
      throw new Error('the page of the sandbox is a copy');
    }
  }

  /** Valid until the sandbox runs again: growing moves its memory. */
  get view(): DataView {
    // The buffer that was before is detached then, and has no length.
    if (this.#view.buffer.byteLength === 0) {
      this.#view = new DataView(this.#memory.buffer, this.#at, this.#length);
    }
    return this.#view;
  }
}

export class Engine {
  readonly context: QuickJSContext;
  readonly #bare: BareEngine;
  readonly #runtime: QuickJSRuntime;
  readonly #clock: EngineClock;
  /** Microseconds; all of the turn that is running. */
  #enteredAt = 0;
  #budget = 0;
  #cpuBase = NO_BASE;
  #breakage: Breakage | undefined;
  #isFull = false;

  constructor(bare: BareEngine, limits: EngineLimits, clock: EngineClock) {
    this.#bare = bare;
    this.#clock = clock;
    this.#runtime = bare.newRuntime();
    this.#runtime.setMemoryLimit(limits.memoryBytes);
    this.#limitMemory(bare.getWasmMemory(), limits.memoryBytes);
    this.#runtime.setMaxStackSize(limits.stackBytes);
    this.#runtime.setInterruptHandler(() => this.#shouldStop());
    this.context = this.#runtime.newContext();
  }

  /**
   * QuickJS refuses what is over its limit in one piece, but this build of it cannot sum up: it
   * does not know the size of what it has. So the limit is that of the instance's growth.
   */
  #limitMemory(memory: WebAssembly.Memory, limitBytes: number): void {
    const grow = memory.grow.bind(memory);
    const most = memory.buffer.byteLength + limitBytes;
    memory.grow = (pages) => {
      if (memory.buffer.byteLength + pages * WASM_PAGE_BYTES <= most) return grow(pages);
      this.#isFull = true;
      throw new RangeError('the memory of the sandbox is full');
    };
  }

  serveModules(source: ModuleSource): void {
    this.#runtime.setModuleLoader(
      (name) => source.load(name),
      (_base, requested) => source.normalize(requested),
    );
  }

  /** @param length  in bytes; long enough that its first content is unique */
  sharePage(length: number): SharedPage {
    return new SharedPage(this.#bare, this.context, length);
  }

  /** Set once the engine must not be entered any more. */
  get breakage(): Breakage | undefined {
    return this.#breakage;
  }

  /**
   * Whether nothing of the turn's budget is left. QuickJS asks by itself, but counts its own
   * operations: thousands of calls of the gateway, a millisecond each, fit in between. Who waited
   * for the processor is not to blame, however long that was.
   */
  get isSpent(): boolean {
    if (this.#breakage !== undefined) return true;
    const elapsed = this.#clock.now() - this.#enteredAt;
    if (elapsed < FIRST_LOOK_US) return false;
    if (this.#cpuBase === NO_BASE) this.#cpuBase = this.#clock.cpuTime();
    if (elapsed < this.#budget) return false;
    if (this.#clock.cpuTime() - this.#cpuBase < this.#budget) return false;
    this.#breakage = 'cpu';
    return true;
  }

  /** The function, refused where nothing of the turn's budget is left. */
  charged<A extends unknown[], R>(work: (...args: A) => R): (...args: A) => R {
    return (...args) => {
      if (this.isSpent) throw new Error('the time of this turn is over');
      return work(...args);
    };
  }

  /**
   * Runs `work` and then the jobs of settled promises, all within one budget.
   *
   * @param budgetUs  processor time in microseconds
   * @returns         what `work` returned; undefined when the engine broke, see `breakage`
   */
  turn<T>(budgetUs: number, work: () => T): T | undefined {
    if (this.#breakage !== undefined) return undefined;
    this.#enteredAt = this.#clock.now();
    this.#budget = budgetUs;
    this.#cpuBase = NO_BASE;
    try {
      const result = work();
      if (this.#runtime.hasPendingJob()) this.#runJobs();
      if (this.#isFull) this.#breakage ??= 'memory';
      return this.#breakage === undefined ? result : undefined;
    } catch (error) {
      // QuickJS reports errors as values: what is thrown comes from WebAssembly itself.
      this.#breakage ??= this.#isFull ? 'memory' : 'crash';
      if (!isWasmFault(error)) throw error;
      return undefined;
    }
  }

  /**
   * The value of a call's result; the error goes to `onThrow`, unless it means that the engine
   * broke. The caller disposes of the handle.
   */
  take(
    result: ReturnType<QuickJSContext['callFunction']>,
    onThrow: (thrown: Thrown) => void,
  ): QuickJSHandle | undefined {
    if (result.error === undefined) return result.value;
    this.takeError(result.error, onThrow);
    return undefined;
  }

  /** As `take`, for the value that was thrown; disposes of it. */
  takeError(error: QuickJSHandle, onThrow: (thrown: Thrown) => void): void {
    const thrown = this.#readThrown(error);
    if (thrown === 'out of memory') this.#breakage ??= 'memory';
    else if (this.#breakage === undefined) onThrow(thrown);
  }

  #runJobs(): void {
    while (this.#breakage === undefined && this.#runtime.hasPendingJob()) {
      const result = this.#runtime.executePendingJobs(JOBS_PER_LOOK);
      // What a script throws in a job is caught by the promise: an error here is of the engine.
      if (result.error !== undefined) this.takeError(result.error, () => {});
      if (this.#breakage === undefined && this.#runtime.hasPendingJob()) this.#shouldStop();
    }
  }

  /** Asked by QuickJS every some thousand operations, and between jobs. */
  #shouldStop(): boolean {
    if (this.#isFull) this.#breakage ??= 'memory';
    if (this.#breakage !== undefined) return true;
    const elapsed = this.#clock.now() - this.#enteredAt;
    if (this.#cpuBase === NO_BASE) this.#cpuBase = this.#clock.cpuTime() - elapsed;
    if (elapsed < this.#budget) return false;
    const used = this.#clock.cpuTime() - this.#cpuBase;
    if (used < this.#budget && elapsed < this.#budget * WALL_PER_CPU) return false;
    this.#breakage = 'cpu';
    return true;
  }

  #readThrown(error: QuickJSHandle): Thrown | 'out of memory' {
    if (this.#breakage !== undefined) return { name: '', message: '', stack: '' };
    const value: unknown = this.context.dump(error);
    error.dispose();
    // Where not even the error could be made, QuickJS throws null.
    if (value === null) return 'out of memory';
    const fields =
      typeof value === 'object' ? (value as Partial<Record<keyof Thrown, unknown>>) : {};
    const name = String(fields.name ?? 'Error');
    const message = String(fields.message ?? value);
    if (name === 'InternalError' && message === 'out of memory') return 'out of memory';
    return { name, message, stack: String(fields.stack ?? '') };
  }
}

/** Errors of the machine under QuickJS: traps, an emscripten abort, no more memory to grow. */
const isWasmFault = (error: unknown): boolean =>
  error instanceof WebAssembly.RuntimeError ||
  error instanceof RangeError ||
  (error instanceof Error && error.name.startsWith('QuickJS'));
