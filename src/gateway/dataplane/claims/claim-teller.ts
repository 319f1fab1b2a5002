/**
 * Tells the script host what has become of its connections. Everything that is to be told is state
 * of a claim, so that nothing has to be kept in a queue while the socket is full: what can be told
 * is told, and the rest when the socket takes messages again.
 */
import { CloseReason } from '../../../stack/close-reason.ts';
import { FlowField } from '../../../stack/flow-row.ts';
import type { Stack } from '../../../stack/stack.ts';
import type { Instant } from '../../../stack/time.ts';
import {
  CLIENT_END,
  CONN_PAYLOAD_AT,
  CONN_PAYLOAD_BYTES_MAX,
  ConnKind,
  DialResult,
  PeekedFlag,
} from '../../messages/conn.ts';
import {
  encodeBytes,
  encodeClosed,
  encodeCredit,
  encodeDialed,
  encodeOpened,
  encodePeeked,
  encodeSignal,
  encodeStarted,
} from '../../messages/conn-encode.ts';
import { type Claim, type ClaimEnd, ClaimPhase, type Landing } from './claim.ts';
import type { ConnChannel } from './conn-channel.ts';

/** DATA messages of one end before the others have their turn. */
const SHARE = 8;

export class ClaimTeller {
  readonly #channel: ConnChannel;
  readonly #stack: Stack;
  readonly #landing: Landing;

  constructor(channel: ConnChannel, stack: Stack) {
    this.#channel = channel;
    this.#stack = stack;
    this.#landing = {
      bytes: channel.bytes,
      at: CONN_PAYLOAD_AT,
      address: channel.payloadAddress,
    };
  }

  /** @returns false when the socket is full */
  started(epoch: number): boolean {
    const channel = this.#channel;
    if (!channel.isReady) return false;
    channel.send(encodeStarted(channel.view, 0, epoch));
    return true;
  }

  /** @returns false when there is more to tell, now or when the socket takes messages again */
  tell(claim: Claim, now: Instant): boolean {
    if (!this.#opened(claim)) return false;
    if (!this.#end(claim.client, now)) return false;
    for (const socket of claim.sockets) {
      if (!this.#dialed(socket) || !this.#end(socket, now) || !this.#over(socket)) return false;
    }
    return true;
  }

  /** The flow has ended. @returns as `tell` */
  closed(claim: Claim): boolean {
    if (claim.isOverTold) return true;
    if (claim.isOpenTold && claim.splice === undefined && !this.#fin(claim.client)) return false;
    const channel = this.#channel;
    if (!channel.isReady) return false;
    claim.isOverTold = true;
    const { conn, epoch, reason, requestId, bytesUp, bytesDown } = claim;
    channel.send(
      encodeClosed(channel.view, 0, conn, epoch, CLIENT_END, reason, requestId, bytesUp, bytesDown),
    );
    return true;
  }

  #opened(claim: Claim): boolean {
    if (claim.isOpenTold || claim.phase === ClaimPhase.HANDSHAKE) return true;
    const channel = this.#channel;
    if (!channel.isReady) return false;
    const { view } = this.#stack.arena;
    const at = this.#stack.rowAt(claim.row);
    channel.send(
      encodeOpened(
        channel.view,
        0,
        claim.conn,
        claim.epoch,
        claim.requestId,
        view.getFloat64(at + FlowField.SERIAL, true),
        view.getUint32(at + FlowField.GENERATION, true),
        view.getUint32(at + FlowField.DECIDER_INDEX, true),
      ),
    );
    claim.isOpenTold = true;
    return true;
  }

  #dialed(socket: ClaimEnd): boolean {
    if (socket.dialed === undefined || socket.isDialTold) return true;
    const channel = this.#channel;
    if (!channel.isReady) return false;
    const { conn, epoch } = socket.claim;
    const { id, dialed, ends } = socket;
    channel.send(encodeDialed(channel.view, 0, conn, epoch, id, dialed, ends));
    socket.isDialTold = true;
    return true;
  }

  #end(end: ClaimEnd, now: Instant): boolean {
    if (!this.#room(end)) return false;
    if (end.claim.phase !== ClaimPhase.OPEN) return true;
    return this.#peeked(end, now) && this.#data(end, now) && this.#fin(end);
  }

  #room(end: ClaimEnd): boolean {
    if (end.room === 0) return true;
    const channel = this.#channel;
    if (!channel.isReady) return false;
    const { conn, epoch } = end.claim;
    channel.send(encodeCredit(channel.view, 0, ConnKind.ROOM, conn, epoch, end.id, end.room));
    end.room = 0;
    return true;
  }

  #peeked(end: ClaimEnd, now: Instant): boolean {
    const { peek, port } = end;
    if (peek === undefined || port === undefined) return true;
    const isTimedOut = now >= peek.deadline;
    if (!isTimedOut && peek.min > 0 && !port.mayHave(peek.min)) return true;
    const channel = this.#channel;
    if (!channel.isReady) return false;
    const length = port.peek(this.#landing, peek.max);
    const isAll = port.isAll(length, peek.max);
    if (length < peek.min && !isAll && !isTimedOut) return true;
    const { conn, epoch } = end.claim;
    const late = isTimedOut && length < peek.min && !isAll ? PeekedFlag.TIMED_OUT : 0;
    const flags = late | (isAll ? PeekedFlag.FIN : 0);
    channel.send(encodePeeked(channel.view, 0, conn, epoch, end.id, peek.number, flags, length));
    end.peek = undefined;
    return true;
  }

  #data(end: ClaimEnd, now: Instant): boolean {
    const channel = this.#channel;
    const { conn, epoch } = end.claim;
    for (let share = 0; end.credit > 0 && end.port !== undefined; share++) {
      if (share === SHARE || !channel.isReady) return !end.port.mayHave(1);
      const max = Math.min(end.credit, CONN_PAYLOAD_BYTES_MAX);
      const length = end.port.read(this.#landing, max, now);
      if (length === 0) return true;
      end.credit -= length;
      end.bytesDown += length;
      channel.send(encodeBytes(channel.view, 0, ConnKind.DATA, conn, epoch, end.id, length));
    }
    return true;
  }

  #fin(end: ClaimEnd): boolean {
    const hasEnded = end.port?.hasEnded ?? end.hasEnded;
    if (!hasEnded || end.isFinTold || end.isDiscarding) return true;
    const channel = this.#channel;
    if (!channel.isReady) return false;
    const { conn, epoch } = end.claim;
    channel.send(encodeSignal(channel.view, 0, ConnKind.FIN, conn, epoch, end.id));
    end.isFinTold = true;
    return true;
  }

  #over(socket: ClaimEnd): boolean {
    if (socket.over === CloseReason.NONE || socket.isOverTold) return true;
    const channel = this.#channel;
    if (!channel.isReady) return false;
    const { conn, epoch, requestId } = socket.claim;
    const { id, over, bytesUp, bytesDown } = socket;
    channel.send(
      encodeClosed(channel.view, 0, conn, epoch, id, over, requestId, bytesUp, bytesDown),
    );
    socket.isOverTold = true;
    return true;
  }
}

/** The host knows all there is about a socket that is no more. */
export const isForgotten = (socket: ClaimEnd): boolean =>
  socket.isOverTold ||
  (socket.isDialTold && socket.dialed !== undefined && socket.dialed !== DialResult.OK);
