/**
 * All claimed connections of a host: from the verdict to the last event. Events wait in the row of
 * their connection, and its script hears of them in a turn of its own; so each turn is for one
 * connection, and charged to it. Calls that have sockets are rows too (errands.ts).
 *
 * The generation that claimed a connection lives as long as the connection does. When the sandbox
 * breaks, what is not spliced is reset, and what is goes on without anybody waiting for it.
 */

import type { ConnectionRequest, Endpoint } from '../../stack/verdict.ts';
import type { OnNoted } from '../flow-note.ts';
import type { Generation } from '../generations/registry.ts';
import { SLICE_US } from '../limits.ts';
import type { Lookups } from '../lookups.ts';
import { RenewedMap } from '../renewed-map.ts';
import type { Script } from '../script/script.ts';
import type { KnownUpstreams } from '../verdict/verdict-fit.ts';
import { AwaitedClaims } from './awaited-claims.ts';
import { ConnCalls } from './conn-calls.ts';
import { ConnRow, type EndRow } from './conn-row.ts';
import { Errands } from './errands.ts';
import { ConnEvent, type ConnNews, type GuestConnPorts } from './guest-conns.ts';
import { Outbound } from './outbound.ts';
import {
  CHUNK_BYTES_MAX,
  CLIENT_END,
  type ClosedConn,
  CONN_WINDOW_BYTES,
  type ConnEvents,
  type ConnPorts,
  type DialFailure,
  type OpenedConn,
  type PeekedBytes,
  type SecureResult,
} from './ports.ts';

const US_PER_MS = 1000;
/** A SYN-ACK is repeated for 63 s; nobody finishes a handshake after twice that. */
const HANDSHAKE_US = 126_000_000;
const PeekFlag = { FIN: 1, TIMED_OUT: 2 } as const;

export interface ConnsPorts {
  /** Microseconds. */
  now(): number;
  readonly upstreams: () => KnownUpstreams | undefined;
  readonly noted: OnNoted;
}

export class Conns implements ConnEvents {
  readonly #carrier: ConnPorts;
  readonly #now: () => number;
  readonly #outbound: Outbound;
  readonly #errands: Errands;
  readonly #calls: ConnCalls;
  readonly #claims = new AwaitedClaims();
  readonly #rows = new RenewedMap<number, ConnRow>();
  readonly #byCarrier = new RenewedMap<number, ConnRow>();
  /** Rows whose script has something to hear. */
  readonly #ready: ConnRow[] = [];
  #lastConn = 0;
  #spliced = 0;

  constructor(carrier: ConnPorts, lookups: Lookups, ports: ConnsPorts) {
    const { upstreams, noted } = ports;
    const now = () => ports.now();
    this.#carrier = carrier;
    this.#now = now;
    const tell = (row: ConnRow, news: ConnNews) => this.#tell(row, news);
    this.#errands = new Errands(carrier, {
      add: (row) => this.#add(row),
      remove: (row) => this.#forget(row),
      tell,
      cancel: (row) => this.#outbound.cancelAll(row),
      drop: (row, end) => this.#outbound.drop(row, end),
    });
    const named = (row: ConnRow, name: string) => {
      if (row.claim === undefined || row.dnsName === name) return;
      row.dnsName = name;
      noted(row.flow, { dnsName: name });
    };
    this.#outbound = new Outbound(carrier, lookups, { now, tell, upstreams, named }, this.#errands);
    this.#calls = new ConnCalls(carrier, this.#rows, this.#outbound, this.#errands, {
      now,
      noted,
      named,
      spliced: () => {
        this.#spliced++;
      },
    });
  }

  /** Claimed and not spliced. */
  get count(): number {
    return this.#claims.size + this.#rows.size - this.#spliced - this.#errands.count;
  }

  /** What the sandboxes of a script ask for. */
  portsOf(script: () => Script): GuestConnPorts {
    return this.#calls.portsOf(script);
  }

  /** Microseconds; 0 when `afterTurn` left something over. */
  get nextDeadline(): number {
    if (this.#ready.length > 0) return 0;
    return Math.min(this.#outbound.nextDeadline, this.#claims.nextDeadline);
  }

  /** @returns false when there are as many as there may be */
  claim(
    requestId: number,
    request: ConnectionRequest,
    generation: Generation,
    script: Script,
  ): boolean {
    if (this.count >= script.limits.claims) return false;
    const deadline = this.#now() + HANDSHAKE_US;
    this.#claims.add({ requestId, request, generation, script, deadline });
    return true;
  }

  /** The flow has gone, or nobody could take it, before its connection began. */
  cancel(requestId: number): void {
    this.#claims.cancel(requestId);
  }

  /** Attempts of dials that are due at `now`, dials and handshakes that took too long. */
  expire(now: number): void {
    this.#outbound.expire(now);
    this.#claims.expire(now);
  }

  /** Lets scripts hear of what has come, for one slice of time. */
  afterTurn(): void {
    const end = this.#now() + SLICE_US;
    for (let row = this.#ready.shift(); row !== undefined; row = this.#ready.shift()) {
      this.#serve(row);
      if (this.#now() >= end) return;
    }
  }

  /** A turn took so long, in microseconds. */
  charge(id: number, us: number): void {
    const row = this.#rows.get(id);
    if (row === undefined || row.isSpliced || row.isOver) return;
    row.cpuUs += us;
    const { connCpuMs } = row.script.limits;
    if (row.cpuUs <= connCpuMs * US_PER_MS) return;
    const what = row.claim === undefined ? 'call that has sockets' : 'connection';
    const message = `more than ${connCpuMs} ms of processor time for one ${what} (connCpuMs)`;
    row.script.reports.hitLimit('conn-cpu', message, row.flow);
    if (row.claim === undefined) {
      this.#errands.end(row, 'limit', message);
      return;
    }
    this.#carrier.abort(row.carrier, CLIENT_END, 'limit');
    this.#end(row, { reason: message, bytesUp: 0, bytesDown: 0 }, 'limit');
  }

  /** The sandbox of a script broke, and whatever its connections waited for. */
  lostScript(script: Script): void {
    for (const row of this.#rows.values()) {
      if (row.script !== script || row.isGone) continue;
      if (!row.isSpliced && !row.isOver) this.#carrier.abort(row.carrier, CLIENT_END);
      // One whose hook has not begun can still run in the next sandbox, were it not reset.
      if (row.claim === undefined) this.#errands.forget(row);
      else this.#forget(row);
    }
  }

  /** Its time is over: what is not spliced is reset, the rest goes on without its script. */
  endGeneration(number: number): void {
    this.#claims.drop(({ generation }) => generation.number === number);
    for (const row of Array.from(this.#rows.values())) {
      if (row.script.generation !== number || row.isGone) continue;
      if (row.claim === undefined) {
        this.#errands.end(row, 'aborted', 'a new generation took over');
      } else if (row.isSpliced) this.#forget(row);
      else if (!row.isOver) this.#carrier.abort(row.carrier, CLIENT_END, 'reload');
    }
  }

  /** A call into a script is over, and what waited in its name. */
  callOver(call: number): void {
    const row = this.#rows.get(call);
    if (row !== undefined) this.#errands.over(row);
  }

  started(): void {
    this.#outbound.started();
  }

  opened({ conn, requestId }: OpenedConn): void {
    const claim = this.#claims.take(requestId);
    if (claim === undefined) {
      this.#carrier.abort(conn, CLIENT_END);
      return;
    }
    this.#lastConn++;
    const row = new ConnRow(this.#lastConn, conn, claim.script, claim);
    this.#add(row);
    this.#makeReady(row);
  }

  peeked(conn: number, end: number, id: number, { bytes, isFin, isTimedOut }: PeekedBytes): void {
    this.#onEnd(conn, end, (row, found) => {
      if (!found.isPeeking || found.peek !== id) return;
      found.isPeeking = false;
      const flags = (isFin ? PeekFlag.FIN : 0) | (isTimedOut ? PeekFlag.TIMED_OUT : 0);
      const copy = bytes.slice(0, CHUNK_BYTES_MAX);
      this.#tell(row, { event: ConnEvent.PEEKED, end: found.id, flags, bytes: copy });
    });
  }

  data(conn: number, end: number, bytes: Uint8Array): void {
    this.#onEnd(conn, end, (row, found) => {
      found.credit = Math.max(0, found.credit - bytes.length);
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES_MAX) {
        const copy = bytes.slice(at, at + CHUNK_BYTES_MAX);
        this.#tell(row, { event: ConnEvent.DATA, end: found.id, bytes: copy });
      }
    });
  }

  fin(conn: number, end: number): void {
    this.#onEnd(conn, end, (row, found) => {
      found.credit = 0;
      this.#tell(row, { event: ConnEvent.FIN, end: found.id });
    });
  }

  room(conn: number, end: number, bytes: number): void {
    this.#onEnd(conn, end, (row, found) => {
      found.inFlight = Math.max(0, found.inFlight - bytes);
      if (!found.owesRoom || found.inFlight > CONN_WINDOW_BYTES - CHUNK_BYTES_MAX) return;
      found.owesRoom = false;
      this.#tell(row, { event: ConnEvent.ROOM, end: found.id });
    });
  }

  dialed(
    conn: number,
    socket: number,
    result: 'ok' | DialFailure,
    remote?: Endpoint,
    local?: Endpoint,
  ): void {
    const row = this.#byCarrier.get(conn);
    if (row !== undefined) this.#outbound.dialed(row, socket, result, remote, local);
  }

  secured(conn: number, socket: number, result: SecureResult): void {
    const row = this.#byCarrier.get(conn);
    if (row !== undefined) this.#outbound.secured(row, socket, result);
  }

  closed(conn: number, end: number, closed: ClosedConn): void {
    const row = this.#byCarrier.get(conn);
    if (end === CLIENT_END) {
      if (row !== undefined) this.#end(row, closed);
      else if (closed.requestId !== undefined)
        this.#claims.drop(({ requestId }) => requestId === closed.requestId);
      return;
    }
    this.#onEnd(conn, end, (found, socket) => {
      found.ends.delete(socket.id);
      found.sockets.delete(end);
      this.#tell(found, { event: ConnEvent.CLOSED, end: socket.id, text: JSON.stringify(closed) });
    });
  }

  lost(isLost: (id: number) => boolean): void {
    this.#claims.drop(({ requestId }) => isLost(requestId));
    for (const row of Array.from(this.#rows.values())) {
      if (!isLost(row.carrier)) continue;
      this.#end(row, { reason: 'restart', bytesUp: 0, bytesDown: 0 });
    }
  }

  #onEnd(conn: number, end: number, act: (row: ConnRow, end: EndRow) => void): void {
    const row = this.#byCarrier.get(conn);
    const found = row?.endAt(end);
    if (row !== undefined && found !== undefined) act(row, found);
  }

  #add(row: ConnRow): void {
    this.#rows.set(row.id, row);
    this.#byCarrier.set(row.carrier, row);
  }

  #tell(row: ConnRow, news: ConnNews): void {
    if (row.isGone) return;
    row.news.push(news);
    this.#makeReady(row);
  }

  #makeReady(row: ConnRow): void {
    if (row.isReady) return;
    row.isReady = true;
    this.#ready.push(row);
  }

  #serve(row: ConnRow): void {
    row.isReady = false;
    if (row.isGone) return;
    const { script, claim } = row;
    if (claim !== undefined && !row.isStarted) {
      row.isStarted = true;
      if (!script.openConn(row.id, claim.request)) {
        if (!row.isOver) this.#carrier.abort(row.carrier, CLIENT_END);
        this.#forget(row);
        return;
      }
    }
    const { news } = row;
    row.news = [];
    if (news.length > 0) script.tellConn(row.id, news);
    if (!row.isOver || row.news.length > 0) return;
    if (claim !== undefined) this.#forget(row);
    else if (!script.calls.isLive(row.id)) this.#errands.forget(row);
  }

  #end(row: ConnRow, { reason, bytesUp, bytesDown }: ClosedConn, code?: string): void {
    if (row.isOver) return;
    if (row.claim === undefined) {
      this.#errands.fail(row, 'aborted', reason);
      return;
    }
    row.isOver = true;
    this.#byCarrier.delete(row.carrier);
    this.#outbound.cancelAll(row);
    const text = JSON.stringify({ reason, bytesUp, bytesDown, code });
    this.#tell(row, { event: ConnEvent.CLOSED, end: CLIENT_END, text });
  }

  #forget(row: ConnRow): void {
    if (row.isGone) return;
    row.isGone = true;
    if (row.isSpliced) this.#spliced--;
    this.#rows.delete(row.id);
    if (this.#byCarrier.get(row.carrier) === row) this.#byCarrier.delete(row.carrier);
    this.#outbound.cancelAll(row);
    row.claim?.generation.letGo();
  }
}
