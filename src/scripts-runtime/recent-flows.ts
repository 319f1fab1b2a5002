/** The flows that were decided last: another bundle may be asked about them too. */
import type { ConnectionRequest, Endpoint } from '../stack/verdict.ts';
import type { Decision } from './decision.ts';
import type { RecordedFlow } from './recorded-flow.ts';
import { showVerdict, verdictText } from './verdict/show-verdict.ts';

/** A flow, and what was decided about it. */
export interface DecidedFlow {
  readonly flow: RecordedFlow;
  /** Serial number. */
  readonly serial: number;
  /** The verdict on one line, as a replay has it. */
  readonly verdict: string;
  readonly generation: number;
}

interface Entry {
  readonly request: ConnectionRequest;
  readonly decision: Decision;
  /** Milliseconds since 1970. */
  readonly atMs: number;
}

/** Flows that are remembered. */
const RECENT_MAX = 1000;
/** Flows that are told to who watches, each time. */
const TOLD_MAX = 256;
const TELL_PERIOD_US = 250_000;

/** Gets flows that were decided; `left` more were too many. */
export type OnDecided = (flows: readonly DecidedFlow[], left: number) => void;

export class RecentFlows {
  readonly #capacity: number;
  #entries: Entry[] = [];
  /** Entries ever, and those that were taken. */
  #count = 0;
  #taken = 0;
  #tellAt = Number.POSITIVE_INFINITY;

  constructor(capacity = RECENT_MAX) {
    this.#capacity = capacity;
  }

  record(request: ConnectionRequest, decision: Decision, atMs: number): void {
    this.#entries[this.#count % this.#capacity] = { request, decision, atMs };
    this.#count++;
  }

  /** At most `most` of them, oldest first. */
  last(most: number): DecidedFlow[] {
    const count = Math.min(most, this.#count, this.#capacity);
    return Array.from({ length: count }, (_, i) => this.#at(this.#count - count + i));
  }

  /** When `tell` has something to do, in microseconds; Infinity while nobody watches. */
  get nextDeadline(): number {
    return this.#tellAt;
  }

  /** From `now` on, or no longer, `tell` has something to tell. */
  watch(isOn: boolean, now: number): void {
    this.#taken = this.#count;
    this.#tellAt = isOn ? now + TELL_PERIOD_US : Number.POSITIVE_INFINITY;
  }

  /** Tells what came since the last time, the newest of it. */
  tell(now: number, onDecided: OnDecided | undefined): void {
    if (now < this.#tellAt) return;
    this.#tellAt = now + TELL_PERIOD_US;
    const fresh = this.#count - this.#taken;
    this.#taken = this.#count;
    const flows = this.last(Math.min(fresh, TOLD_MAX));
    if (flows.length > 0) onDecided?.(flows, fresh - flows.length);
  }

  #at(index: number): DecidedFlow {
    const { request, decision, atMs } = this.#entries[index % this.#capacity] as Entry;
    const { flow, ...rest } = request;
    const name = decision.kind === 'verdict' ? decision.name : undefined;
    const show = ({ ip, port, family }: Endpoint): string =>
      `${name ?? (family === 6 ? `[${ip}]` : ip)}:${port}`;
    return {
      flow: { ...rest, atMs },
      serial: flow,
      verdict: verdictText(showVerdict(decision, show)),
      generation: decision.by.generation,
    };
  }
}
