/**
 * Sees flows come and change by looking at their rows again and again, so that the data plane has
 * no part in it. It remembers of each row whose it was and how far that flow had come.
 */
import { Carrier, FlowField, FlowPhase, TrackBit } from '../../../stack/flow-row.ts';
import type { FlowReader } from '../../../stack/layout.ts';

/** A row that is new since the last look, or whose flow has moved on. */
export type OnRow = (name: 'NEW' | 'UPDATE', view: DataView, rowAt: number) => void;

export class TableWatch {
  readonly #reader: FlowReader;
  readonly #since: number;
  readonly #serials: Float64Array;
  readonly #stages: Uint32Array;
  #row = 0;

  /** @param sinceUs  flows that began before are not new */
  constructor(reader: FlowReader, sinceUs: number) {
    this.#reader = reader;
    this.#since = sinceUs;
    this.#serials = new Float64Array(reader.capacity);
    this.#stages = new Uint32Array(reader.capacity);
  }

  /** Looks at the next `count` rows; after the last one comes the first. */
  look(count: number, onRow: OnRow): void {
    const { capacity } = this.#reader;
    for (let left = Math.min(count, capacity); left > 0; left--) {
      this.#lookAt(this.#row, onRow);
      this.#row = (this.#row + 1) % capacity;
    }
  }

  #lookAt(row: number, onRow: OnRow): void {
    const view = this.#reader.viewOf(row);
    const at = this.#reader.positionOf(row);
    const serial = view.getFloat64(at + FlowField.SERIAL, true);
    if (serial === 0 || isOver(view, at)) return;
    const stage = stageOf(view, at);
    if (this.#serials[row] === serial) {
      if (this.#stages[row] === stage) return;
      onRow('UPDATE', view, at);
    } else {
      this.#serials[row] = serial;
      const isOld = view.getFloat64(at + FlowField.STARTED_AT, true) < this.#since;
      if (!isOld) onRow('NEW', view, at);
    }
    this.#stages[row] = stage;
  }
}

/**
 * Not there yet, or reported as ended already: what our TCP keeps in TIME-WAIT is over, while a
 * flow that is only watched lives on in it.
 */
function isOver(view: DataView, at: number): boolean {
  const phase = view.getUint8(at + FlowField.PHASE);
  if (phase === FlowPhase.FREE) return true;
  const isTcp = view.getUint8(at + FlowField.CARRIER) !== Carrier.NAT;
  return phase === FlowPhase.TIME_WAIT && isTcp;
}

/** All that makes an UPDATE, in one number: phase, states, verdict, carrier, and two bits. */
function stageOf(view: DataView, at: number): number {
  const bits = view.getUint8(at + FlowField.TRACK_BITS) & (TrackBit.SEEN_REPLY | TrackBit.ASSURED);
  return (
    view.getUint8(at + FlowField.PHASE) |
    (view.getUint8(at + FlowField.TCP_STATE) << 4) |
    (view.getUint8(at + FlowField.TRACK_STATE) << 8) |
    (view.getUint8(at + FlowField.VERDICT) << 12) |
    (view.getUint8(at + FlowField.CARRIER) << 16) |
    (bits << 20)
  );
}
