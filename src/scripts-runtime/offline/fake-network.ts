/**
 * A network in memory that carries the connections which scripts claim: a client and upstreams that
 * do what a test has told them, and nothing else. Nobody waits in it for real: it says what is next
 * and when. One connection lives in it at a time.
 *
 * A client that has sent everything keeps the connection open, as a real one would. So that a run
 * comes to an end, whoever drives it calls `hangUp` when nothing is left to happen: the client ends
 * its direction, then the upstreams theirs, then the connection is cut.
 */

import type { Endpoint } from '../../stack/verdict.ts';
import {
  CLIENT_END,
  type ConnDial,
  type ConnEvents,
  type ConnPorts,
  type DialFailure,
} from '../conns/ports.ts';
import { FarEnd } from './far-end.ts';

/** What an upstream does. */
export interface UpstreamPlan {
  readonly refuses?: DialFailure;
  /** Milliseconds until it answers the dial. */
  readonly connectMs: number;
  /** What it says first. */
  readonly sends: readonly Uint8Array[];
  /** What it says once it has heard something. */
  readonly answers: readonly Uint8Array[];
  /** It says everything back. */
  readonly isEcho: boolean;
  /** It ends its direction when it has said everything. */
  readonly closes: boolean;
}

export interface NetworkPlan {
  readonly clientSends: readonly Uint8Array[];
  /** The client ends its direction when it has sent everything. */
  readonly clientCloses: boolean;
  upstream(dialed: Dialed): UpstreamPlan;
}

/** Where a dial went, and by which upstream. */
export type Dialed = Pick<ConnDial, 'to' | 'via'>;

/** What became of the connection. */
export interface NetworkResult {
  readonly clientGot: Uint8Array;
  /** By socket, in the order of dialling. */
  readonly dials: readonly (Dialed & { readonly got: Uint8Array })[];
  /** The upstream that the connection was spliced to. */
  readonly spliced: Dialed | undefined;
  /** How it ended: `eof`, or `killed` when the script reset it. */
  readonly ended: string | undefined;
}

interface Dial extends Dialed {
  /** Exists once it is connected. */
  end: FarEnd | undefined;
  got: Uint8Array;
}

/** Of the gateway's sockets, from a range for documentation (RFC 5737). */
const LOCAL: Endpoint = { ip: '192.0.2.254', port: 50_000, family: 4 };

export class FakeNetwork implements ConnPorts {
  readonly #now: () => number;
  #events: ConnEvents | undefined;
  #conn = 0;
  #plan: NetworkPlan | undefined;
  #client = new FarEnd([], false);
  #dials = new Map<number, Dial>();
  #timers: { readonly at: number; readonly tell: () => void }[] = [];
  #splicedTo: number | undefined;
  #ended: string | undefined;
  /** Steps of hanging up that were taken. */
  #hungUp = 0;

  /** @param now  microseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whom it tells; set before anything is opened. */
  set events(events: ConnEvents) {
    this.#events = events;
  }

  /** The client's handshake is done, and it does what the plan says. */
  open(requestId: number, plan: NetworkPlan): void {
    this.#conn++;
    this.#plan = plan;
    this.#client = new FarEnd(plan.clientSends, plan.clientCloses);
    this.#dials = new Map();
    this.#timers = [];
    this.#splicedTo = undefined;
    this.#ended = undefined;
    this.#hungUp = 0;
    const conn = this.#conn;
    this.#later(() => this.#events?.opened({ conn, requestId }));
  }

  /** Microseconds; what is due now lies in the past. */
  get nextDeadline(): number {
    let next = Math.min(this.#client.peekDeadline, ...this.#timers.map(({ at }) => at));
    for (const { end } of this.#dials.values()) next = Math.min(next, end?.peekDeadline ?? next);
    return next;
  }

  get isOver(): boolean {
    return this.#ended !== undefined && this.#timers.length === 0;
  }

  get result(): NetworkResult {
    const dials = [...this.#dials.values()];
    const spliced = this.#splicedTo === undefined ? undefined : this.#dials.get(this.#splicedTo);
    return {
      clientGot: this.#client.got,
      dials: dials.map(({ end, got, ...dialed }) => ({ ...dialed, got: end?.got ?? got })),
      spliced,
      ended: this.#ended,
    };
  }

  /** Tells the host what there is to tell now. @returns whether there was something */
  deliver(): boolean {
    const now = this.#now();
    const due = this.#timers.filter(({ at }) => at <= now);
    this.#timers = this.#timers.filter(({ at }) => at > now);
    for (const { tell } of due) tell();
    let wasTold = due.length > 0;
    if (this.#splicedTo === undefined) {
      for (const [id, end] of this.#ends()) wasTold = this.#tellOf(id, end, now) || wasTold;
    } else wasTold = this.#pump(this.#splicedTo) || wasTold;
    this.#endWhatIsDone();
    return wasTold;
  }

  /** Nothing else is left to happen. @returns false when there is nothing to hang up either */
  hangUp(): boolean {
    if (this.#conn === 0 || this.#ended !== undefined) return false;
    this.#hungUp++;
    if (this.#hungUp === 1) this.#client.closes();
    else if (this.#hungUp === 2) for (const { end } of this.#dials.values()) end?.closes();
    else this.#finish('client-reset');
    return true;
  }

  want(conn: number, end: number, bytes: number): void {
    const found = this.#end(conn, end);
    if (found !== undefined) found.credit = bytes === 0 ? 0 : found.credit + bytes;
  }

  peek(conn: number, end: number, id: number, min: number, max: number, timeoutMs: number): void {
    this.#end(conn, end)?.peek(id, min, max, this.#now() + timeoutMs * 1000);
  }

  write(conn: number, end: number, bytes: Uint8Array): void {
    const found = this.#end(conn, end);
    if (found === undefined) return;
    found.hear(bytes);
    const { length } = bytes;
    this.#later(() => this.#events?.room(conn, end, length));
  }

  fin(conn: number, end: number): void {
    const found = this.#end(conn, end);
    if (found !== undefined) found.heardFin = true;
  }

  abort(conn: number, end: number): void {
    if (conn !== this.#conn) return;
    if (end === CLIENT_END) this.#finish('killed');
    else this.#drop(end);
  }

  close(conn: number, end: number): void {
    const found = this.#end(conn, end);
    if (found === undefined) return;
    found.heardFin = true;
    // Nobody wants to hear what it still has to say.
    found.isDeaf = true;
  }

  dial(conn: number, socket: number, { to, via, timeoutMs }: ConnDial): void {
    const dialed = via === undefined ? { to } : { to, via };
    const plan = this.#plan?.upstream(dialed);
    if (conn !== this.#conn || plan === undefined) return;
    const dial: Dial = { ...dialed, end: undefined, got: new Uint8Array(0) };
    this.#dials.set(socket, dial);
    const { connectMs } = plan;
    const isLate = timeoutMs > 0 && connectMs > timeoutMs;
    const failure = isLate ? 'timeout' : plan.refuses;
    this.#later(
      () => {
        if (failure === undefined) dial.end = new FarEnd(plan.sends, plan.closes, plan);
        this.#events?.dialed(conn, socket, failure ?? 'ok', to, LOCAL);
      },
      isLate ? timeoutMs : connectMs,
    );
  }

  splice(conn: number, socket: number): void {
    if (conn === this.#conn) this.#splicedTo = socket;
  }

  #later(tell: () => void, ms = 0): void {
    this.#timers.push({ at: this.#now() + ms * 1000, tell });
  }

  #end(conn: number, end: number): FarEnd | undefined {
    if (conn !== this.#conn || this.#ended !== undefined) return undefined;
    return end === CLIENT_END ? this.#client : this.#dials.get(end)?.end;
  }

  *#ends(): Generator<[id: number, end: FarEnd]> {
    if (this.#conn === 0 || this.#ended !== undefined) return;
    yield [CLIENT_END, this.#client];
    for (const [id, { end }] of this.#dials) if (end !== undefined) yield [id, end];
  }

  #tellOf(id: number, end: FarEnd, now: number): boolean {
    const conn = this.#conn;
    const hasArrived = end.arrive();
    const peeked = end.takePeeked(now);
    if (peeked !== undefined) this.#events?.peeked(conn, id, peeked.id, peeked);
    const bytes = end.take();
    if (bytes !== undefined) this.#events?.data(conn, id, bytes);
    const isFin = end.takeFin();
    if (isFin) this.#events?.fin(conn, id);
    return hasArrived || peeked !== undefined || bytes !== undefined || isFin;
  }

  /** Between client and upstream, with nobody in between. */
  #pump(socket: number): boolean {
    const up = this.#dials.get(socket)?.end;
    if (up === undefined || this.#ended !== undefined) return false;
    const there = this.#client.sayAllTo(up);
    const back = up.sayAllTo(this.#client);
    return there || back;
  }

  #endWhatIsDone(): void {
    if (this.#conn === 0 || this.#ended !== undefined) return;
    if (this.#client.isDone) {
      this.#finish('eof');
      return;
    }
    for (const [socket, { end }] of this.#dials) {
      if (end?.isDone && socket !== this.#splicedTo) this.#drop(socket, 'eof');
    }
  }

  #drop(socket: number, reason = 'killed'): void {
    const dial = this.#dials.get(socket);
    if (dial?.end === undefined) return;
    const { heard: bytesUp, said: bytesDown } = dial.end;
    dial.got = dial.end.got;
    dial.end = undefined;
    const conn = this.#conn;
    this.#later(() => this.#events?.closed(conn, socket, { reason, bytesUp, bytesDown }));
  }

  #finish(reason: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    const conn = this.#conn;
    const { heard: bytesDown, said: bytesUp } = this.#client;
    this.#later(() => this.#events?.closed(conn, CLIENT_END, { reason, bytesUp, bytesDown }));
  }
}
