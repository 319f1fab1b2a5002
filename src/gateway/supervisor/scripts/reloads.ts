/**
 * Reloads by id. Who asks for one gets its id at once and looks later how it went; what has ended
 * is remembered for a while, and what waits to begin is bounded.
 */
import type { Change } from './generations.ts';

/** Reloads that are remembered, those that run included. */
const REMEMBERED = 100;
/** Reloads that wait or run; one is read and checked after the other. */
const RUNNING_MAX = 16;
const PREFIX_BYTES = 3;

/** `draining`: the new scripts decide, and something of the old ones is left. */
export type ReloadState = 'validating' | 'applying' | 'draining' | 'done' | 'failed';

/** Does the work, and tells when it comes to the part that changes something. */
export type ReloadTask = (onApplying: () => void) => Promise<Change>;

/** Too many reloads wait already. */
export class TooManyReloadsError extends Error {
  override readonly name = 'TooManyReloadsError';
  readonly code = 'TOO_MANY_RELOADS';
}

/** No reload of this id is remembered. */
export class NoSuchReloadError extends Error {
  override readonly name = 'NoSuchReloadError';
  readonly code = 'NO_SUCH_RELOAD';
}

/** One reload; what it says changes while it runs. */
export class ReloadRecord {
  readonly id: string;
  readonly isDryRun: boolean;
  /** Milliseconds since 1970. */
  readonly startedAt = Date.now();
  endedAt: number | undefined;
  state: ReloadState = 'validating';
  reload: Change | undefined;
  error: Error | undefined;
  readonly #decided = Promise.withResolvers<void>();

  constructor(id: string, isDryRun: boolean) {
    this.id = id;
    this.isDryRun = isDryRun;
  }

  get isOver(): boolean {
    return this.state === 'done' || this.state === 'failed';
  }

  /** Runs to the end of all that belongs to it. Never rejects. */
  async run(task: ReloadTask): Promise<void> {
    try {
      this.reload = await task(() => {
        this.state = 'applying';
      });
      this.state = 'draining';
      this.#decided.resolve();
      await this.reload.drained;
      this.#end('done');
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.error = error;
      this.#end('failed');
      this.#decided.resolve();
    }
  }

  /** Settles when it is known how it went, or after `ms`; what drains then is not waited for. */
  async decided(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([this.#decided.promise, promise]);
    clearTimeout(timer);
  }

  #end(state: 'done' | 'failed'): void {
    this.state = state;
    this.endedAt = Date.now();
  }
}

export class Reloads {
  /** So that an id of this process is never one of another. */
  readonly #prefix = Buffer.from(crypto.getRandomValues(new Uint8Array(PREFIX_BYTES))).toString(
    'hex',
  );
  readonly #records = new Map<string, ReloadRecord>();
  #count = 0;

  /** Newest first. */
  get all(): readonly ReloadRecord[] {
    return [...this.#records.values()].reverse();
  }

  /** @throws NoSuchReloadError */
  get(id: string): ReloadRecord {
    const record = this.#records.get(id);
    if (record === undefined) throw new NoSuchReloadError(`no reload "${id}" is remembered`);
    return record;
  }

  /** @throws TooManyReloadsError */
  start(isDryRun: boolean, task: ReloadTask): ReloadRecord {
    const running = this.all.filter(({ state }) => state === 'validating' || state === 'applying');
    if (running.length >= RUNNING_MAX) {
      throw new TooManyReloadsError(`${running.length} reloads wait already`);
    }
    const record = new ReloadRecord(`${this.#prefix}-${++this.#count}`, isDryRun);
    this.#records.set(record.id, record);
    this.#forgetOld();
    void record.run(task);
    return record;
  }

  #forgetOld(): void {
    for (const [id, { isOver }] of this.#records) {
      if (this.#records.size <= REMEMBERED) return;
      // What drains for long goes last, and goes: a map of ids must not grow with it.
      if (isOver || this.#records.size > 2 * REMEMBERED) this.#records.delete(id);
    }
  }
}
