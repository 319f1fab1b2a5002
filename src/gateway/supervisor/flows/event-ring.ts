/** The last events of flows, each with the row of its flow. The oldest give way to new ones. */
import { FLOW_ROW_BYTES, FlowField } from '../../../stack/flow-row.ts';

/** As nf_conntrack names what happens to an entry. */
export const FLOW_EVENT_NAMES = ['NEW', 'UPDATE', 'DESTROY'] as const;
export type FlowEventName = (typeof FLOW_EVENT_NAMES)[number];

export class EventRing {
  readonly capacity: number;
  readonly view: DataView;
  readonly #bytes: Uint8Array;
  readonly #names: Uint8Array;
  readonly #times: Float64Array;
  #next = 1;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#bytes = new Uint8Array(capacity * FLOW_ROW_BYTES);
    this.view = new DataView(this.#bytes.buffer);
    this.#names = new Uint8Array(capacity);
    this.#times = new Float64Array(capacity);
  }

  /** Number of the event that comes next; they count from 1. */
  get next(): number {
    return this.#next;
  }

  /** Number of the oldest event that is still here. One place is kept for the next one. */
  get first(): number {
    return Math.max(1, this.#next - this.capacity + 1);
  }

  /**
   * Adds an event with a copy of the row, unless that is free.
   *
   * @param nowUs  as FlowContext has it
   */
  push(name: FlowEventName, view: DataView, rowAt: number, nowUs: number): void {
    const slot = this.#next % this.capacity;
    const at = slot * FLOW_ROW_BYTES;
    this.#bytes.set(new Uint8Array(view.buffer, view.byteOffset + rowAt, FLOW_ROW_BYTES), at);
    if (this.view.getFloat64(at + FlowField.SERIAL, true) === 0) return;
    this.#names[slot] = FLOW_EVENT_NAMES.indexOf(name);
    this.#times[slot] = nowUs;
    this.#next += 1;
  }

  /** @param event  a number from `first` to `next` - 1 */
  nameOf(event: number): FlowEventName {
    return FLOW_EVENT_NAMES[this.#names[event % this.capacity]!]!;
  }

  timeOf(event: number): number {
    return this.#times[event % this.capacity]!;
  }

  /** Where its row lies in `view`. */
  rowAt(event: number): number {
    return (event % this.capacity) * FLOW_ROW_BYTES;
  }
}
