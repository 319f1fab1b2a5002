/**
 * Datagrams from clients to upstreams. Those of one flow that come within a turn of the loop are
 * gathered and leave with one call of the kernel (UDP_SEGMENT); a superpacket leaves as it came.
 * Several flows are gathered at once, so that they may come by turns.
 */
import {
  sendSegments,
  setFragmentation,
  setHopLimit,
  setTrafficClass,
} from '../../../ffi/datagram-sockets.ts';
import { Errno } from '../../../ffi/errno.ts';
import { send } from '../../../ffi/sockets.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { DropReason } from '../../../stack/drop-reason.ts';
import { FlowField } from '../../../stack/flow-row.ts';
import type { Instant } from '../../../stack/time.ts';
import { GATHERED_BYTES_MAX, Gather } from '../forward/gather.ts';
import type { UpstreamTable } from '../forward/upstream-table.ts';
import { NO_ROW } from '../row-queues.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionErrors } from './session-errors.ts';
import type { SessionStack } from './session-stack.ts';
import { PathMode, type SessionTable } from './session-table.ts';

/** Flows that are gathered at once, a power of two. */
const GATHERS = 8;

/**
 * An error about an earlier datagram is told in place of the next, and once; whether it stands in
 * the error queue or found no room there. These are about this one.
 */
function mayBeOlder(errno: number): boolean {
  switch (errno) {
    case Errno.EAGAIN:
    case Errno.ENOBUFS:
    case Errno.EMSGSIZE:
    case Errno.EINVAL:
    case Errno.EIO:
      return false;
    default:
      return true;
  }
}

export class DatagramUpload {
  readonly #stack: SessionStack;
  readonly #upstreams: UpstreamTable;
  readonly #table: SessionTable;
  readonly #errors: SessionErrors;
  readonly #counters: Counters;
  /** Address of the arena's first byte, for the kernel. */
  readonly #base: number;
  /** A row has its place by its low bits. */
  readonly #gathers = Array.from({ length: GATHERS }, () => new Gather());

  constructor(context: SessionContext, errors: SessionErrors) {
    this.#stack = context.stack;
    this.#upstreams = context.upstreams;
    this.#table = context.table;
    this.#errors = errors;
    this.#counters = context.counters;
    this.#base = context.base;
  }

  /**
   * Sends a datagram, or several of `segmentBytes` each, as packets of the client would go on: with
   * its traffic class, and one hop less to go. At the latest, `flush` does.
   */
  send(
    row: number,
    at: number,
    length: number,
    segmentBytes: number,
    hopLimit: number,
    trafficClass: number,
    mayFragment: boolean,
    now: Instant,
  ): void {
    this.setHeader(row, hopLimit, trafficClass, mayFragment, now);
    if (segmentBytes > 0 && length > segmentBytes) {
      this.flushRow(row, now);
      this.#sendRun(row, at, length, segmentBytes, now);
      return;
    }
    const gather = this.#gathers[row & (GATHERS - 1)]!;
    if (gather.row !== row) this.#flush(gather, now);
    else if (!gather.takes(length)) this.#flush(gather, now);
    const isLong = length > Math.min(GATHERED_BYTES_MAX, this.#table.segmentLimit[row]!);
    if (isLong || length === 0 || !gather.prepare(this.#stack.slabs)) {
      this.flushRow(row, now);
      this.sendOne(row, at, length, now);
      return;
    }
    gather.row = row;
    gather.add(this.#stack.arena.bytes, at, length);
  }

  /** Sends all that was gathered. */
  flush(now: Instant): void {
    for (let i = 0; i < GATHERS; i++) this.#flush(this.#gathers[i]!, now);
  }

  /** Sends what was gathered of one flow. */
  flushRow(row: number, now: Instant): void {
    const gather = this.#gathers[row & (GATHERS - 1)]!;
    if (gather.row === row) this.#flush(gather, now);
  }

  /** Forgets what was gathered of a flow that is over. */
  drop(row: number): void {
    const gather = this.#gathers[row & (GATHERS - 1)]!;
    if (gather.row === row) gather.clear();
  }

  /** Sends one datagram at once. */
  sendOne(row: number, at: number, length: number, now: Instant): void {
    const fd = this.#upstreams.fd(row);
    this.#counters.add(Counter.DATAGRAM_SENDS);
    let sent = send(fd, this.#base + at, length);
    if (sent < 0 && mayBeOlder(-sent)) {
      this.#errors.drain(row, now);
      sent = send(fd, this.#base + at, length);
    }
    if (sent < 0) this.#errors.onRefused(row, -sent, at, length, now);
    else this.#counters.add(Counter.UPSTREAM_BYTES_SENT, sent);
  }

  /** Has the socket send with a client's header; what was gathered leaves with that before. */
  setHeader(
    row: number,
    arrivedHopLimit: number,
    trafficClass: number,
    mayFragment: boolean,
    now: Instant,
  ): void {
    const table = this.#table;
    const hopLimit = arrivedHopLimit - 1;
    const isCut = mayFragment || table.toldTooBig[row] !== 0;
    const pathMode = isCut ? PathMode.FRAGMENT : PathMode.DO_NOT_FRAGMENT;
    const isSame =
      table.hopLimit[row] === hopLimit &&
      table.trafficClass[row] === trafficClass &&
      table.pathMode[row] === pathMode;
    if (isSame) return;
    this.flushRow(row, now);
    const fd = this.#upstreams.fd(row);
    const view = this.#stack.arena.view;
    const family =
      view.getUint8(this.#stack.flows.rowAt(row) + FlowField.UPSTREAM_FAMILY) === 4 ? 4 : 6;
    if (table.hopLimit[row] !== hopLimit) setHopLimit(fd, family, hopLimit);
    if (table.trafficClass[row] !== trafficClass) setTrafficClass(fd, family, trafficClass);
    if (table.pathMode[row] !== pathMode) setFragmentation(fd, family, isCut);
    table.hopLimit[row] = hopLimit;
    table.trafficClass[row] = trafficClass;
    table.pathMode[row] = pathMode;
  }

  #flush(gather: Gather, now: Instant): void {
    const { row, count, length } = gather;
    if (row === NO_ROW) return;
    if (count === 1) this.sendOne(row, gather.at, length, now);
    else this.#sendRun(row, gather.at, length, gather.size, now);
    gather.clear();
  }

  /** Sends datagrams that lie behind each other, with one call where the kernel does it. */
  #sendRun(row: number, at: number, length: number, size: number, now: Instant): void {
    const sent =
      size <= this.#table.segmentLimit[row]! ? this.#sendTogether(row, at, length, size, now) : 0;
    if (sent > 0) return;
    for (let done = 0; done < length; done += size) {
      if (sent === -Errno.EAGAIN) this.#counters.drop(DropReason.UPSTREAM_FULL);
      else this.sendOne(row, at + done, Math.min(size, length - done), now);
    }
  }

  /** @returns bytes sent, `-EAGAIN` when the socket is full, or 0: they have to go one by one */
  #sendTogether(row: number, at: number, length: number, size: number, now: Instant): number {
    const fd = this.#upstreams.fd(row);
    this.#counters.add(Counter.DATAGRAM_SENDS);
    let sent = sendSegments(fd, this.#base + at, length, size);
    if (sent < 0 && mayBeOlder(-sent)) {
      this.#errors.drain(row, now);
      sent = sendSegments(fd, this.#base + at, length, size);
    }
    if (sent > 0) {
      this.#counters.add(Counter.UPSTREAM_BYTES_SENT, sent);
      return sent;
    }
    if (sent === -Errno.EAGAIN || sent === -Errno.ENOBUFS) return -Errno.EAGAIN;
    // Longer than a packet of this path, or the route cannot do it: not tried again.
    if (!mayBeOlder(-sent)) this.#table.segmentLimit[row] = size - 1;
    return 0;
  }
}
