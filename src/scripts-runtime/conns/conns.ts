/**
 * All claimed connections of a host: from the verdict to the last event. Events wait in the row of
 * their connection, and its script hears of them in a turn of its own; so each turn is for one
 * connection, and charged to it.
 *
 * The generation that claimed a connection lives as long as the connection does. When the sandbox
 * breaks, what is not spliced is reset, and what is goes on without anybody waiting for it.
 */
import type { ConnectionRequest, Endpoint } from '../../stack/verdict.ts';
import type { Generation } from '../generations/registry.ts';
import { SLICE_US } from '../limits.ts';
import type { Lookups } from '../lookups.ts';
import { RenewedMap } from '../renewed-map.ts';
import type { Script } from '../script/script.ts';
import { type Claim, ConnRow, type EndRow } from './conn-row.ts';
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
} from './ports.ts';

const US_PER_MS = 1000;
const PEEK_COUNT = 2 ** 16;
const PeekFlag = { FIN: 1, TIMED_OUT: 2 } as const;

export class Conns implements ConnEvents {
  readonly #carrier: ConnPorts;
  readonly #now: () => number;
  readonly #outbound: Outbound;
  /** By request. */
  readonly #claims = new RenewedMap<number, Claim>();
  readonly #rows = new RenewedMap<number, ConnRow>();
  readonly #byCarrier = new RenewedMap<number, ConnRow>();
  /** Rows whose script has something to hear. */
  readonly #ready: ConnRow[] = [];
  #lastConn = 0;
  #spliced = 0;

  /** @param now  microseconds */
  constructor(carrier: ConnPorts, lookups: Lookups, now: () => number) {
    this.#carrier = carrier;
    this.#now = now;
    this.#outbound = new Outbound(carrier, lookups, now, (row, news) => this.#tell(row, news));
  }

  /** Claimed and not spliced. */
  get count(): number {
    return this.#claims.size + this.#rows.size - this.#spliced;
  }

  /** Microseconds; 0 when `afterTurn` left something over. */
  get nextDeadline(): number {
    return this.#ready.length > 0 ? 0 : this.#outbound.nextDeadline;
  }

  /** @returns false when there are as many as there may be */
  claim(
    requestId: number,
    request: ConnectionRequest,
    generation: Generation,
    script: Script,
  ): boolean {
    if (this.count >= script.limits.claims) return false;
    generation.hold();
    this.#claims.set(requestId, { requestId, request, generation, script });
    return true;
  }

  /** Attempts of dials that are due at `now`, and dials that took too long. */
  expire(now: number): void {
    this.#outbound.expire(now);
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
    const { script, request } = row.claim;
    const { connCpuMs } = script.limits;
    if (row.cpuUs <= connCpuMs * US_PER_MS) return;
    const message = `more than ${connCpuMs} ms of processor time for one connection (connCpuMs)`;
    script.hitConnLimit('conn-cpu', message, request.flow);
    this.#carrier.abort(row.carrier, CLIENT_END);
    this.#end(row, { reason: message, bytesUp: 0, bytesDown: 0 }, 'limit');
  }

  /** The sandbox of a script broke, and whatever its connections waited for. */
  lostScript(script: Script): void {
    for (const row of this.#rows.values()) {
      if (row.claim.script !== script || row.isGone) continue;
      if (!row.isSpliced && !row.isOver) this.#carrier.abort(row.carrier, CLIENT_END);
      // One whose hook has not begun can still run in the next sandbox, were it not reset.
      this.#forget(row);
    }
  }

  /** Its time is over: what is not spliced is reset, the rest goes on without its script. */
  endGeneration(number: number): void {
    for (const { generation, requestId } of Array.from(this.#claims.values())) {
      if (generation.number === number) this.#dropClaim(requestId);
    }
    for (const row of Array.from(this.#rows.values())) {
      if (row.claim.generation.number !== number || row.isGone) continue;
      if (row.isSpliced) this.#forget(row);
      else if (!row.isOver) this.#carrier.abort(row.carrier, CLIENT_END);
    }
  }

  opened({ conn, requestId }: OpenedConn): void {
    const claim = this.#claims.get(requestId);
    if (claim === undefined) {
      this.#carrier.abort(conn, CLIENT_END);
      return;
    }
    this.#claims.delete(requestId);
    this.#lastConn++;
    const row = new ConnRow(this.#lastConn, conn, claim);
    this.#rows.set(row.id, row);
    this.#byCarrier.set(conn, row);
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

  closed(conn: number, end: number, closed: ClosedConn): void {
    const row = this.#byCarrier.get(conn);
    if (end === CLIENT_END) {
      if (row !== undefined) this.#end(row, closed);
      else if (closed.requestId !== undefined) this.#dropClaim(closed.requestId);
      return;
    }
    this.#onEnd(conn, end, (found, socket) => {
      found.ends.delete(socket.id);
      found.sockets.delete(end);
      this.#tell(found, { event: ConnEvent.CLOSED, end: socket.id, text: JSON.stringify(closed) });
    });
  }

  lost(isLost: (id: number) => boolean): void {
    for (const { requestId } of Array.from(this.#claims.values())) {
      if (isLost(requestId)) this.#dropClaim(requestId);
    }
    for (const row of Array.from(this.#rows.values())) {
      if (!isLost(row.carrier)) continue;
      this.#end(row, { reason: 'restart', bytesUp: 0, bytesDown: 0 });
    }
  }

  /** What the sandboxes of a script ask for. */
  portsOf(script: () => Script): GuestConnPorts {
    const carrier = this.#carrier;
    const end = (conn: number, id: number, act: (row: ConnRow, end: EndRow) => void): void => {
      const row = this.#rows.get(conn);
      const found = row?.ends.get(id);
      if (row === undefined || found === undefined || row.isOver || row.isSpliced) return;
      if (row.claim.script === script()) act(row, found);
    };
    return {
      nowMs: () => this.#now() / US_PER_MS,
      want: (conn, id) =>
        end(conn, id, (row, found) => {
          if (!found.isOpen || found.credit > 0) return;
          found.credit = CHUNK_BYTES_MAX;
          carrier.want(row.carrier, found.carrier, CHUNK_BYTES_MAX);
        }),
      takeBack: (conn, id) => {
        let hadCredit = false;
        end(conn, id, (row, found) => {
          hadCredit = this.#takeBack(row, found);
        });
        return hadCredit;
      },
      peek: (conn, id, min, max, timeoutMs) =>
        end(conn, id, (row, found) => {
          this.#takeBack(row, found);
          found.peek = (found.peek + 1) % PEEK_COUNT;
          found.isPeeking = true;
          const most = Math.min(max, CHUNK_BYTES_MAX, row.claim.script.limits.peekBytes);
          const least = Math.min(min, most);
          const time = Math.ceil(Math.min(Math.max(timeoutMs, 0), UINT32_MAX));
          carrier.peek(row.carrier, found.carrier, found.peek, least, most, time);
        }),
      write: (conn, id, bytes) => {
        let isTaken = false;
        end(conn, id, (row, found) => {
          isTaken = this.#write(row, found, bytes);
        });
        return isTaken;
      },
      fin: (conn, id) => end(conn, id, (row, found) => carrier.fin(row.carrier, found.carrier)),
      close: (conn, id) => end(conn, id, (row, found) => carrier.close(row.carrier, found.carrier)),
      abort: (conn, id) => this.#abort(conn, id, script()),
      dial: (conn, options) => this.#outbound.dial(this.#rowOf(conn, script()), script(), options),
      splice: (conn, id, idleTimeoutMs, halfCloseTimeoutMs, maxBytes) =>
        end(conn, id, (row, found) => {
          row.isSpliced = true;
          this.#spliced++;
          carrier.splice(row.carrier, found.carrier, {
            idleTimeoutMs,
            halfCloseTimeoutMs,
            maxBytes,
          });
        }),
      note: (conn, reason) => {
        const row = this.#rowOf(conn, script());
        row?.claim.script.noteConn(reason, row.claim.request.flow);
      },
      failed: (conn, error) => {
        const row = this.#rowOf(conn, script());
        row?.claim.script.failConn(error, row.claim.request.flow);
      },
    };
  }

  #rowOf(conn: number, script: Script): ConnRow | undefined {
    const row = this.#rows.get(conn);
    return row?.claim.script === script && !row.isOver ? row : undefined;
  }

  #takeBack(row: ConnRow, end: EndRow): boolean {
    if (end.credit === 0) return false;
    end.credit = 0;
    this.#carrier.want(row.carrier, end.carrier, 0);
    return true;
  }

  #write(row: ConnRow, end: EndRow, bytes: Uint8Array): boolean {
    if (!end.isOpen) return false;
    if (end.inFlight + bytes.length > CONN_WINDOW_BYTES) {
      end.owesRoom = true;
      return false;
    }
    end.inFlight += bytes.length;
    if (bytes.length > 0) this.#carrier.write(row.carrier, end.carrier, bytes);
    return true;
  }

  /** Also of a connection that is spliced: its script may end it at any time. */
  #abort(conn: number, id: number, script: Script): void {
    const row = this.#rowOf(conn, script);
    const end = row?.ends.get(id);
    if (row === undefined || end === undefined) return;
    if (id === CLIENT_END || row.isSpliced) this.#carrier.abort(row.carrier, CLIENT_END);
    else this.#outbound.drop(row, end);
  }

  #onEnd(conn: number, end: number, act: (row: ConnRow, end: EndRow) => void): void {
    const row = this.#byCarrier.get(conn);
    const found = row?.endAt(end);
    if (row !== undefined && found !== undefined) act(row, found);
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
    const { script, request } = row.claim;
    if (!row.isStarted) {
      row.isStarted = true;
      if (!script.openConn(row.id, request)) {
        if (!row.isOver) this.#carrier.abort(row.carrier, CLIENT_END);
        this.#forget(row);
        return;
      }
    }
    const { news } = row;
    row.news = [];
    if (news.length > 0) script.tellConn(row.id, news);
    if (row.isOver && row.news.length === 0) this.#forget(row);
  }

  #end(row: ConnRow, { reason, bytesUp, bytesDown }: ClosedConn, code?: string): void {
    if (row.isOver) return;
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
    row.claim.generation.letGo();
  }

  #dropClaim(requestId: number): void {
    const claim = this.#claims.get(requestId);
    if (claim === undefined) return;
    this.#claims.delete(requestId);
    claim.generation.letGo();
  }
}

const UINT32_MAX = 0xffff_ffff;
