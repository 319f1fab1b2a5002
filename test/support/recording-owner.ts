/**
 * The owner of flows in tests: writes down what the stack tells it, takes as many bytes as it is
 * told to, and sends the server's stream.
 */
import { CLOSE_REASON_NAMES, type CloseReason } from '../../src/stack/close-reason.ts';
import { FlowField } from '../../src/stack/flow-row.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT } from '../../src/stack/slab-pool.ts';
import type { Stack } from '../../src/stack/stack.ts';
import type { FlowOwner } from '../../src/stack/tcp/owner.ts';
import type { Instant } from '../../src/stack/time.ts';
import { checkStream, fillStream, Stream } from './byte-stream.ts';

const CLOSED_BY_NAMES = ['none', 'client', 'upstream', 'gateway', 'script', 'reload', 'limit'];

/** What the owner keeps of one flow. */
export interface OwnedFlow {
  readonly row: number;
  /** What the stack said, in order: `syn`, `established`, `data 100`, `closed eof by client` … */
  readonly calls: string[];
  /** Bytes of the client's stream that were taken. */
  received: number;
  /** Bytes that may still be taken; the stack keeps the rest. */
  appetite: number;
  /** Bytes of the server's stream that were sent, and that wait for room. */
  sent: number;
  unsent: number;
  isClosing: boolean;
  isGone: boolean;
  /** What arrives is no stream of ours, and is not compared. */
  isStranger: boolean;
  /** How often it heard that more waits behind what was not taken. */
  waits: number;
}

/** Names of the calls, to hang a reaction on. */
export type OwnerCall =
  | 'syn'
  | 'deadline'
  | 'established'
  | 'connected'
  | 'data'
  | 'fin'
  | 'room'
  | 'closed';

export class RecordingOwner implements FlowOwner {
  /** What happens in a call, besides writing it down. */
  readonly reactions: Partial<Record<OwnerCall, (row: number, now: Instant) => void>> = {};
  /** Bytes that a new flow takes before the stack has to keep them. */
  appetite = Number.POSITIVE_INFINITY;
  /** Every flow that ever was, in the order of their SYNs, ours or the client's. */
  readonly flows: OwnedFlow[] = [];
  /** Rows of `onParked`. */
  readonly parked: number[] = [];
  /** What `onDatagram` was given, in order. */
  readonly datagrams: Uint8Array[] = [];
  readonly #byRow = new Map<number, OwnedFlow>();
  #stack: Stack | undefined;

  attach(stack: Stack): void {
    this.#stack = stack;
  }

  get #use(): Stack {
    if (this.#stack === undefined) throw new Error('the owner has no stack yet');
    return this.#stack;
  }

  /** The flow that lives in `row`. */
  flow(row: number): OwnedFlow {
    const flow = this.#byRow.get(row);
    if (flow === undefined) throw new Error(`row ${row} has no flow`);
    return flow;
  }

  /** The newest flow. */
  get last(): OwnedFlow {
    const flow = this.flows.at(-1);
    if (flow === undefined) throw new Error('no flow yet');
    return flow;
  }

  /** Sends `length` more bytes of the server's stream, as room comes. */
  send(row: number, length: number, now: Instant): void {
    this.flow(row).unsent += length;
    this.pump(row, now);
  }

  /** Ends the server's stream behind everything that waits. */
  close(row: number, now: Instant): void {
    this.flow(row).isClosing = true;
    this.pump(row, now);
  }

  /** Takes `bytes` more of what the stack keeps. */
  eat(row: number, bytes: number, now: Instant): void {
    this.flow(row).appetite += bytes;
    this.#use.drainBacklog(row, now);
  }

  /** Sends while there is room. @returns false when no slab was left */
  pump(row: number, now: Instant): boolean {
    const stack = this.#use;
    const flow = this.flow(row);
    while (flow.unsent > 0) {
      const room = stack.room(row, now);
      if (room === 0) return true;
      const length = Math.min(room, flow.unsent, stack.superpacketBytes(row));
      const slabAt = stack.slabs.take(length);
      if (slabAt === NO_SLAB) return false;
      fillStream(Stream.SERVER, flow.sent, stack.arena.bytes, slabAt + SLAB_PAYLOAD_AT, length);
      flow.sent += length;
      flow.unsent -= length;
      stack.transmit(row, slabAt, length, now);
    }
    if (flow.isClosing) {
      flow.isClosing = false;
      stack.close(row, now);
    }
    return true;
  }

  /** Whether a static listener rewrites a new flow: nothing does, until a test says so. */
  natOf: FlowOwner['isNat'] = () => false;

  isNat(protocol: number, destinationAt: number, addressLength: number, port: number): boolean {
    return this.natOf(protocol, destinationAt, addressLength, port);
  }

  /** Whether a listener stands in front of a prefix rule: none does, until a test says so. */
  takenBefore: FlowOwner['isTakenBefore'] = () => false;

  isTakenBefore(
    rule: number,
    protocol: number,
    destinationAt: number,
    addressLength: number,
    port: number,
  ): boolean {
    return this.takenBefore(rule, protocol, destinationAt, addressLength, port);
  }

  onDatagram(
    row: number,
    at: number,
    length: number,
    segmentBytes: number,
    hopLimit: number,
  ): void {
    const run = segmentBytes > 0 ? ` in runs of ${segmentBytes}` : '';
    this.flow(row).calls.push(`datagram ${length}${run} hop limit ${hopLimit}`);
    this.datagrams.push(this.#use.arena.bytes.slice(at, at + length));
  }

  onParked(row: number): void {
    this.parked.push(row);
  }

  onFlow(row: number, now: Instant): void {
    this.#begin(row, ['syn']);
    this.reactions.syn?.(row, now);
  }

  /** The stack dials for us: `connect` has returned this row. */
  opened(row: number): void {
    this.#begin(row, []);
  }

  #begin(row: number, calls: string[]): void {
    const flow: OwnedFlow = {
      row,
      calls,
      received: 0,
      appetite: this.appetite,
      sent: 0,
      unsent: 0,
      isClosing: false,
      isGone: false,
      isStranger: false,
      waits: 0,
    };
    if (this.#byRow.get(row)?.isGone === false) throw new Error(`row ${row} was given twice`);
    this.flows.push(flow);
    this.#byRow.set(row, flow);
  }

  onDeadline(row: number, now: Instant): void {
    this.#note(row, 'deadline', now);
  }

  onEstablished(row: number, now: Instant): void {
    this.#note(row, 'established', now);
  }

  onConnected(row: number, now: Instant): void {
    this.#note(row, 'connected', now);
  }

  onData(row: number, at: number, length: number, now: Instant): number {
    if (length <= 0) throw new Error(`onData with ${length} bytes`);
    const flow = this.#live(row);
    const taken = Math.min(length, flow.appetite);
    if (!flow.isStranger) {
      checkStream(Stream.CLIENT, flow.received, this.#use.arena.bytes, at, length);
    }
    flow.received += taken;
    flow.appetite -= taken;
    this.#note(row, 'data', now, `data ${length}`);
    return taken;
  }

  onWaiting(row: number): void {
    this.flow(row).waits += 1;
  }

  onFin(row: number, now: Instant): void {
    this.#note(row, 'fin', now);
  }

  onRoom(row: number, now: Instant): void {
    this.#note(row, 'room', now);
    if (!this.flow(row).isGone) this.pump(row, now);
  }

  onClosed(row: number, now: Instant): void {
    const stack = this.#use;
    const at = stack.rowAt(row);
    const reason = stack.arena.view.getUint8(at + FlowField.CLOSE_REASON) as CloseReason;
    const by = stack.arena.view.getUint8(at + FlowField.CLOSED_BY);
    const what = `closed ${CLOSE_REASON_NAMES[reason]} by ${CLOSED_BY_NAMES[by]}`;
    this.#note(row, 'closed', now, what);
    this.flow(row).isGone = true;
  }

  #live(row: number): OwnedFlow {
    const flow = this.flow(row);
    if (flow.isGone) throw new Error(`row ${row} was called after its end`);
    return flow;
  }

  #note(row: number, call: OwnerCall, now: Instant, what: string = call): void {
    this.#live(row).calls.push(what);
    this.reactions[call]?.(row, now);
  }
}
