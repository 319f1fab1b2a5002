/**
 * The flow table of another data plane, read while that one works. Both hash with the same secret,
 * so a tuple is looked up there as in the own table. What is read may be half written, and then it
 * is missed, or found where it was a moment ago: whoever gets its packet looks again.
 */
import { Arena } from './arena.ts';
import { FLOW_ROW_BYTES, FlowField, REPLY_FIELDS } from './flow-row.ts';
import { placeFlowTable } from './flow-table.ts';
import type { StateLimits } from './layout.ts';

const NO_LINK = -1;
/** Links that are followed at most: a chain that is being changed may lead in a circle. */
const CHAIN_MAX = 64;

/** A tuple as a packet has it; the addresses lie at positions of another arena. */
export interface PeerTuple {
  readonly hash: number;
  readonly sourceAt: number;
  readonly destinationAt: number;
  readonly addressLength: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
}

export class PeerTable {
  readonly #view: DataView;
  readonly #capacity: number;
  readonly #rowsAt: number;
  readonly #bucketsAt: number;
  readonly #mask: number;

  /** @param memory  of a stack with these limits (layout.ts) */
  constructor(memory: ArrayBuffer, { flows, flowBuckets = 0 }: StateLimits) {
    const place = placeFlowTable(new Arena(memory), flows, flowBuckets);
    this.#view = new DataView(memory);
    this.#capacity = flows;
    this.#rowsAt = place.rowsAt;
    this.#bucketsAt = place.bucketsAt;
    this.#mask = place.buckets - 1;
  }

  /**
   * Whether a flow, or the replies of one, have this tuple.
   *
   * @param view  where its addresses lie
   */
  has(view: DataView, tuple: PeerTuple): boolean {
    const table = this.#view;
    let link = table.getInt32(this.#bucketsAt + (tuple.hash & this.#mask) * 4, true);
    for (let i = 0; i < CHAIN_MAX && link !== NO_LINK; i++) {
      const row = link >> 1;
      if (row < 0 || row >= this.#capacity) return false;
      const at = this.#rowsAt + row * FLOW_ROW_BYTES;
      const isReply = (link & 1) !== 0;
      const linkAt = isReply ? at + REPLY_FIELDS : at;
      if (this.#isOf(at, linkAt, isReply, view, tuple)) return true;
      link = table.getInt32(linkAt + FlowField.NEXT, true);
    }
    return false;
  }

  #isOf(at: number, linkAt: number, isReply: boolean, view: DataView, tuple: PeerTuple): boolean {
    const table = this.#view;
    const { addressLength, sourceAt, destinationAt } = tuple;
    const sourcePort = isReply ? FlowField.UPSTREAM_PORT : FlowField.SOURCE_PORT;
    const destinationPort = isReply ? FlowField.NAT_SOURCE_PORT : FlowField.DESTINATION_PORT;
    return (
      table.getUint32(linkAt + FlowField.HASH, true) === tuple.hash &&
      table.getFloat64(at + FlowField.SERIAL, true) !== 0 &&
      table.getUint8(at + FlowField.PROTOCOL) === tuple.protocol &&
      table.getUint8(at + FlowField.FAMILY) === (addressLength === 4 ? 4 : 6) &&
      table.getUint16(at + sourcePort, true) === tuple.sourcePort &&
      table.getUint16(at + destinationPort, true) === tuple.destinationPort &&
      this.#isAddress(
        at + (isReply ? FlowField.UPSTREAM : FlowField.SOURCE),
        view,
        sourceAt,
        addressLength,
      ) &&
      this.#isAddress(
        at + (isReply ? FlowField.NAT_SOURCE : FlowField.DESTINATION),
        view,
        destinationAt,
        addressLength,
      )
    );
  }

  #isAddress(at: number, view: DataView, addressAt: number, length: number): boolean {
    for (let i = 0; i < length; i += 4) {
      if (this.#view.getInt32(at + i) !== view.getInt32(addressAt + i)) return false;
    }
    return true;
  }
}
