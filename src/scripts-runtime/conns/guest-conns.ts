/**
 * Connections at the border of a sandbox: calls out of it, and events into it. Bytes cross in the
 * page that both sides see, one run in a call: as objects of the engine they would lie outside of
 * the memory that a script is limited to, and cost a copy more.
 */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { ConnectionRequest } from '../../stack/verdict.ts';
import type { Engine, SharedPage } from '../engine/engine.ts';
import { optionalText, writeRequest } from '../engine/request-page.ts';
import { type HostFunction, readNumber, readText } from '../host-functions/arguments.ts';
import { STREAM_PROTOCOLS, sniff, sniffLast } from '../sniff/sniff.ts';
import type { Sniffed, SniffedNothing, SniffProtocol } from '../sniff/sniffed.ts';
import { CHUNK_BYTES_MAX } from './ports.ts';

/** Offsets in bytes of the page. The same as in guest/page.js. */
const ConnField = { TURN_OF: 48, CONN: 52, END: 56, EVENT: 60, FLAGS: 64, LENGTH: 68 } as const;
const CHUNK_AT = 96;
export const CONN_PAGE_BYTES = CHUNK_AT + CHUNK_BYTES_MAX;

/** Positions in ON_EVENT of guest/conn.js. */
export const ConnEvent = {
  DATA: 0,
  FIN: 1,
  ROOM: 2,
  /** FLAGS: 1 the last bytes, 2 the time was over. */
  PEEKED: 3,
  /** text: { remoteAddress, localAddress, alpn? } */
  OPENED: 4,
  /** text: { code, message } */
  FAILED: 5,
  /** text: { reason, bytesUp, bytesDown, code? } */
  CLOSED: 6,
} as const;
export type ConnEvent = (typeof ConnEvent)[keyof typeof ConnEvent];

/** What a sandbox is to be told about an end. */
export interface ConnNews {
  readonly event: ConnEvent;
  readonly end: number;
  readonly flags?: number;
  readonly bytes?: Uint8Array;
  readonly text?: string;
}

/** Why a `connect()` was refused at once; `usage` throws. */
export interface DialRefusal {
  readonly code: string;
  readonly message: string;
}

/** What the guest asks for. None of it may enter the engine again. */
export interface GuestConnPorts {
  /** Milliseconds. */
  nowMs(): number;
  want(conn: number, end: number): void;
  /** @returns whether bytes may be on their way still */
  takeBack(conn: number, end: number): boolean;
  peek(conn: number, end: number, min: number, max: number, timeoutMs: number): void;
  /** @returns false while there is no room: ROOM will come */
  write(conn: number, end: number, bytes: Uint8Array): boolean;
  fin(conn: number, end: number): void;
  abort(conn: number, end: number): void;
  close(conn: number, end: number): void;
  /** @param options  as JSON. @returns the number of the socket */
  dial(conn: number, options: string): number | DialRefusal;
  /** Begins TLS; OPENED or FAILED will come. @returns in words why not */
  secure(conn: number, end: number, options: string): string | undefined;
  splice(conn: number, end: number, idleMs: number, halfCloseMs: number, maxBytes: number): void;
  /** What its client speaks, as one of our sniffers says. */
  sniffed(conn: number, sniffed: Sniffed): void;
  /** Why the script ends it, in its own words. */
  note(conn: number, reason: string): void;
  /** The hook threw; its error as guest/show.js describes it. */
  failed(conn: number, error: string): void;
}

type CallEntry = (
  entry: 'connOpen' | 'connEvent',
  ...args: QuickJSHandle[]
) => QuickJSHandle | undefined;

export class GuestConns {
  readonly #engine: Engine;
  readonly #page: SharedPage;
  readonly #call: CallEntry;

  constructor(engine: Engine, page: SharedPage, call: CallEntry) {
    this.#engine = engine;
    this.#page = page;
    this.#call = call;
  }

  /** The turn that begins is for this call. */
  setTurnOf(call: number): void {
    this.#page.view.setUint32(ConnField.TURN_OF, call, true);
  }

  /** The call or connection that the turn was for, 0 for none; for none from now on. */
  takeTurnOf(): number {
    const { view } = this.#page;
    const turnOf = view.getUint32(ConnField.TURN_OF, true);
    if (turnOf !== 0) view.setUint32(ConnField.TURN_OF, 0, true);
    return turnOf;
  }

  /** Runs the hook, in a turn of its own. */
  open(conn: number, request: ConnectionRequest, budgetUs: number): void {
    this.#engine.turn(budgetUs, () => {
      const { context } = this.#engine;
      const { view } = this.#page;
      writeRequest(view, 0, request);
      view.setUint32(ConnField.TURN_OF, conn, true);
      view.setUint32(ConnField.CONN, conn, true);
      using from = context.newString(request.source.ip);
      using to = context.newString(request.destination.ip);
      using name = optionalText(context, request.dnsName);
      this.#call('connOpen', from, to, name)?.dispose();
    });
  }

  /** Lets the script hear what has come of a connection, in a turn of its own. */
  tell(conn: number, news: readonly ConnNews[], budgetUs: number): void {
    this.#engine.turn(budgetUs, () => {
      for (const one of news) this.#tellOne(conn, one);
    });
  }

  #tellOne(conn: number, { event, end, flags = 0, bytes, text }: ConnNews): void {
    const { context } = this.#engine;
    const handle = text === undefined ? context.undefined : context.newString(text);
    const { view } = this.#page;
    view.setUint32(ConnField.TURN_OF, conn, true);
    view.setUint32(ConnField.CONN, conn, true);
    view.setUint32(ConnField.END, end, true);
    view.setUint32(ConnField.EVENT, event, true);
    view.setUint32(ConnField.FLAGS, flags, true);
    view.setUint32(ConnField.LENGTH, bytes?.length ?? 0, true);
    if (bytes !== undefined) chunkOf(view, CHUNK_BYTES_MAX).set(bytes);
    this.#call('connEvent', handle)?.dispose();
    if (text !== undefined) handle.dispose();
  }
}

const utf8 = new TextEncoder();

/** The functions of `host` that connections need; see guest/end.js, socket.js and conn.js. */
export function connFunctions(
  context: QuickJSContext,
  page: SharedPage,
  ports: GuestConnPorts,
): Record<string, HostFunction> {
  const number = (handle: QuickJSHandle | undefined) => readNumber(context, handle);
  const text = (handle: QuickJSHandle | undefined) => readText(context, handle) ?? '';
  const truth = (is: boolean) => (is ? context.true : context.false);
  /** The bytes that the guest has put there; no text may be read after it, which moves memory. */
  const chunk = () =>
    chunkOf(page.view, Math.min(page.view.getUint32(ConnField.LENGTH, true), CHUNK_BYTES_MAX));
  const onEnd =
    (act: (conn: number, end: number) => void): HostFunction =>
    (conn, end) => {
      act(number(conn), number(end));
      return undefined;
    };
  return {
    connNow: () => context.newNumber(ports.nowMs()),
    connWant: onEnd((conn, end) => ports.want(conn, end)),
    connTakeBack: (conn, end) => truth(ports.takeBack(number(conn), number(end))),
    connPeek: (conn, end, min, max, timeoutMs) => {
      ports.peek(number(conn), number(end), number(min), number(max), number(timeoutMs));
      return undefined;
    },
    connWrite: (conn, end) => truth(ports.write(number(conn), number(end), chunk())),
    connFin: onEnd((conn, end) => ports.fin(conn, end)),
    connAbort: onEnd((conn, end) => ports.abort(conn, end)),
    connClose: onEnd((conn, end) => ports.close(conn, end)),
    connDial: (conn, options) => {
      const answer = ports.dial(number(conn), text(options));
      return typeof answer === 'number'
        ? context.newNumber(answer)
        : context.newString(JSON.stringify(answer));
    },
    connSecure: (conn, end, options) => {
      const refusal = ports.secure(number(conn), number(end), text(options));
      return refusal === undefined ? undefined : context.newString(refusal);
    },
    connSplice: (conn, end, idleMs, halfCloseMs, maxBytes) => {
      const [idle, halfClose, bytes] = [idleMs, halfCloseMs, maxBytes].map(number);
      ports.splice(number(conn), number(end), idle ?? 0, halfClose ?? 0, bytes ?? 0);
      return undefined;
    },
    connNote: (conn, reason) => {
      ports.note(number(conn), text(reason));
      return undefined;
    },
    connFailed: (conn, error) => {
      ports.failed(number(conn), text(error));
      return undefined;
    },
    connEncode: (source) => {
      const piece = String(JSON.parse(text(source)));
      const { view } = page;
      const { written } = utf8.encodeInto(piece, chunkOf(view, CHUNK_BYTES_MAX));
      view.setUint32(ConnField.LENGTH, written, true);
      return undefined;
    },
    connSniff: (conn, protocols, why) => {
      const [wanted, last] = [text(protocols), text(why)];
      const outcome = sniffChunk(chunk(), wanted, last);
      if (outcome !== 'need-more') ports.sniffed(number(conn), outcome);
      return context.newString(JSON.stringify(outcome));
    },
  };
}

function sniffChunk(bytes: Uint8Array, protocols: string, why: string): Sniffed | 'need-more' {
  const chosen: unknown = protocols === '' ? undefined : JSON.parse(protocols);
  const wanted = Array.isArray(chosen) ? (chosen as SniffProtocol[]) : STREAM_PROTOCOLS;
  return why === '' ? sniff(bytes, wanted) : sniffLast(bytes, wanted, why as SniffedNothing['why']);
}

const chunkOf = (view: DataView, length: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + CHUNK_AT, length);
