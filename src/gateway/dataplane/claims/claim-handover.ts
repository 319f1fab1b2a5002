/**
 * The end of a script's part: its connection is joined with the socket that it chose, and what
 * moves the bytes from then on is what moves them for a verdict `forward`. Bytes that the host has
 * written go first; bytes that it has only peeked at, or not asked for, are still where they were.
 */
import { Counter, type Counters } from '../../../stack/counters.ts';
import { FlowField, Service } from '../../../stack/flow-row.ts';
import type { Stack } from '../../../stack/stack.ts';
import type { Instant } from '../../../stack/time.ts';
import { FdPort } from '../fd-port.ts';
import type { Splice } from '../forward/splice.ts';
import { UpstreamBit, type UpstreamTable } from '../forward/upstream-table.ts';
import { RowPort } from '../row-port.ts';
import type { Claim, ClaimEnd, SpliceOrder } from './claim.ts';
import { ClaimPhase } from './claim.ts';
import type { ClaimSockets } from './claim-sockets.ts';
import type { ClaimTable } from './claim-table.ts';
import type { Relay } from './relay.ts';

export interface ClaimHandoverParts {
  readonly stack: Stack;
  readonly counters: Counters;
  readonly table: ClaimTable;
  readonly sockets: ClaimSockets;
  readonly upstreams: UpstreamTable;
  readonly splice: Splice;
  readonly relay: Relay;
}

export class ClaimHandover {
  readonly #stack: Stack;
  readonly #counters: Counters;
  readonly #table: ClaimTable;
  readonly #sockets: ClaimSockets;
  readonly #upstreams: UpstreamTable;
  readonly #splice: Splice;
  readonly #relay: Relay;

  constructor(parts: ClaimHandoverParts) {
    this.#stack = parts.stack;
    this.#counters = parts.counters;
    this.#table = parts.table;
    this.#sockets = parts.sockets;
    this.#upstreams = parts.upstreams;
    this.#splice = parts.splice;
    this.#relay = parts.relay;
  }

  /** Joins both ends of the order; nothing waits any more of what the host has written. */
  carryOut(claim: Claim, order: SpliceOrder, now: Instant): void {
    const { client } = claim;
    const { socket } = order;
    const [from, to] = [client.port, socket.port];
    if (from === undefined || to === undefined) throw new Error('a splice of what has ended');
    claim.sockets = claim.sockets.filter((other) => other !== socket);
    this.#table.retire(claim, ClaimPhase.SPLICED);
    this.#counters.add(Counter.CLAIMS_SPLICED);
    this.#writeRow(claim.row, socket, order);
    if (to instanceof FdPort) this.#toSocket(claim, socket, to, now);
    else if (to instanceof RowPort) this.#toRow(claim, to, order);
  }

  #toSocket({ row, client }: Claim, socket: ClaimEnd, port: FdPort, now: Instant): void {
    const [stack, upstreams] = [this.#stack, this.#upstreams];
    upstreams.setFd(row, port.fd);
    upstreams.setSlot(row, port.upstreamSlot);
    stack.arena.view.setUint16(stack.rowAt(row) + FlowField.VIA, port.upstreamId, true);
    const { READABLE, WRITABLE, ENDING, OPEN, READ_DONE, WRITE_SHUT } = UpstreamBit;
    // Taken for ready, and for having sent FIN: the first EAGAIN tells better.
    upstreams.raise(row, OPEN | WRITABLE | ENDING | (port.hasEnded ? READ_DONE : READABLE));
    if (socket.isFinSent) upstreams.raise(row, WRITE_SHUT);
    this.#sockets.handOver(socket, port, upstreams.tokenOf(row));
    stack.arena.view.setUint8(stack.rowAt(row) + FlowField.SERVICE, Service.NONE);
    // What was ended before the splice is not told to it again by those who told us.
    if (client.port?.hasEnded === true) this.#splice.finish(row);
    if (port.hasEnded) stack.close(row, now);
    stack.drainBacklog(row, now);
    if (upstreams.fd(row) >= 0) this.#splice.download(row, now);
  }

  #toRow({ row, client }: Claim, port: RowPort, order: SpliceOrder): void {
    this.#table.setPort(port.row, undefined);
    order.socket.port = undefined;
    const { view } = this.#stack.arena;
    const at = this.#stack.rowAt(row);
    this.#stack.setSilence(
      port.row,
      view.getUint32(at + FlowField.IDLE_TIMEOUT_MS, true),
      view.getUint32(at + FlowField.HALF_CLOSE_TIMEOUT_MS, true),
    );
    this.#relay.join(row, client.port?.hasEnded === true, port.row, port.hasEnded);
  }

  /** The row says what a `forward` to the same end would: its upstream and its limits. */
  #writeRow(row: number, { ends, connectUs }: ClaimEnd, order: SpliceOrder): void {
    const { view } = this.#stack.arena;
    const at = this.#stack.rowAt(row);
    view.setFloat64(at + FlowField.MAX_BYTES, order.maxBytes, true);
    view.setUint32(at + FlowField.CONNECT_US, connectUs, true);
    this.#stack.setSilence(
      row,
      order.idleTimeoutMs || view.getUint32(at + FlowField.IDLE_TIMEOUT_MS, true),
      order.halfCloseTimeoutMs || view.getUint32(at + FlowField.HALF_CLOSE_TIMEOUT_MS, true),
    );
    if (ends === undefined) return;
    view.setUint8(at + FlowField.UPSTREAM_FAMILY, ends.family);
    view.setUint16(at + FlowField.UPSTREAM_PORT, ends.remotePort, true);
    for (let i = 0; i < 16; i += 4) {
      view.setInt32(at + FlowField.UPSTREAM + i, ends.addresses.getInt32(16 + i));
    }
  }
}
