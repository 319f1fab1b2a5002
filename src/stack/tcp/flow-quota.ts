import type { Arena } from '../arena.ts';
import { DropReason } from '../drop-reason.ts';
import { FlowField } from '../flow-row.ts';
import type { HalfSipHash } from '../sip-hash.ts';
import { Sources } from '../sources.ts';
import { type Tcb, TcbFlag } from './tcb.ts';

/**
 * Counts the connections that each source has here, so that one cannot take the whole table: from
 * the SYN, or the cookie that came back, to the end of both directions. One in TIME-WAIT does not
 * count, for its row goes to whoever needs it. A source is an IPv4 address or an IPv6 /64.
 */
export class FlowQuota {
  readonly #view: DataView;
  readonly #sources: Sources;
  readonly #limit: number;

  static bytes(flows: number): number {
    return Sources.bytes(flows);
  }

  /** @param limit  of one source */
  constructor(arena: Arena, flows: number, limit: number, hash: HalfSipHash) {
    this.#view = arena.view;
    this.#sources = new Sources(arena, flows, hash);
    this.#limit = limit;
  }

  /** Whether the source may have one more. */
  check(sourceAt: number, addressLength: number): DropReason {
    return this.#sources.count(sourceAt, addressLength) >= this.#limit
      ? DropReason.FLOW_SOURCE_LIMIT
      : DropReason.NONE;
  }

  /** Counts the flow that `tcb` is at. */
  take(tcb: Tcb): void {
    this.#sources.take(tcb.flowAt + FlowField.SOURCE, this.#addressBytes(tcb), false);
  }

  /** The flow that `tcb` is at has ended, or is carried by NAT; what we dialled never counted. */
  release(tcb: Tcb): void {
    if (tcb.has(TcbFlag.OPENED)) return;
    this.#sources.release(tcb.flowAt + FlowField.SOURCE, this.#addressBytes(tcb), false);
  }

  #addressBytes({ flowAt }: Tcb): number {
    return this.#view.getUint8(flowAt + FlowField.FAMILY) === 4 ? 4 : 16;
  }
}
