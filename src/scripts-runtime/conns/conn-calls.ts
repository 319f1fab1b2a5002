/** What the sandboxes of scripts ask for about their connections. */

import { type OnNoted, sniffNote } from '../flow-note.ts';
import type { RenewedMap } from '../renewed-map.ts';
import type { Script } from '../script/script.ts';
import type { ConnRow, EndRow } from './conn-row.ts';
import type { Errands } from './errands.ts';
import type { GuestConnPorts } from './guest-conns.ts';
import type { Outbound } from './outbound.ts';
import { CHUNK_BYTES_MAX, CLIENT_END, CONN_WINDOW_BYTES, type ConnPorts } from './ports.ts';

const US_PER_MS = 1000;
const PEEK_COUNT = 2 ** 16;
const UINT32_MAX = 0xffff_ffff;

export interface CallPorts {
  /** Microseconds. */
  now(): number;
  readonly noted: OnNoted;
  /** Its upstream was dialled by this name; empty of an address. */
  named(row: ConnRow, name: string): void;
  /** A connection goes on without its script. */
  spliced(): void;
}

export class ConnCalls {
  readonly #carrier: ConnPorts;
  /** By the number that the sandbox knows. */
  readonly #rows: RenewedMap<number, ConnRow>;
  readonly #outbound: Outbound;
  readonly #errands: Errands;
  readonly #ports: CallPorts;

  constructor(
    carrier: ConnPorts,
    rows: RenewedMap<number, ConnRow>,
    outbound: Outbound,
    errands: Errands,
    ports: CallPorts,
  ) {
    this.#carrier = carrier;
    this.#rows = rows;
    this.#outbound = outbound;
    this.#errands = errands;
    this.#ports = ports;
  }

  portsOf(script: () => Script): GuestConnPorts {
    const carrier = this.#carrier;
    const end = (conn: number, id: number, act: (row: ConnRow, end: EndRow) => void): void => {
      const row = this.#rows.get(conn);
      const found = row?.ends.get(id);
      if (row === undefined || found === undefined || row.isOver || row.isSpliced) return;
      if (row.script === script()) act(row, found);
    };
    return {
      nowMs: () => this.#ports.now() / US_PER_MS,
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
          const most = Math.min(max, CHUNK_BYTES_MAX, row.script.limits.peekBytes);
          const least = Math.min(min, most);
          const time = toUint32(timeoutMs);
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
      dial: (id, options) => {
        const row = this.#errands.open(id, script(), this.#rows.get(id));
        return this.#outbound.dial(row, script(), options);
      },
      secure: (conn, id, options) => {
        let refusal: string | undefined = 'the connection is gone';
        end(conn, id, (row, found) => {
          if (!found.isOpen || id === CLIENT_END || found.secure !== undefined) return;
          refusal = this.#outbound.startTls(row, found, options);
        });
        return refusal;
      },
      splice: (conn, id, idleTimeoutMs, halfCloseTimeoutMs, maxBytes) =>
        end(conn, id, (row, found) => {
          row.splicedWith = found;
          this.#ports.named(row, found.name);
          this.#ports.spliced();
          carrier.splice(row.carrier, found.carrier, {
            idleTimeoutMs: toUint32(idleTimeoutMs),
            halfCloseTimeoutMs: toUint32(halfCloseTimeoutMs),
            maxBytes: Math.min(Math.max(maxBytes, 0), Number.MAX_VALUE) || 0,
          });
        }),
      sniffed: (conn, sniffed) => {
        const row = this.#rowOf(conn, script());
        if (row?.claim !== undefined) this.#ports.noted(row.flow, { sniff: sniffNote(sniffed) });
      },
      note: (conn, reason) => {
        const row = this.#rowOf(conn, script());
        row?.script.reports.aborted(reason, row.flow);
      },
      failed: (conn, error) => {
        // The connection may have ended before.
        const row = this.#rows.get(conn);
        const isOwn = row?.script === script();
        script().reports.failed('', error, isOwn ? row.flow : 0);
      },
    };
  }

  #rowOf(conn: number, script: Script): ConnRow | undefined {
    const row = this.#rows.get(conn);
    return row?.script === script && !row.isOver ? row : undefined;
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

  /** Also of a connection that is spliced: its script may end it at any time, by either end. */
  #abort(conn: number, id: number, script: Script): void {
    const row = this.#rowOf(conn, script);
    const end = row?.ends.get(id);
    if (row === undefined || end === undefined) return;
    const isConn = id === CLIENT_END || end === row.splicedWith;
    if (isConn) this.#carrier.abort(row.carrier, CLIENT_END);
    else this.#outbound.drop(row, end);
  }
}

/** As it can be sent: what is longer than 49 days is for ever, and not its remainder. */
const toUint32 = (value: number): number =>
  Math.ceil(Math.min(Math.max(value, 0), UINT32_MAX)) || 0;
