/**
 * Sessions without a stack: rows, slabs and memory as the stack has them, real sockets, and a
 * recorder in the place of what would go to the client. A test is the loop.
 */

import { monotonicNow } from '../../src/ffi/clock.ts';
import { Epoll } from '../../src/ffi/epoll.ts';
import { SharedMemory } from '../../src/ffi/memory.ts';
import { CONFIGURED_MARK, type DialPlan } from '../../src/gateway/dataplane/forward/dialer.ts';
import { STALE_TOKEN, UpstreamTable } from '../../src/gateway/dataplane/forward/upstream-table.ts';
import { LoopGuard } from '../../src/gateway/dataplane/loop-guard.ts';
import type { SessionStack } from '../../src/gateway/dataplane/sessions/session-stack.ts';
import { type SessionOptions, Sessions } from '../../src/gateway/dataplane/sessions/sessions.ts';
import type { Upstream } from '../../src/gateway/dataplane/upstream/upstream.ts';
import { type AnswerTap, NO_ANSWER_TAP } from '../../src/stack/answer-tap.ts';
import { Arena } from '../../src/stack/arena.ts';
import { CLOSE_REASON_NAMES } from '../../src/stack/close-reason.ts';
import { COUNTERS_BYTES, Counters } from '../../src/stack/counters.ts';
import { FLOW_ROW_BYTES, FlowField, TrackBit } from '../../src/stack/flow-row.ts';
import { IcmpErrorKind } from '../../src/stack/icmp-error-kind.ts';
import { OWNER_ROW_BYTES } from '../../src/stack/layout.ts';
import { LARGE_SLAB_PAYLOAD_BYTES, NO_SLAB, SlabPool } from '../../src/stack/slab-pool.ts';
import { formatAddress, writeAddress } from '../../src/stack/wire/ip-address.ts';
import { Protocol } from '../../src/stack/wire/protocol.ts';

const ROWS = 64;
const SLAB_BYTES = 16 * 1024 * 1024;
const FRAME_BYTES = 70_000;
const SLACK_BYTES = 64 * 1024;

/** What `Stack.datagram` was given. */
export interface SentDatagram {
  readonly row: number;
  readonly bytes: Uint8Array;
  readonly segmentBytes: number;
  readonly trafficClass: number;
}

export interface FlowOptions {
  readonly port: number;
  readonly ip?: string;
  readonly source?: string;
  readonly sourcePort?: number;
  readonly protocol?: Protocol;
  /** Family of the client, where it is not that of the upstream. */
  readonly family?: 4 | 6;
  readonly maxBytes?: number;
  readonly bind?: string;
  readonly via?: Upstream;
}

const plan = ({ bind = '', via }: FlowOptions): DialPlan => ({
  via,
  mark: CONFIGURED_MARK,
  bind,
  acceptFirst: false,
  proxyProtocol: 0,
  connectTimeoutMs: 0,
});

const KIND_NAMES = Object.keys(IcmpErrorKind);

export class SessionRig {
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  readonly sessions: Sessions;
  /** What went to clients, oldest first; nothing is kept while `isQuiet`. */
  readonly sent: SentDatagram[] = [];
  isQuiet = false;
  sentBytes = 0;
  readonly echoes: Uint8Array[] = [];
  /** Errors to clients: `PORT from 10.0.0.1 about 5`. */
  readonly errors: string[] = [];
  /** How flows were refused: `icmp`, `drop`. */
  readonly rejections: string[] = [];
  /** The datagrams that they are about. */
  readonly quoted: Uint8Array[] = [];
  /** How rows ended: `3 limit`. */
  readonly ended: string[] = [];
  /** Called within `admit`, where datagrams come that have waited. */
  onAdmit: (row: number) => void = () => {};
  readonly #memory: SharedMemory;
  readonly #arena: Arena;
  readonly #frameAt: number;
  readonly #upstreams: UpstreamTable;
  readonly #epoll = new Epoll();
  readonly #slabs: SlabPool;
  readonly #hoard: number[] = [];
  #rows = 0;

  constructor(
    options: Partial<SessionOptions> = {},
    slabBytes = SLAB_BYTES,
    answers: AnswerTap = NO_ANSWER_TAP,
  ) {
    const rowBytes = FLOW_ROW_BYTES + OWNER_ROW_BYTES;
    const bytes = ROWS * rowBytes + FRAME_BYTES + SlabPool.bytes(slabBytes) + SLACK_BYTES;
    this.#memory = SharedMemory.create('sessions', Math.ceil(bytes / 4096) * 4096);
    this.#arena = new Arena(this.#memory.buffer);
    const rowsAt = this.#arena.take(ROWS * FLOW_ROW_BYTES);
    const ownerAt = this.#arena.take(ROWS * OWNER_ROW_BYTES);
    this.#frameAt = this.#arena.take(FRAME_BYTES);
    const slabs = new SlabPool(this.#arena, slabBytes);
    this.#upstreams = new UpstreamTable({ arena: this.#arena, ownerAt, flows: { capacity: ROWS } });
    this.#slabs = slabs;
    const stack = this.#stack(rowsAt, slabs);
    this.sessions = new Sessions(
      {
        stack,
        upstreams: this.#upstreams,
        epoll: this.#epoll,
        counters: this.counters,
        guard: new LoopGuard('cvt-none0'),
        base: this.#memory.address,
        answers,
      },
      { limit: 32, perSource: 16, secrets: Uint32Array.of(1, 2, 3), report: () => {}, ...options },
    );
  }

  /** A new flow with its verdict: forward. @returns its row */
  start(options: FlowOptions): number {
    const row = this.#rows++;
    const { view } = this.#arena;
    const at = row * FLOW_ROW_BYTES;
    const ip = options.ip ?? '127.0.0.1';
    const family = writeAddress(ip, view, at + FlowField.UPSTREAM);
    const clientFamily = options.family ?? family;
    const destination = clientFamily === 4 ? '198.51.100.9' : '2001:db8::9';
    const source = options.source ?? (clientFamily === 4 ? '198.18.0.1' : 'fd00::1');
    writeAddress(source, view, at + FlowField.SOURCE);
    writeAddress(clientFamily === family ? ip : destination, view, at + FlowField.DESTINATION);
    view.setFloat64(at + FlowField.SERIAL, row + 1, true);
    view.setUint8(at + FlowField.FAMILY, clientFamily);
    view.setUint8(at + FlowField.UPSTREAM_FAMILY, family);
    view.setUint8(at + FlowField.PROTOCOL, options.protocol ?? Protocol.UDP);
    view.setUint16(at + FlowField.SOURCE_PORT, options.sourcePort ?? 40_000, true);
    view.setUint16(at + FlowField.DESTINATION_PORT, options.port, true);
    view.setUint16(at + FlowField.UPSTREAM_PORT, options.port, true);
    view.setFloat64(at + FlowField.MAX_BYTES, options.maxBytes ?? 0, true);
    this.#upstreams.clear(row);
    this.sessions.start(row, plan(options), monotonicNow());
    return row;
  }

  /** The client sends a datagram, or several of `segmentBytes` each. */
  send(
    row: number,
    bytes: Uint8Array | string,
    options: {
      readonly segmentBytes?: number;
      readonly hopLimit?: number;
      readonly trafficClass?: number;
      readonly mayFragment?: boolean;
    } = {},
  ): void {
    const given = typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes;
    this.#arena.bytes.set(given, this.#frameAt);
    const { segmentBytes = 0, hopLimit = 64, trafficClass = 0, mayFragment = false } = options;
    this.sendAgain(row, given.length, segmentBytes, hopLimit, trafficClass, mayFragment);
  }

  /** The client sends the first bytes of what it sent last; makes no object. */
  sendAgain(
    row: number,
    length: number,
    segmentBytes = 0,
    hopLimit = 64,
    trafficClass = 0,
    mayFragment = false,
  ): void {
    this.#add(row, FlowField.BYTES_UP, length);
    const now = monotonicNow();
    this.sessions.onDatagram(
      row,
      this.#frameAt,
      length,
      segmentBytes,
      hopLimit,
      trafficClass,
      mayFragment,
      now,
    );
  }

  /** How many rows have a socket. */
  get sockets(): number {
    let count = 0;
    for (let row = 0; row < this.#rows; row++) if (this.#upstreams.fd(row) >= 0) count += 1;
    return count;
  }

  /** The socket of a session. */
  fd(row: number): number {
    return this.#upstreams.fd(row);
  }

  /** The upstream of the flow has answered, says conntrack. */
  markReplied(row: number): void {
    this.#arena.view.setUint8(row * FLOW_ROW_BYTES + FlowField.TRACK_BITS, TrackBit.SEEN_REPLY);
  }

  /** Takes every slab that is left. */
  hoard(): void {
    for (;;) {
      const slab = this.#slabs.take(LARGE_SLAB_PAYLOAD_BYTES);
      if (slab === NO_SLAB) return;
      this.#hoard.push(slab);
    }
  }

  giveBack(): void {
    for (const slab of this.#hoard.splice(0)) this.#slabs.release(slab);
  }

  /** One turn of the loop. */
  turn(waitMs = 5): void {
    const count = this.#epoll.wait(Math.min(waitMs, this.sessions.patienceMs));
    const now = monotonicNow();
    for (let i = 0; i < count; i++) {
      const row = this.#upstreams.rowOf(this.#epoll.token(i));
      if (row !== STALE_TOKEN) this.sessions.onEvent(row, this.#epoll.events(i), now);
    }
    this.sessions.finishTurn(now);
  }

  /** Turns the loop, and Bun's, until `isDone`; a second at most. */
  async until(isDone: () => boolean): Promise<void> {
    for (let i = 0; i < 200 && !isDone(); i++) {
      this.turn();
      await Bun.sleep(1);
    }
    if (!isDone()) throw new Error('it did not come to pass within a second');
  }

  /** Ends what is left, as the stack does, and closes everything. */
  [Symbol.dispose](): void {
    for (let row = 0; row < this.#rows; row++) this.sessions.release(row);
    this.#epoll[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  #stack(rowsAt: number, slabs: SlabPool): SessionStack {
    const arena = this.#arena;
    const end = (row: number, reason: number): void => {
      this.ended.push(`${row} ${CLOSE_REASON_NAMES[reason]}`);
      this.sessions.release(row);
      this.#upstreams.clear(row);
    };
    return {
      arena,
      slabs,
      flows: { capacity: ROWS, rowAt: (row) => rowsAt + row * FLOW_ROW_BYTES },
      admit: (row) => this.onAdmit(row),
      abort: (row, reason) => end(row, reason),
      reject: (row, how, kind, reason) => {
        this.rejections.push(how);
        this.errors.push(`${KIND_NAMES[kind]} refuses`);
        end(row, reason);
      },
      datagram: (row, at, length, segmentBytes, trafficClass) => {
        this.sentBytes += length;
        if (this.isQuiet) return true;
        const bytes = arena.bytes.slice(at, at + length);
        // The stack writes headers there.
        arena.bytes.fill(0xee, at - 128, at);
        this.sent.push({ row, bytes, segmentBytes, trafficClass });
        this.#add(row, FlowField.BYTES_DOWN, length);
        return true;
      },
      echoReply: (_row, at, length) => {
        this.echoes.push(arena.bytes.slice(at, at + length));
        return true;
      },
      relayError: (row, kind, parameter, offenderAt, at, length) => {
        if (this.isQuiet) return;
        const family = arena.view.getUint8(row * FLOW_ROW_BYTES + FlowField.FAMILY);
        const from = this.#nameOf(offenderAt, family);
        const mtu = parameter === 0 ? '' : ` ${parameter}`;
        this.errors.push(`${KIND_NAMES[kind]}${mtu} from ${from} about ${length}`);
        this.quoted.push(arena.bytes.slice(at, at + length));
      },
    };
  }

  #nameOf(offenderAt: number, family: number): string {
    if (offenderAt === 0) return 'the destination';
    if (offenderAt < 0) return 'the gateway';
    return formatAddress(this.#arena.view, offenderAt, family === 4 ? 4 : 16);
  }

  #add(row: number, field: number, by: number): void {
    const at = row * FLOW_ROW_BYTES + field;
    const { view } = this.#arena;
    view.setFloat64(at, view.getFloat64(at, true) + by, true);
  }
}

/** An upstream on loopback that notes what it gets, and answers when told to. */
export class UdpUpstream {
  /** Lengths of datagrams, in order. */
  readonly lengths: number[] = [];
  readonly texts: string[] = [];
  readonly #socket: Bun.udp.Socket<'buffer'>;
  #from: { port: number; address: string } | undefined;

  private constructor(socket: Bun.udp.Socket<'buffer'>) {
    this.#socket = socket;
  }

  static async open(hostname = '127.0.0.1', port = 0): Promise<UdpUpstream> {
    let upstream: UdpUpstream | undefined;
    const socket = await Bun.udpSocket({
      hostname,
      port,
      socket: {
        data: (_socket, data, fromPort, address) => {
          if (upstream === undefined) return;
          upstream.#from = { port: fromPort, address };
          upstream.lengths.push(data.length);
          if (upstream.texts.length < 10_000) upstream.texts.push(data.toString());
        },
      },
    });
    upstream = new UdpUpstream(socket);
    return upstream;
  }

  /** Address of who sent last. */
  get from(): string | undefined {
    return this.#from?.address;
  }

  get port(): number {
    return this.#socket.port;
  }

  /** Port that the gateway's socket sends from. */
  get clientPort(): number {
    return this.#from?.port ?? 0;
  }

  /** Sends to whoever has sent last. */
  reply(bytes: Uint8Array | string): void {
    if (this.#from === undefined) throw new Error('nobody has sent yet');
    this.#socket.send(bytes, this.#from.port, this.#from.address);
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
