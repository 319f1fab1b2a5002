/** What the data plane keeps beside each flow, in the shared state: its upstream socket. */
import { EpollEvent } from '../../../ffi/epoll.ts';
import { OWNER_ROW_BYTES } from '../../../stack/layout.ts';
import type { Stack } from '../../../stack/stack.ts';

const UpstreamField = {
  /** int32: file descriptor plus 1, 0 when there is none. */
  FD: 0,
  /** uint32: bits of UpstreamBit. */
  BITS: 4,
  /** float64 Instant: when the dial began, and before it, when the decision was asked for. */
  SINCE: 8,
  /** uint32: counts the sockets of the row, so that an event of an older one is known as such. */
  TURN: 16,
  /** uint32: number of the request to the script host that the row waits for; 0 for none. */
  REQUEST: 20,
  /** uint32: slot of the address that it is at, of an upstream that has a name; 0 for none. */
  SLOT: 24,
} as const;

export const UpstreamBit = {
  CONNECTING: 1,
  /** The kernel has bytes for us, as far as we know. */
  READABLE: 2,
  /** The kernel takes bytes, as far as we know. */
  WRITABLE: 4,
  /** The upstream sent FIN, or urgent data: a short read does not mean that nothing is left. */
  ENDING: 8,
  /** The end of the upstream's bytes was read. */
  READ_DONE: 16,
  /** The client's FIN was passed on. */
  WRITE_SHUT: 32,
  /** The client finished the handshake. */
  OPEN: 64,
  /** The socket failed; the flow is ended as soon as the stack is not in the middle of it. */
  BROKEN: 128,
  /** The SYN was answered before the dial. */
  ACCEPT_FIRST: 256,
  /** The row stands in the list of those to go on with in the next turn. */
  LISTED: 512,
  /** The same of a session, whose list is another. */
  SESSION_LISTED: 1024,
} as const;

/** What an upstream socket is watched for. */
export const UPSTREAM_EVENTS =
  EpollEvent.IN | EpollEvent.PRI | EpollEvent.OUT | EpollEvent.RDHUP | EpollEvent.ET;

/** Flow rows begin here among the tokens of epoll; below are the fds of the loop itself. */
export const FIRST_FLOW_TOKEN = 16;
const TOKEN_ROW_BITS = 24;
const TOKEN_ROW_MASK = (1 << TOKEN_ROW_BITS) - 1;

/** The socket of an event is closed. */
export const STALE_TOKEN = -1;

/** Of a stack, where its owner's rows lie. */
interface OwnerRows extends Pick<Stack, 'arena' | 'ownerAt'> {
  readonly flows: { readonly capacity: number };
}

export class UpstreamTable {
  readonly #view: DataView;
  readonly #rowsAt: number;

  /**
   * All rows begin empty: what an earlier data plane has left in this memory are numbers of its own
   * descriptors, dials and requests.
   */
  constructor({ arena, ownerAt, flows }: OwnerRows) {
    this.#view = arena.view;
    this.#rowsAt = ownerAt;
    arena.bytes.fill(0, ownerAt, ownerAt + flows.capacity * OWNER_ROW_BYTES);
  }

  /** A fresh row for a new flow; the turn goes on counting. */
  clear(row: number): void {
    const at = this.#at(row);
    this.#view.setInt32(at + UpstreamField.FD, 0, true);
    this.#view.setUint32(at + UpstreamField.BITS, 0, true);
    this.#view.setUint32(at + UpstreamField.REQUEST, 0, true);
    this.#view.setUint32(at + UpstreamField.SLOT, 0, true);
  }

  /** The socket of the row, or -1. */
  fd(row: number): number {
    return this.#view.getInt32(this.#at(row) + UpstreamField.FD, true) - 1;
  }

  setFd(row: number, fd: number): void {
    const at = this.#at(row);
    this.#view.setInt32(at + UpstreamField.FD, fd + 1, true);
    const turn = this.#view.getUint32(at + UpstreamField.TURN, true);
    if (fd >= 0) this.#view.setUint32(at + UpstreamField.TURN, (turn + 1) & 0x7f, true);
  }

  has(row: number, bits: number): boolean {
    return (this.#view.getUint32(this.#at(row) + UpstreamField.BITS, true) & bits) !== 0;
  }

  raise(row: number, bits: number): void {
    const at = this.#at(row) + UpstreamField.BITS;
    this.#view.setUint32(at, this.#view.getUint32(at, true) | bits, true);
  }

  lower(row: number, bits: number): void {
    const at = this.#at(row) + UpstreamField.BITS;
    this.#view.setUint32(at, this.#view.getUint32(at, true) & ~bits, true);
  }

  since(row: number): number {
    return this.#view.getFloat64(this.#at(row) + UpstreamField.SINCE, true);
  }

  setSince(row: number, now: number): void {
    this.#view.setFloat64(this.#at(row) + UpstreamField.SINCE, now, true);
  }

  request(row: number): number {
    return this.#view.getUint32(this.#at(row) + UpstreamField.REQUEST, true);
  }

  setRequest(row: number, request: number): void {
    this.#view.setUint32(this.#at(row) + UpstreamField.REQUEST, request, true);
  }

  slot(row: number): number {
    return this.#view.getUint32(this.#at(row) + UpstreamField.SLOT, true);
  }

  setSlot(row: number, slot: number): void {
    this.#view.setUint32(this.#at(row) + UpstreamField.SLOT, slot, true);
  }

  /** What epoll shall say of the present socket of a row. */
  tokenOf(row: number): number {
    return this.#turn(row) * 2 ** TOKEN_ROW_BITS + row + FIRST_FLOW_TOKEN;
  }

  /**
   * The row that an event is about; STALE_TOKEN when its socket was closed, and perhaps the row
   * taken again, earlier in the same batch of events.
   */
  rowOf(token: number): number {
    const row = (token & TOKEN_ROW_MASK) - FIRST_FLOW_TOKEN;
    return this.fd(row) < 0 || this.#turn(row) !== token >>> TOKEN_ROW_BITS ? STALE_TOKEN : row;
  }

  #turn(row: number): number {
    return this.#view.getUint32(this.#at(row) + UpstreamField.TURN, true);
  }

  #at(row: number): number {
    return this.#rowsAt + row * OWNER_ROW_BYTES;
  }
}
