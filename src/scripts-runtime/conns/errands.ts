/**
 * Sockets that scripts open outside of claimed connections: to look after their servers, to tell
 * somebody something. They belong to the call in which they were opened, and end with it; so do
 * they with its generation, and when the call has used its processor time.
 *
 * To the carrier a call with sockets is a conn without a client.
 */
import type { Script } from '../script/script.ts';
import { ConnRow, type EndRow } from './conn-row.ts';
import { ConnEvent, type ConnNews } from './guest-conns.ts';
import { CLIENT_END, type ConnPorts } from './ports.ts';

export interface ErrandPorts {
  /** The row is to be found by both of its numbers, or no longer. */
  add(row: ConnRow): void;
  remove(row: ConnRow): void;
  tell(row: ConnRow, news: ConnNews): void;
  /** Nothing of the row is dialled any more: it is gone where it was carried. */
  cancel(row: ConnRow): void;
  /** Ends a socket, or its dial, at once. */
  drop(row: ConnRow, end: EndRow): void;
}

export class Errands {
  readonly #carrier: ConnPorts;
  readonly #ports: ErrandPorts;
  readonly #rows = new Set<ConnRow>();
  #last = -1;

  constructor(carrier: ConnPorts, ports: ErrandPorts) {
    this.#carrier = carrier;
    this.#ports = ports;
  }

  /** Calls that have sockets, or had some. */
  get count(): number {
    return this.#rows.size;
  }

  /** The row of a call that may open a socket; undefined when it has ended, or is none. */
  open(call: number, script: Script, known: ConnRow | undefined): ConnRow | undefined {
    if (known !== undefined || !script.calls.isLive(call)) return known;
    this.#last++;
    const row = new ConnRow(call, this.#carrier.ownConn(this.#last), script);
    this.#rows.add(row);
    this.#ports.add(row);
    return row;
  }

  /** Sockets of one script, dials included. */
  socketsOf(script: Script): number {
    let sockets = 0;
    for (const row of this.#rows) {
      if (row.script === script) sockets += Math.max(row.ends.size, row.sockets.size);
    }
    return sockets;
  }

  /** Its sockets fail, and it opens no other. */
  end(row: ConnRow, code: string, message: string): void {
    if (row.isOver) return;
    row.isOver = true;
    row.refusal = { code, message };
    if (row.ends.size > 0) this.#carrier.abort(row.carrier, CLIENT_END);
    this.fail(row, code, message);
  }

  /** Its sockets are gone; it may open others. */
  fail(row: ConnRow, code: string, message: string): void {
    const ends: readonly EndRow[] = [...row.ends.values()];
    this.#ports.cancel(row);
    this.#tellFailed(row, ends, code, message);
  }

  /** The call is over: what was written still arrives. */
  over(row: ConnRow): void {
    const ends: readonly EndRow[] = [...row.ends.values()];
    for (const end of ends) {
      if (end.isOpen) this.#carrier.close(row.carrier, end.carrier);
      else this.#ports.drop(row, end);
    }
    row.isOver = true;
    this.#tellFailed(row, ends, 'aborted', 'the call that opened it is over');
    if (row.news.length === 0) this.forget(row);
  }

  forget(row: ConnRow): void {
    if (this.#rows.delete(row)) this.#ports.remove(row);
  }

  #tellFailed(row: ConnRow, ends: readonly EndRow[], code: string, message: string): void {
    row.ends.clear();
    row.sockets.clear();
    const text = JSON.stringify({ code, message });
    for (const { id } of ends) this.#ports.tell(row, { event: ConnEvent.FAILED, end: id, text });
  }
}
