/** What happened to the device: the last events for the API, and how many of each for metrics. */
import { TooManyReadersError } from '../flows/flow-events.ts';
import { DeviceEventReader } from './device-event-reader.ts';
import type { DeviceState } from './device-state.ts';

const KEPT = 100;
/** As of events of flows. */
const READERS_MAX = 16;

export interface DeviceEvent {
  /** From 1, without gaps. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** `up`, `down`, `mtu`, `queue`, `renamed`, `moved`, `returned`, `gone`, `recreated`, … */
  readonly event: string;
  /** The device as it was then. */
  readonly state: DeviceState;
}

export class DeviceEvents {
  readonly #counts = new Map<string, number>();
  readonly #readers = new Set<DeviceEventReader>();
  /** Tells the numbers of this run from those of an earlier one. */
  readonly session = Date.now().toString(36);
  #kept: DeviceEvent[] = [];
  #next = 1;
  /** For those who listen to all that happens. */
  onAdded: (event: string, state: DeviceState) => void = () => {};

  add(event: string, state: DeviceState): void {
    this.#counts.set(event, (this.#counts.get(event) ?? 0) + 1);
    this.#kept = [...this.#kept, { number: this.#next++, at: Date.now(), event, state }];
    if (this.#kept.length > KEPT) this.#kept = this.#kept.slice(-KEPT);
    for (const reader of this.#readers) reader.wake();
    this.onAdded(event, state);
  }

  /** Number of the event that comes next. */
  get next(): number {
    return this.#next;
  }

  /**
   * @param lastId       of the event that a client saw last
   * @param keepaliveMs  how long a client may hear nothing
   * @throws TooManyReadersError
   */
  listen(lastId: string | undefined, keepaliveMs?: number): DeviceEventReader {
    if (this.#readers.size >= READERS_MAX) throw new TooManyReadersError();
    const reader = new DeviceEventReader(this, lastId, keepaliveMs);
    this.#readers.add(reader);
    return reader;
  }

  /** A reader has been closed. */
  left(reader: DeviceEventReader): void {
    this.#readers.delete(reader);
  }

  /** Ends all streams. */
  close(): void {
    for (const reader of [...this.#readers]) reader.close();
  }

  /** Oldest first. */
  get last(): readonly DeviceEvent[] {
    return this.#kept;
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }
}
