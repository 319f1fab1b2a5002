/** What a script host is asked while it serves, and what is known of the generations in it. */
import type { DecidedFlow, ToScriptHost } from '../../messages/script-control.ts';
import type { KvJournal } from './kv-journal.ts';

/** A host that does not answer in that time has other things to do. */
const ANSWER_MS = 2_000;

interface Listener {
  send(message: ToScriptHost): void;
}

export class HostQuestions {
  #promotion: { generation: number; settle: (isDone: boolean) => void } | undefined;
  #recent: ((flows: readonly DecidedFlow[]) => void) | undefined;

  /** Has a canary take over; false when it is gone, or nobody says. */
  async promote(host: Listener, generation: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#promotion = { generation, settle: resolve };
    host.send({ kind: 'promote', generation });
    const timer = setTimeout(() => resolve(false), ANSWER_MS);
    const isDone = await promise;
    clearTimeout(timer);
    this.#promotion = undefined;
    return isDone;
  }

  /** What was decided of late; nothing when the host is busy, or another one asks. */
  async recent(host: Listener, count: number): Promise<readonly DecidedFlow[]> {
    if (this.#recent !== undefined) return [];
    const { promise, resolve } = Promise.withResolvers<readonly DecidedFlow[]>();
    this.#recent = resolve;
    host.send({ kind: 'recent', count });
    const timer = setTimeout(() => resolve([]), ANSWER_MS);
    const flows = await promise;
    clearTimeout(timer);
    this.#recent = undefined;
    return flows;
  }

  /** @returns true when a canary took over that was given up meanwhile */
  promoted(generation: number, isDone: boolean): boolean {
    if (generation !== this.#promotion?.generation) return isDone;
    this.#promotion.settle(isDone);
    return false;
  }

  toldRecent(flows: readonly DecidedFlow[]): void {
    this.#recent?.(flows);
  }

  /** The host is gone. */
  lost(): void {
    this.#promotion?.settle(false);
    this.#recent?.([]);
  }
}

/** Waits until no generation is in memory that was replaced. */
export class Drains {
  readonly #active: () => number;
  readonly #journal: Pick<KvJournal, 'retain'>;
  readonly #waiting = new Set<() => void>();
  #inMemory: readonly number[] = [];

  /**
   * @param active  number of the active generation
   * @param journal  is told what is in memory, each time that somebody says it
   */
  constructor(active: () => number, journal: Pick<KvJournal, 'retain'>) {
    this.#active = active;
    this.#journal = journal;
  }

  /** Generations that the host has in memory: active, on trial, or not drained yet. */
  get inMemory(): readonly number[] {
    return this.#inMemory;
  }

  get over(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    this.#settle();
    return promise;
  }

  set(inMemory: readonly number[]): void {
    this.#inMemory = inMemory;
    this.#journal.retain(inMemory);
    this.#settle();
  }

  #settle(): void {
    const active = this.#active();
    if (this.#inMemory.some((number) => number < active)) return;
    for (const settle of this.#waiting) settle();
    this.#waiting.clear();
  }
}
