/**
 * UDP flows whose first datagrams are looked at before the scripts are asked. A flow waits here for
 * the datagrams that tell what it is, and for a while at most; then its decision begins.
 */
import type { ConnectionRequest } from '../stack/verdict.ts';
import { RenewedMap } from './renewed-map.ts';
import { DatagramSniffer } from './sniff/datagrams.ts';
import type { Sniffed, SniffProtocol } from './sniff/sniffed.ts';

/** The datagrams of a hello follow each other at once; who lost one sends it again later. */
const PATIENCE_US = 300_000;
/** More flows are decided about without. */
const FLOWS_MAX = 1024;

interface Looking {
  readonly request: ConnectionRequest;
  readonly sniffer: DatagramSniffer;
  /** Microseconds, as the deadline. */
  readonly arrivedAt: number;
  readonly deadline: number;
}

type OnSniffed = (
  requestId: number,
  request: ConnectionRequest,
  arrivedAt: number,
  sniffed: Sniffed,
) => void;

export class FlowSniffing {
  readonly #onKnown: OnSniffed;
  /** By request id, oldest first. */
  readonly #looking = new RenewedMap<number, Looking>();

  /** @param onKnown  takes the request with `sniffed`, which may be `unknown` */
  constructor(onKnown: OnSniffed) {
    this.#onKnown = onKnown;
  }

  /** Microseconds; Infinity while nothing waits. */
  get nextDeadline(): number {
    for (const { deadline } of this.#looking.values()) return deadline;
    return Number.POSITIVE_INFINITY;
  }

  /** @returns false when too many flows are looked at */
  begin(
    requestId: number,
    request: ConnectionRequest,
    protocols: readonly SniffProtocol[],
    arrivedAt: number,
  ): boolean {
    if (this.#looking.has(requestId)) return true;
    if (this.#looking.size >= FLOWS_MAX) return false;
    const sniffer = new DatagramSniffer(protocols);
    const deadline = arrivedAt + PATIENCE_US;
    this.#looking.set(requestId, { request, sniffer, arrivedAt, deadline });
    return true;
  }

  push(requestId: number, datagram: Uint8Array): void {
    const looking = this.#looking.get(requestId);
    const sniffed = looking?.sniffer.push(datagram) ?? 'need-more';
    if (looking !== undefined && sniffed !== 'need-more') this.#end(requestId, looking, sniffed);
  }

  cancel(requestId: number): void {
    this.#looking.delete(requestId);
  }

  expire(now: number): void {
    for (const [requestId, looking] of this.#looking.entries()) {
      if (looking.deadline > now) return;
      this.#end(requestId, looking, { proto: 'unknown', why: 'timeout' });
    }
  }

  #end(requestId: number, { request, arrivedAt }: Looking, sniffed: Sniffed): void {
    this.#looking.delete(requestId);
    const known = { ...request, sniffed: JSON.stringify(sniffed) };
    this.#onKnown(requestId, known, arrivedAt, sniffed);
  }
}
