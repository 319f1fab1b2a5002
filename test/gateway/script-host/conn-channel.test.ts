import { expect, test } from 'bun:test';
import { allocateStruct } from '../../../src/ffi/memory.ts';
import { closeFd, receive, send, setNonBlocking, socketPair } from '../../../src/ffi/sockets.ts';
import {
  CONN_BYTES_MAX,
  CONN_PAYLOAD_AT,
  ConnKind,
  connEpoch,
  FIRST_OWN_CONN,
  PeekedFlag,
} from '../../../src/gateway/messages/conn.ts';
import { ConnMessage, decodeToDataPlane } from '../../../src/gateway/messages/conn-decode.ts';
import {
  encodeBytes,
  encodeClosed,
  encodeCredit,
  encodeOpened,
  encodePeeked,
  encodeSignal,
  encodeStarted,
} from '../../../src/gateway/messages/conn-encode.ts';
import { ConnChannel } from '../../../src/gateway/script-host/conn-channel.ts';
import { QueueIds } from '../../../src/gateway/script-host/queue-ids.ts';
import type { PlainConnEvents } from '../../../src/scripts-runtime/conns/ports.ts';
import { CloseReason } from '../../../src/stack/close-reason.ts';

const EPOCH = connEpoch(7, 1);

/** A channel with the test as data plane. */
class Pair implements Disposable {
  readonly seen: string[] = [];
  readonly channel: ConnChannel;
  readonly #theirs: number;
  readonly #mine: number;
  readonly #io = allocateStruct(CONN_BYTES_MAX);
  #isOpen = true;

  constructor() {
    [this.#mine, this.#theirs] = socketPair('seqpacket');
    setNonBlocking(this.#mine);
    setNonBlocking(this.#theirs);
    this.channel = new ConnChannel(this.#theirs, new QueueIds(0, 1));
    this.channel.epoch = 7;
  }

  get fd(): number {
    return this.#theirs;
  }

  tell(encode: (view: DataView) => number, payload = ''): void {
    this.#io.bytes.set(Buffer.from(payload), CONN_PAYLOAD_AT);
    send(this.#mine, this.#io.address, encode(this.#io.view));
  }

  read(): boolean {
    const note =
      (name: string) =>
      (...args: unknown[]) => {
        const shown = args.map((one) => (one instanceof Uint8Array ? `${Buffer.from(one)}` : one));
        this.seen.push(`${name} ${JSON.stringify(shown)}`);
      };
    const events: PlainConnEvents = {
      started: note('started'),
      opened: note('opened'),
      peeked: (conn, end, id, { bytes, isFin, isTimedOut }) =>
        note('peeked')(conn, end, id, bytes, isFin, isTimedOut),
      data: note('data'),
      fin: note('fin'),
      room: note('room'),
      dialed: note('dialed'),
      closed: note('closed'),
      lost: (isLost) => note('lost')(isLost(2)),
    };
    return this.channel.read(events);
  }

  /** The next message of the host. */
  take(): ConnMessage | undefined {
    const length = receive(this.#mine, this.#io.address, CONN_BYTES_MAX);
    const message = new ConnMessage();
    return length > 0 && decodeToDataPlane(this.#io.view, 0, length, message) ? message : undefined;
  }

  payloadOf({ payloadAt, payloadLength }: ConnMessage): string {
    return Buffer.from(this.#io.bytes.slice(payloadAt, payloadAt + payloadLength)).toString();
  }

  closeMine(): void {
    if (this.#isOpen) closeFd(this.#mine);
    this.#isOpen = false;
  }

  [Symbol.dispose](): void {
    this.closeMine();
    closeFd(this.#theirs);
  }
}

test('what a data plane says arrives as events', () => {
  using pair = new Pair();
  pair.tell((view) => encodeStarted(view, 0, EPOCH));
  pair.tell((view) => encodeOpened(view, 0, 5, EPOCH, 99, 1234, 2, 0));
  pair.tell((view) => encodePeeked(view, 0, 5, EPOCH, 0, 3, PeekedFlag.FIN, 2), 'hi');
  pair.tell((view) => encodeBytes(view, 0, ConnKind.DATA, 5, EPOCH, 0, 3), 'abc');
  pair.tell((view) => encodeCredit(view, 0, ConnKind.ROOM, 5, EPOCH, 0, 10));
  pair.tell((view) => encodeSignal(view, 0, ConnKind.FIN, 5, EPOCH, 0));
  pair.tell((view) => encodeClosed(view, 0, 5, EPOCH, 0, CloseReason.CLIENT_RESET, 99, 1, 2));
  expect(pair.read()).toBe(true);
  expect(pair.seen).toEqual([
    'started []',
    'opened [{"conn":5,"requestId":99}]',
    'peeked [5,0,3,"hi",true,false]',
    'data [5,0,"abc"]',
    'room [5,0,10]',
    'fin [5,0]',
    'closed [5,0,{"reason":"client-reset","bytesUp":1,"bytesDown":2,"requestId":99}]',
  ]);
});

test('messages for another host are not heard, and a new data plane is a loss', () => {
  using pair = new Pair();
  pair.tell((view) => encodeOpened(view, 0, 1, connEpoch(6, 1), 1, 1, 1, 0));
  pair.tell((view) => encodeOpened(view, 0, 2, EPOCH, 2, 1, 1, 0));
  pair.tell((view) => encodeStarted(view, 0, connEpoch(7, 2)));
  pair.read();
  expect(pair.seen).toEqual([
    'started []',
    'opened [{"conn":2,"requestId":2}]',
    'lost [true]',
    'started []',
  ]);
});

test('what the host asks for goes out with the epoch of the data plane', () => {
  using pair = new Pair();
  pair.tell((view) => encodeStarted(view, 0, EPOCH));
  pair.read();
  const { channel } = pair;
  channel.want(5, 0, 16_384);
  expect(pair.take()).toMatchObject({ kind: ConnKind.WANT, conn: 5, epoch: EPOCH, bytes: 16_384 });
  channel.peek(5, 0, 7, 1, 100, 300);
  expect(pair.take()).toMatchObject({ kind: ConnKind.PEEK, peek: 7, min: 1, timeoutMs: 300 });
  channel.write(5, 2, Buffer.from('text'));
  expect(pair.payloadOf(pair.take()!)).toBe('text');
  channel.fin(5, 0);
  expect(pair.take()).toMatchObject({ kind: ConnKind.FIN, end: 0 });
  channel.abort(5, 0);
  expect(pair.take()).toMatchObject({ kind: ConnKind.ABORT });
  channel.close(5, 3);
  expect(pair.take()).toMatchObject({ kind: ConnKind.CLOSE, end: 3 });
  const to = { ip: '10.0.0.1', port: 80, family: 4 } as const;
  channel.dial(5, 4, { to, into: 'tun', timeoutMs: 9, proxyProtocol: 2 });
  const dial = { end: 4, port: 80, family: 4, isIntoDevice: true, timeoutMs: 9, proxyProtocol: 2 };
  expect(pair.take()).toMatchObject({ kind: ConnKind.DIAL, ...dial });
  const times = { idleTimeoutMs: 1, halfCloseTimeoutMs: 2, maxBytes: 3 };
  channel.splice(5, 4, times);
  expect(pair.take()).toMatchObject({ kind: ConnKind.SPLICE, end: 4, ...times });
});

test.each([
  ['limit', CloseReason.LIMIT],
  ['reload', CloseReason.RELOADED],
] as const)('a conn that ends for %s says so', (why, detail) => {
  using pair = new Pair();
  pair.tell((view) => encodeStarted(view, 0, EPOCH));
  expect(pair.channel.reach).toBe('starting');
  pair.read();
  expect<string>(pair.channel.reach).toBe('up');
  pair.channel.abort(5, 0, why);
  expect(pair.take()).toMatchObject({ kind: ConnKind.ABORT, detail });
});

test('conns without a client have numbers of their queue, which no claim has', () => {
  const ids = new QueueIds(1, 3);
  using pair = new Pair();
  const channel = new ConnChannel(pair.fd, ids);
  const conns = Array.from({ length: 100 }, (_, i) => channel.ownConn(i));
  expect(new Set(conns).size).toBe(100);
  expect(conns.every(ids.isOfQueue)).toBe(true);
  expect(Math.min(...conns.map((conn) => ids.toQueue(conn)))).toBe(FIRST_OWN_CONN);
  expect(ids.toQueue(channel.ownConn(2 ** 24 - 1))).toBe(2 ** 32 - 1);
  expect(channel.ownConn(2 ** 24)).toBe(channel.ownConn(0));
});

test('a full socket loses nothing and keeps the order', () => {
  using pair = new Pair();
  const chunk = Buffer.alloc(16_384);
  let written = 0;
  while (!pair.channel.isBlocked) pair.channel.write(5, 0, chunk.fill(written++));
  for (let i = 0; i < 5; i++) pair.channel.write(5, 0, chunk.fill(written++));
  pair.channel.fin(5, 0);
  const got: number[] = [];
  for (let i = 0; i < 1000 && got.length < written; i++) {
    const message = pair.take();
    if (message === undefined) pair.channel.flush();
    else got.push(pair.payloadOf(message).charCodeAt(0));
  }
  expect(got).toEqual(Array.from({ length: written }, (_, i) => i));
  pair.channel.flush();
  expect(pair.take()).toMatchObject({ kind: ConnKind.FIN });
  expect<boolean>(pair.channel.isBlocked).toBe(false);
});

test('the end of the data plane is a loss, and writing to it is no error', () => {
  using pair = new Pair();
  pair.closeMine();
  expect(pair.read()).toBe(false);
  expect(pair.seen).toEqual(['lost [true]']);
  pair.channel.fin(5, 0);
  expect(pair.channel.isBlocked).toBe(false);
});
