/** The script host's end of messages/conn.ts, moved by hand: a test says what it sends. */
import { Errno } from '../../src/ffi/errno.ts';
import { allocateStruct } from '../../src/ffi/memory.ts';
import { receive, send } from '../../src/ffi/sockets.ts';
import {
  CLIENT_END,
  CONN_BYTES_MAX,
  CONN_PAYLOAD_AT,
  ConnKind,
  DialResult,
} from '../../src/gateway/messages/conn.ts';
import { ConnMessage, decodeToHost, endpointAt } from '../../src/gateway/messages/conn-decode.ts';
import {
  encodeBytes,
  encodeCredit,
  encodeDial,
  encodePeek,
  encodeSignal,
  encodeSplice,
  type SocketDial,
} from '../../src/gateway/messages/conn-encode.ts';
import { CLOSE_REASON_NAMES } from '../../src/stack/close-reason.ts';

const KINDS = Object.entries(ConnKind);
const RESULTS = Object.entries(DialResult);
const nameOf = (names: readonly (readonly [string, number])[], value: number) =>
  names.find(([, number]) => number === value)?.[0] ?? String(value);

/** What a test wants to see of a message. */
export interface HostMessage {
  readonly kind: string;
  readonly conn: number;
  readonly epoch: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  /** In short: `DATA 0 100`, `CLOSED 0 eof`, `DIALED 1 OK`. */
  readonly text: string;
  readonly raw: ConnMessage;
  /** Of DIALED: the local end, `192.0.2.1:80`, and the remote one. */
  readonly local: string;
  readonly remote: string;
}

export class ConnHost {
  /** Everything that came, oldest first. */
  readonly messages: HostMessage[] = [];
  /** Of the conn that was opened last. */
  conn = 0;
  epoch = 0;
  readonly #fd: number;
  readonly #io = allocateStruct(CONN_BYTES_MAX);

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Takes what has come. @returns it, in short */
  take(): string[] {
    const before = this.messages.length;
    for (;;) {
      const length = receive(this.#fd, this.#io.address, CONN_BYTES_MAX);
      if (length === -Errno.EAGAIN) break;
      if (length <= 0) throw new Error(`recv: ${length}`);
      this.#note(length);
    }
    return this.messages.slice(before).map(({ text }) => text);
  }

  /** All bytes of an end that came as DATA. */
  data(end = CLIENT_END): Buffer {
    this.take();
    const of = this.messages.filter((m) => m.kind === 'DATA' && m.end === end);
    return Buffer.concat(of.map(({ bytes }) => bytes));
  }

  want(bytes: number, end = CLIENT_END): void {
    const { view } = this.#io;
    this.#send(encodeCredit(view, 0, ConnKind.WANT, this.conn, this.epoch, end, bytes));
  }

  peek(id: number, min: number, max: number, timeoutMs: number, end = CLIENT_END): void {
    const { view } = this.#io;
    this.#send(encodePeek(view, 0, this.conn, this.epoch, end, id, min, max, timeoutMs));
  }

  /** @returns false when the socket is full */
  write(bytes: Uint8Array | string, end = CLIENT_END): boolean {
    const payload = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    this.#io.bytes.set(payload, CONN_PAYLOAD_AT);
    const { conn, epoch } = this;
    const { view } = this.#io;
    return this.#isSent(encodeBytes(view, 0, ConnKind.WRITE, conn, epoch, end, payload.length));
  }

  fin(end = CLIENT_END): void {
    this.#signal(ConnKind.FIN, end);
  }

  abort(end = CLIENT_END, reason = 0): void {
    this.#signal(ConnKind.ABORT, end, reason);
  }

  close(end = CLIENT_END): void {
    this.#signal(ConnKind.CLOSE, end);
  }

  dial(socket: number, dial: SocketDial): void {
    if (!this.tryDial(socket, dial)) throw new Error('the socket is full');
  }

  /** @returns false when the socket is full */
  tryDial(socket: number, dial: SocketDial): boolean {
    return this.#isSent(encodeDial(this.#io.view, 0, this.conn, this.epoch, socket, dial));
  }

  splice(socket: number, options: { idle?: number; half?: number; max?: number } = {}): void {
    const { idle = 0, half = 0, max = 0 } = options;
    const { conn, epoch } = this;
    this.#send(encodeSplice(this.#io.view, 0, conn, epoch, socket, idle, half, max));
  }

  /** Any bytes at all. */
  raw(bytes: Uint8Array): void {
    const io = allocateStruct(Math.max(1, bytes.length));
    io.bytes.set(bytes);
    send(this.#fd, io.address, bytes.length);
  }

  #signal(
    kind: typeof ConnKind.FIN | typeof ConnKind.ABORT | typeof ConnKind.CLOSE,
    end: number,
    reason = 0,
  ): void {
    this.#send(encodeSignal(this.#io.view, 0, kind, this.conn, this.epoch, end, reason));
  }

  #send(length: number): void {
    if (!this.#isSent(length)) throw new Error('the socket is full');
  }

  #isSent(length: number): boolean {
    return send(this.#fd, this.#io.address, length) === length;
  }

  #note(length: number): void {
    const { view, bytes } = this.#io;
    const raw = new ConnMessage();
    if (!decodeToHost(view, 0, length, raw)) throw new Error('the data plane sent rubbish');
    const kind = nameOf(KINDS, raw.kind);
    const end = (at: number, family: number, port: number) => {
      if (family === 0) return '';
      const { ip } = endpointAt(view, at, family, port);
      return `${ip}:${port}`;
    };
    this.epoch = raw.epoch;
    if (raw.kind === ConnKind.OPENED) this.conn = raw.conn;
    const payload = bytes.slice(raw.payloadAt, raw.payloadAt + raw.payloadLength);
    const isDialed = raw.kind === ConnKind.DIALED;
    this.messages.push({
      ...{ kind, conn: raw.conn, epoch: raw.epoch, end: raw.end, bytes: payload, raw },
      text: `${kind}${detailOf(raw)}`,
      local: isDialed ? end(raw.localAt, raw.localFamily, raw.localPort) : '',
      remote: isDialed ? end(raw.addressAt, raw.family, raw.port) : '',
    });
  }
}

function detailOf(message: ConnMessage): string {
  const { end, detail, payloadLength } = message;
  switch (message.kind) {
    case ConnKind.STARTED:
    case ConnKind.OPENED:
      return '';
    case ConnKind.PEEKED:
      return ` ${end} #${message.peek} ${payloadLength} flags ${detail}`;
    case ConnKind.DATA:
      return ` ${end} ${payloadLength}`;
    case ConnKind.ROOM:
      return ` ${end} ${message.bytes}`;
    case ConnKind.DIALED:
      return ` ${end} ${nameOf(RESULTS, detail)}`;
    case ConnKind.CLOSED:
      return ` ${end} ${CLOSE_REASON_NAMES[detail]}`;
    default:
      return ` ${end}`;
  }
}
