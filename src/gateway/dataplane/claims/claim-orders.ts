/**
 * What a script host wants done with its connections. A host that breaks the rules of
 * messages/conn.ts is broken itself, or worse: the connection concerned is reset, and counted.
 */

import { CloseReason } from '../../../stack/close-reason.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { ClosedBy, FlowField } from '../../../stack/flow-row.ts';
import type { Stack } from '../../../stack/stack.ts';
import { after, type Instant, millis, NEVER } from '../../../stack/time.ts';
import { isMapped } from '../../../stack/wire/ip-address.ts';
import {
  CLIENT_END,
  CONN_SOCKETS_MAX,
  CONN_WINDOW_BYTES,
  ConnKind,
  DialResult,
  FIRST_OWN_CONN,
  OWN_CONN_SOCKETS_MAX,
} from '../../messages/conn.ts';
import type { ConnMessage } from '../../messages/conn-decode.ts';
import { failedDial } from '../forward/dial-result.ts';
import { proxyHeader } from '../forward/proxy-protocol.ts';
import type { LoopGuard } from '../loop-guard.ts';
import { RowPort } from '../row-port.ts';
import { clientHash } from '../upstream/client-hash.ts';
import { type Claim, ClaimEnd, ClaimPhase, pushEnd } from './claim.ts';
import type { ClaimSockets } from './claim-sockets.ts';
import type { ClaimTable } from './claim-table.ts';
import type { ConnChannel } from './conn-channel.ts';
import { dialIntoDevice } from './device-dial.ts';

/** More credit than any window of a host. */
const CREDIT_MAX = 2 ** 31;
/** How long a socket without a client, of which nobody wants more, waits for the far side's FIN. */
const LINGER_MS = 10_000;

export interface ClaimOrdersParts {
  readonly stack: Stack;
  readonly counters: Counters;
  readonly guard: LoopGuard;
  readonly table: ClaimTable;
  readonly sockets: ClaimSockets;
  readonly channel: ConnChannel;
}

export class ClaimOrders {
  readonly #stack: Stack;
  readonly #counters: Counters;
  readonly #guard: LoopGuard;
  readonly #table: ClaimTable;
  readonly #sockets: ClaimSockets;
  readonly #channel: ConnChannel;
  readonly #wakeAt: (deadline: Instant) => void;

  /** @param wakeAt  has the claims looked at when a deadline has come */
  constructor(parts: ClaimOrdersParts, wakeAt: (deadline: Instant) => void) {
    this.#stack = parts.stack;
    this.#counters = parts.counters;
    this.#guard = parts.guard;
    this.#table = parts.table;
    this.#sockets = parts.sockets;
    this.#channel = parts.channel;
    this.#wakeAt = wakeAt;
  }

  /** @param epoch  of the host that is listened to */
  onMessage(message: ConnMessage, epoch: number, now: Instant): void {
    const claim = message.epoch === epoch ? this.#claimOf(message) : undefined;
    if (claim === undefined || (claim.splice !== undefined && !isEnd(message))) {
      this.#counters.add(Counter.CONN_MESSAGES_LATE);
      return;
    }
    if (isEnd(message)) {
      const { detail } = message;
      if (detail === CloseReason.LIMIT) this.#end(claim, detail, ClosedBy.LIMIT, now);
      else if (detail === CloseReason.RELOADED) this.#end(claim, detail, ClosedBy.RELOAD, now);
      else this.#abort(claim.client, now);
      return;
    }
    if (claim.phase !== ClaimPhase.OPEN || !this.#carryOut(claim, message, now)) {
      this.#counters.add(Counter.CONN_MESSAGES_REFUSED);
      this.#end(claim, CloseReason.SCRIPT_FAILED, ClosedBy.GATEWAY, now);
    }
    this.#table.list(claim);
  }

  /** A claim without a client is over: all of its sockets are reset. */
  endOwn(claim: Claim, reason: CloseReason): void {
    for (const socket of claim.sockets) {
      this.#sockets.abort(socket);
      socket.queue.release();
    }
    claim.sockets = [];
    claim.reason = reason;
    claim.phase = ClaimPhase.OVER;
    this.#table.list(claim);
  }

  /** One without a client begins with its first dial. */
  #claimOf({ kind, conn, epoch }: ConnMessage): Claim | undefined {
    const table = this.#table;
    const isNew = kind === ConnKind.DIAL && conn >= FIRST_OWN_CONN && !table.own.has(conn);
    return isNew ? table.addOwn(conn, epoch) : table.find(conn);
  }

  #end(claim: Claim, reason: CloseReason, by: ClosedBy, now: Instant): void {
    if (claim.hasClient) this.#stack.abort(claim.row, reason, by, now);
    else this.endOwn(claim, reason);
  }

  /** @returns false when the message is against the rules */
  #carryOut(claim: Claim, message: ConnMessage, now: Instant): boolean {
    if (message.kind === ConnKind.DIAL) return this.#dial(claim, message, now);
    const end = claim.end(message.end);
    if (end === undefined || end.over !== CloseReason.NONE) {
      // A socket that has ended meanwhile; the splice with it cannot be.
      this.#counters.add(Counter.CONN_MESSAGES_LATE);
      if (message.kind === ConnKind.SPLICE) this.#spliceWithNone(claim, now);
      return true;
    }
    switch (message.kind) {
      case ConnKind.WANT:
        end.credit = message.bytes === 0 ? 0 : Math.min(end.credit + message.bytes, CREDIT_MAX);
        return true;
      case ConnKind.PEEK: {
        const deadline = after(now, millis(message.timeoutMs));
        end.peek = { number: message.peek, min: message.min, max: message.max, deadline };
        if (message.timeoutMs > 0) this.#wakeAt(deadline);
        return true;
      }
      case ConnKind.WRITE:
        return this.#write(end, message, now);
      case ConnKind.FIN:
        end.isFinWanted = true;
        pushEnd(end, now);
        return true;
      case ConnKind.ABORT:
        this.#abort(end, now);
        return true;
      case ConnKind.CLOSE:
        this.#close(end, now);
        return true;
      case ConnKind.SPLICE:
        return this.#splice(claim, end, message);
      default:
        return false;
    }
  }

  #write(end: ClaimEnd, message: ConnMessage, now: Instant): boolean {
    const { payloadAt, payloadLength } = message;
    if (end.isFinWanted || end.outstanding + payloadLength > CONN_WINDOW_BYTES) return false;
    if (end.dialed !== undefined && end.dialed !== DialResult.OK) return true;
    if (!end.queue.append(this.#channel.inBytes, payloadAt, payloadLength)) {
      // The slab budget is used up, and what the host has sent cannot be left where it is.
      this.#end(end.claim, CloseReason.LIMIT, ClosedBy.LIMIT, now);
      return true;
    }
    pushEnd(end, now);
    return true;
  }

  #dial(claim: Claim, message: ConnMessage, now: Instant): boolean {
    const { hasClient } = claim;
    const most = hasClient ? CONN_SOCKETS_MAX : OWN_CONN_SOCKETS_MAX;
    // The host may not have been told yet that some have failed.
    if (claim.sockets.length >= 2 * most || claim.end(message.end) !== undefined) return false;
    if (!hasClient && (message.isIntoDevice || message.proxyProtocol !== 0)) return false;
    if (!hasClient) this.#counters.add(Counter.OWN_DIALS);
    const end = new ClaimEnd(claim, message.end, this.#table.newQueue(), NEVER);
    claim.sockets.push(end);
    if (claim.sockets.length > most) {
      failedDial(end, DialResult.LIMIT, this.#counters);
      return true;
    }
    const view = this.#channel.inView;
    unmapTarget(message, view);
    if (message.proxyProtocol !== 0 && !this.#putHeader(end, message.proxyProtocol)) {
      failedDial(end, DialResult.LIMIT, this.#counters);
      return true;
    }
    const deadline = this.#sockets.deadline(message.timeoutMs, now);
    if (!message.isIntoDevice) {
      end.deadline = deadline;
      const { arena } = this.#stack;
      const hash = hasClient ? clientHash(arena.view, this.#stack.rowAt(claim.row)) : 0;
      this.#sockets.dial(end, message, view, hash, now);
      this.#wakeAt(end.deadline);
      return true;
    }
    const [stack, counters, guard] = [this.#stack, this.#counters, this.#guard];
    const row = dialIntoDevice(stack, guard, counters, end, message, view, deadline, now);
    if (row < 0) return true;
    const port = new RowPort(end, row, stack);
    end.port = port;
    this.#table.setPort(row, port);
    return true;
  }

  /** Before anything else the far end hears who the client is. @returns false without a slab */
  #putHeader(end: ClaimEnd, version: number): boolean {
    const at = this.#stack.rowAt(end.claim.row);
    const header = proxyHeader(version === 1 ? 1 : 2, this.#stack.arena.view, at);
    end.headerBytes = header.length;
    return end.queue.append(header, 0, header.length);
  }

  #abort(end: ClaimEnd, now: Instant): void {
    const { port, claim } = end;
    if (end.isClient && !claim.hasClient) {
      this.endOwn(claim, CloseReason.ABORTED);
      return;
    }
    if (end.isClient || port instanceof RowPort) {
      const row = port instanceof RowPort ? port.row : claim.row;
      this.#stack.abort(row, CloseReason.ABORTED, ClosedBy.SCRIPT, now);
      return;
    }
    this.#sockets.abort(end);
    end.queue.release();
    if (end.dialed === undefined) failedDial(end, DialResult.FAILED, this.#counters);
    else if (end.dialed === DialResult.OK) end.over = CloseReason.ABORTED;
  }

  /** What still comes is thrown away, for as long as a half-closed flow may be silent. */
  #close(end: ClaimEnd, now: Instant): void {
    if (end.dialed === undefined && !end.isClient) {
      this.#abort(end, now);
      return;
    }
    end.isDiscarding = true;
    end.isFinWanted = true;
    end.credit = 0;
    end.peek = undefined;
    pushEnd(end, now);
    if (end.isClient || end.port instanceof RowPort) return;
    const timeoutMs = this.#lingerMs(end.claim);
    if (timeoutMs === 0) return;
    end.deadline = after(now, millis(timeoutMs));
    this.#wakeAt(end.deadline);
  }

  #lingerMs({ hasClient, row }: Claim): number {
    if (!hasClient) return LINGER_MS;
    const at = this.#stack.rowAt(row) + FlowField.HALF_CLOSE_TIMEOUT_MS;
    return this.#stack.arena.view.getUint32(at, true);
  }

  #splice(claim: Claim, socket: ClaimEnd, message: ConnMessage): boolean {
    if (!claim.hasClient) return false;
    if (socket.id === CLIENT_END || socket.dialed !== DialResult.OK) return false;
    const { idleTimeoutMs, halfCloseTimeoutMs, maxBytes } = message;
    claim.splice = { socket, idleTimeoutMs, halfCloseTimeoutMs, maxBytes };
    claim.phase = ClaimPhase.SPLICING;
    return true;
  }

  #spliceWithNone(claim: Claim, now: Instant): void {
    this.#end(claim, CloseReason.UPSTREAM_RESET, ClosedBy.UPSTREAM, now);
  }
}

/** The whole conn is reset: whoever moves its bytes. */
const isEnd = ({ kind, end }: ConnMessage): boolean =>
  kind === ConnKind.ABORT && end === CLIENT_END;

/** `::ffff:a.b.c.d` is dialled by IPv4, and its route is asked for as such. */
function unmapTarget(message: ConnMessage, view: DataView): void {
  if (message.family !== 6 || !isMapped(view, message.addressAt, 16)) return;
  message.family = 4;
  message.addressAt += 12;
}
