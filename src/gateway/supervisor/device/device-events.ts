/** What happened to the device: the last events for the API, and how many of each for metrics. */
import type { DeviceState } from './device-state.ts';

const KEPT = 100;

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
  /** Tells the numbers of this run from those of an earlier one. */
  readonly #session = Date.now().toString(36);
  #kept: DeviceEvent[] = [];
  #lastNumber = 0;
  /** For those who listen to all that happens. */
  onAdded: (event: string, state: DeviceState) => void = () => {};

  add(event: string, state: DeviceState): void {
    this.#counts.set(event, (this.#counts.get(event) ?? 0) + 1);
    this.#lastNumber += 1;
    this.#kept.push({ number: this.#lastNumber, at: Date.now(), event, state });
    if (this.#kept.length > KEPT) this.#kept.shift();
    this.onAdded(event, state);
  }

  /** Entity tag of the device as it is since the last event. */
  get etag(): string {
    return `"${this.#session}-${this.#lastNumber}"`;
  }

  /** Oldest first. */
  get last(): readonly DeviceEvent[] {
    return this.#kept;
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }
}
