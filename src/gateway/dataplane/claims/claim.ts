/**
 * What is known of a claimed connection, and of each of its ends: the client and the sockets. What
 * a script dials without a client is a claim too, which has no flow.
 */
import { CloseReason } from '../../../stack/close-reason.ts';
import { type Instant, NEVER } from '../../../stack/time.ts';
import { CLIENT_END, DialResult } from '../../messages/conn.ts';
import type { SocketEnds } from '../../messages/conn-encode.ts';
import type { SlabQueue } from '../forward/slab-queue.ts';

/**
 * How bytes come and go at an end: over a connection of our TCP (row-port.ts) or over a socket of
 * the kernel (fd-port.ts).
 */
export interface EndPort {
  /** Everything that the far side sends was read, up to its FIN. */
  readonly hasEnded: boolean;
  /** It failed: neither reads nor writes lead anywhere. */
  readonly isBroken: boolean;
  /** Hands over what the far side takes now of what waits for it. @returns bytes */
  push(queue: SlabQueue, now: Instant): number;
  /** FIN, behind all that was pushed. */
  finish(now: Instant): void;
  /** Whether `max` bytes or fewer could be told with `peek` to be all, or to be `min` at least. */
  mayHave(min: number): boolean;
  /** As many of the next bytes as there are, which stay there. @returns how many */
  peek(into: Landing, max: number): number;
  /** Nothing comes behind the bytes that `peek` has just found. */
  isAll(peeked: number, max: number): boolean;
  /** Takes the next bytes. @returns how many; 0 when there are none now, or no more */
  read(into: Landing, max: number, now: Instant): number;
  /** Takes what there is and forgets it. @returns bytes that the end has to count; 0: no more */
  discard(now: Instant): number;
}

/** Where bytes are read to. */
export interface Landing {
  readonly bytes: Uint8Array;
  readonly at: number;
  /** Of `bytes[at]`, for the kernel. */
  readonly address: number;
}

/** A PEEK that was not answered yet. */
export interface Peek {
  readonly number: number;
  readonly min: number;
  readonly max: number;
  readonly deadline: Instant;
}

export class ClaimEnd {
  readonly claim: Claim;
  /** CLIENT_END, or the host's number of a socket. */
  readonly id: number;
  /** What the host has written and the far side has not taken. */
  readonly queue: SlabQueue;
  /** Undefined before the client's handshake or the dial is done, and when the end is over. */
  port: EndPort | undefined;
  /** Bytes of DATA that the host waits for. */
  credit = 0;
  /** Bytes that were taken over since the last ROOM. */
  room = 0;
  /** Bytes in front of the queue that are not the host's: a PROXY header. */
  headerBytes = 0;
  peek: Peek | undefined;
  /** The far side's FIN was read; the port may be gone since. */
  hasEnded = false;
  isFinTold = false;
  /** The host writes no more. */
  isFinWanted = false;
  isFinSent = false;
  /** The host wants nothing that still comes. */
  isDiscarding = false;
  /** Bytes of the host that went to the far side, and that came from there. */
  bytesUp = 0;
  bytesDown = 0;
  /** Of a socket: how its dial ended, once it has. */
  dialed: DialResult | undefined;
  isDialTold = false;
  /** Of a dial that succeeded, and how long it took. */
  ends: SocketEnds | undefined;
  connectUs = 0;
  /** Of a socket: when it is given up, NEVER as a rule. */
  deadline: Instant;
  /** Of a socket: why it is no more; NONE while it is. */
  over: CloseReason = CloseReason.NONE;
  isOverTold = false;

  constructor(claim: Claim, id: number, queue: SlabQueue, deadline: Instant) {
    this.claim = claim;
    this.id = id;
    this.queue = queue;
    this.deadline = deadline;
  }

  get isClient(): boolean {
    return this.id === CLIENT_END;
  }

  /** What the host writes can leave. */
  get isOpen(): boolean {
    return this.port !== undefined && (this.isClient || this.dialed === DialResult.OK);
  }

  /** Bytes of the host that it may not have heard of to be taken over. */
  get outstanding(): number {
    return this.queue.length - this.headerBytes + this.room;
  }

  /** So many bytes of the queue have gone. */
  notePushed(bytes: number): void {
    const ofHeader = Math.min(bytes, this.headerBytes);
    this.headerBytes -= ofHeader;
    this.room += bytes - ofHeader;
    this.bytesUp += bytes - ofHeader;
  }
}

export const ClaimPhase = {
  /** SYN-ACK sent: the host knows nothing of the conn yet. */
  HANDSHAKE: 0,
  OPEN: 1,
  /** The host has asked for it; what it wrote before goes first. */
  SPLICING: 2,
  /** Native: nothing is left here but who wants to hear of the end. */
  SPLICED: 3,
  /** The flow has ended, and the host has not heard of it. */
  OVER: 4,
} as const;
export type ClaimPhase = (typeof ClaimPhase)[keyof typeof ClaimPhase];

/** What SPLICE says; 0 for what the flow has. */
export interface SpliceOrder {
  readonly socket: ClaimEnd;
  readonly idleTimeoutMs: number;
  readonly halfCloseTimeoutMs: number;
  readonly maxBytes: number;
}

/** `row` of a claim without a client. */
export const NO_CLIENT = -1;

/** What tells a claim from all others. */
export interface ClaimName {
  /** NO_CLIENT, or where its flow is. */
  readonly row: number;
  readonly conn: number;
  readonly epoch: number;
  /** Of the decision; 0 without a client. */
  readonly requestId: number;
}

export class Claim implements ClaimName {
  readonly row: number;
  readonly conn: number;
  readonly epoch: number;
  readonly requestId: number;
  phase: ClaimPhase = ClaimPhase.HANDSHAKE;
  readonly client: ClaimEnd;
  sockets: ClaimEnd[] = [];
  isOpenTold = false;
  splice: SpliceOrder | undefined;
  /** Of the flow, when it has ended. */
  reason: CloseReason = CloseReason.NONE;
  bytesUp = 0;
  bytesDown = 0;
  isOverTold = false;
  /** It stands in the list of those that have something to do. */
  isListed = false;
  /** Position in the list of those that are not spliced; -1 for none. */
  position = -1;

  /** @param queue  for what the host writes to the client */
  constructor({ row, conn, epoch, requestId }: ClaimName, queue: SlabQueue) {
    this.row = row;
    this.conn = conn;
    this.epoch = epoch;
    this.requestId = requestId;
    this.client = new ClaimEnd(this, CLIENT_END, queue, NEVER);
  }

  get hasClient(): boolean {
    return this.row !== NO_CLIENT;
  }

  /** The end of that number; undefined when there is none, or no more. */
  end(id: number): ClaimEnd | undefined {
    return id === CLIENT_END && this.hasClient
      ? this.client
      : this.sockets.find((socket) => socket.id === id);
  }
}

/** Hands over what the far side takes of what the host has written, and its FIN behind all that. */
export function pushEnd(end: ClaimEnd, now: Instant): void {
  const { port, queue } = end;
  if (port === undefined || !end.isOpen) return;
  if (queue.length > 0) end.notePushed(port.push(queue, now));
  if (queue.length > 0 || !end.isFinWanted || end.isFinSent) return;
  end.isFinSent = true;
  port.finish(now);
}
