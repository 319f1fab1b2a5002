/**
 * A network in memory that carries the connections which scripts claim: a client and upstreams that
 * do what a test has told them, and nothing else. Nobody waits in it for real: it says what is next
 * and when. One connection of a client lives in it at a time, and besides it what scripts dial
 * without a client.
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
  type SecureResult,
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
  /** What it does where TLS is begun: bytes stay as they are. Absent: it takes it. */
  readonly tls?: SecureResult;
}

export interface NetworkPlan {
  readonly clientSends: readonly Uint8Array[];
  /** The client ends its direction when it has sent everything. */
  readonly clientCloses: boolean;
  upstream(to: Endpoint): UpstreamPlan;
}

/** What became of the connection. */
export interface NetworkResult {
  readonly clientGot: Uint8Array;
  /** By socket, in the order of dialling. */
  readonly dials: readonly { readonly to: Endpoint; readonly got: Uint8Array }[];
  /** The upstream that the connection was spliced to. */
  readonly spliced: Endpoint | undefined;
  /** How it ended: `eof`, or `killed` when the script reset it. */
  readonly ended: string | undefined;
}

interface Dial {
  readonly conn: number;
  readonly to: Endpoint;
  plan: UpstreamPlan | undefined;
  /** Exists once it is connected. */
  end: FarEnd | undefined;
  got: Uint8Array;
}

interface Timer {
  readonly conn: number;
  /** Microseconds. */
  readonly at: number;
  readonly tell: () => void;
}

/** Conns of clients have positive numbers. */
const isOwn = (conn: number): boolean => conn < 0;

/** Of the gateway's sockets, from a range for documentation (RFC 5737). */
const LOCAL: Endpoint = { ip: '192.0.2.254', port: 50_000, family: 4 };

/** Where no test has said what is there. */
const NOBODY: UpstreamPlan = {
  refuses: 'unreachable',
  connectMs: 0,
  sends: [],
  answers: [],
  isEcho: false,
  closes: false,
};

export class FakeNetwork implements ConnPorts {
  readonly reach = 'up';
  readonly ownConn = (index: number): number => -1 - index;
  /** What answers where a script dials without a client; undefined where there is nobody. */
  upstream: (to: Endpoint) => UpstreamPlan | undefined = () => undefined;
  readonly #now: () => number;
  #events: ConnEvents | undefined;
  #conn = 0;
  #plan: NetworkPlan | undefined;
  #client = new FarEnd([], false);
  #dials = new Map<number, Dial>();
  /** Without a client, by socket: those that are there, and all that were not asked for. */
  readonly #own = new Map<number, Dial>();
  #ownDials: Dial[] = [];
  #timers: Timer[] = [];
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
    this.#timers = this.#timers.filter((timer) => isOwn(timer.conn));
    this.#splicedTo = undefined;
    this.#ended = undefined;
    this.#hungUp = 0;
    const conn = this.#conn;
    this.#later(conn, () => this.#events?.opened({ conn, requestId }));
  }

  /** Microseconds; what is due now lies in the past. */
  get nextDeadline(): number {
    let next = Math.min(this.#client.peekDeadline, ...this.#timers.map(({ at }) => at));
    for (const dials of [this.#dials, this.#own]) {
      for (const { end } of dials.values()) next = Math.min(next, end?.peekDeadline ?? next);
    }
    return next;
  }

  get isOver(): boolean {
    return this.#ended !== undefined && this.#timers.every(({ conn }) => isOwn(conn));
  }

  /** What scripts dialled without a client since it was asked last, in their order. */
  takeOwnDials(): NetworkResult['dials'] {
    const dials = this.#ownDials;
    this.#ownDials = [];
    return dials.map(({ to, end, got }) => ({ to, got: end?.got ?? got }));
  }

  get result(): NetworkResult {
    const dials = [...this.#dials.values()];
    const spliced = this.#splicedTo === undefined ? undefined : this.#dials.get(this.#splicedTo);
    return {
      clientGot: this.#client.got,
      dials: dials.map(({ to, end, got }) => ({ to, got: end?.got ?? got })),
      spliced: spliced?.to,
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
      for (const [id, end] of this.#ends()) {
        wasTold = this.#tellOf(this.#conn, id, end, now) || wasTold;
      }
    } else wasTold = this.#pump(this.#splicedTo) || wasTold;
    for (const [id, { conn, end }] of this.#own) {
      if (end !== undefined) wasTold = this.#tellOf(conn, id, end, now) || wasTold;
    }
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
    this.#later(conn, () => this.#events?.room(conn, end, length));
  }

  fin(conn: number, end: number): void {
    const found = this.#end(conn, end);
    if (found !== undefined) found.heardFin = true;
  }

  abort(conn: number, end: number): void {
    if (isOwn(conn)) {
      for (const [socket, dial] of this.#own) {
        if (dial.conn !== conn || (end !== CLIENT_END && end !== socket)) continue;
        this.#drop(dial, socket);
        this.#own.delete(socket);
      }
    } else if (conn === this.#conn) {
      if (end === CLIENT_END) this.#finish('killed');
      else this.#drop(this.#dials.get(end), end);
    }
  }

  close(conn: number, end: number): void {
    const found = this.#end(conn, end);
    if (found === undefined) return;
    found.heardFin = true;
    // Nobody wants to hear what it still has to say.
    found.isDeaf = true;
  }

  dial(conn: number, socket: number, { to, timeoutMs }: ConnDial): void {
    const dial: Dial = { conn, to, plan: undefined, end: undefined, got: new Uint8Array(0) };
    const plan = this.#enter(socket, dial);
    if (plan === undefined) return;
    dial.plan = plan;
    const { connectMs } = plan;
    const isLate = timeoutMs > 0 && connectMs > timeoutMs;
    const failure = isLate ? 'timeout' : plan.refuses;
    this.#later(
      conn,
      () => {
        // It was given up meanwhile.
        if (isOwn(conn) && !this.#own.has(socket)) return;
        if (failure === undefined) dial.end = new FarEnd(plan.sends, plan.closes, plan);
        else this.#own.delete(socket);
        this.#events?.dialed(conn, socket, failure ?? 'ok', to, LOCAL);
      },
      isLate ? timeoutMs : connectMs,
    );
  }

  secure(conn: number, socket: number): void {
    const dial = isOwn(conn) ? this.#own.get(socket) : this.#dials.get(socket);
    const result = dial?.plan?.tls ?? {};
    this.#later(conn, () => this.#events?.secured(conn, socket, result));
  }

  splice(conn: number, socket: number): void {
    if (conn === this.#conn) this.#splicedTo = socket;
  }

  /** @returns what is there; undefined for a connection that is none */
  #enter(socket: number, dial: Dial): UpstreamPlan | undefined {
    if (isOwn(dial.conn)) {
      this.#own.set(socket, dial);
      this.#ownDials.push(dial);
      return this.upstream(dial.to) ?? NOBODY;
    }
    if (dial.conn === this.#conn) this.#dials.set(socket, dial);
    return dial.conn === this.#conn ? this.#plan?.upstream(dial.to) : undefined;
  }

  #later(conn: number, tell: () => void, ms = 0): void {
    this.#timers.push({ conn, at: this.#now() + ms * 1000, tell });
  }

  #end(conn: number, end: number): FarEnd | undefined {
    if (isOwn(conn)) return this.#own.get(end)?.end;
    if (conn !== this.#conn || this.#ended !== undefined) return undefined;
    return end === CLIENT_END ? this.#client : this.#dials.get(end)?.end;
  }

  *#ends(): Generator<[id: number, end: FarEnd]> {
    if (this.#conn === 0 || this.#ended !== undefined) return;
    yield [CLIENT_END, this.#client];
    for (const [id, { end }] of this.#dials) if (end !== undefined) yield [id, end];
  }

  #tellOf(conn: number, id: number, end: FarEnd, now: number): boolean {
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
    for (const [socket, dial] of this.#own) if (dial.end?.isDone) this.#drop(dial, socket, 'eof');
    if (this.#conn === 0 || this.#ended !== undefined) return;
    if (this.#client.isDone) {
      this.#finish('eof');
      return;
    }
    for (const [socket, dial] of this.#dials) {
      if (dial.end?.isDone && socket !== this.#splicedTo) this.#drop(dial, socket, 'eof');
    }
  }

  #drop(dial: Dial | undefined, socket: number, reason = 'killed'): void {
    if (dial?.end === undefined) return;
    const { heard: bytesUp, said: bytesDown } = dial.end;
    const { conn } = dial;
    dial.got = dial.end.got;
    dial.end = undefined;
    this.#own.delete(socket);
    this.#later(conn, () => this.#events?.closed(conn, socket, { reason, bytesUp, bytesDown }));
  }

  #finish(reason: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    const conn = this.#conn;
    const { heard: bytesDown, said: bytesUp } = this.#client;
    const closed = { reason, bytesUp, bytesDown };
    this.#later(conn, () => this.#events?.closed(conn, CLIENT_END, closed));
  }
}
