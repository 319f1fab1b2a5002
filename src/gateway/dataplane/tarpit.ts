/**
 * The tarpit: `reject` with `tarpit`. As in TARPIT of xtables-addons the handshake is answered, and
 * nothing else ever is: the window is zero from the SYN-ACK on, so a client that has something to
 * say asks again and again whether it opens, and one that only listens waits. What is held is a row
 * of the flow table, with neither slab nor socket; what a client behind a SYN cookie sends into the
 * window that it was promised is thrown away.
 *
 * A client leaves by a reset; a FIN finds no room in the window. One that went in silence is found
 * by keep-alives, as everywhere; otherwise the idle timeout of the row ends it, `timeouts.tarpit`
 * here, which no byte ever puts off.
 */
import { CloseReason } from '../../stack/close-reason.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import {
  ClosedBy,
  Decider,
  FlowField,
  Handshake,
  noteHandshake,
  Service,
} from '../../stack/flow-row.ts';
import { NO_FLOW } from '../../stack/flow-table.ts';
import { IcmpErrorKind } from '../../stack/icmp-error-kind.ts';
import type { Stack } from '../../stack/stack.ts';
import { type Instant, NEVER } from '../../stack/time.ts';
import type { TarpitBounds } from '../messages/control.ts';
import type { FlowService } from './flow-service.ts';

export class Tarpit implements FlowService {
  readonly #stack: Stack;
  readonly #counters: Counters;
  #bounds: TarpitBounds = { limit: 0, holdMs: 0 };
  #held = 0;
  #isDraining = false;

  constructor(stack: Stack, counters: Counters) {
    this.#stack = stack;
    this.#counters = counters;
  }

  /** For clients that come from now on; those that are held stay. */
  configure(bounds: TarpitBounds): void {
    this.#bounds = bounds;
  }

  /** Answers the client in `row`, a connection that waits for its verdict, and holds it. */
  hold(row: number, now: Instant): void {
    const stack = this.#stack;
    if (this.#isDraining || this.#held >= this.#bounds.limit) {
      const { LIMIT, DRAIN } = CloseReason;
      const [reason, by] = this.#isDraining ? [DRAIN, ClosedBy.GATEWAY] : [LIMIT, ClosedBy.LIMIT];
      this.#counters.add(Counter.TARPIT_REFUSED);
      stack.reject(row, 'rst', IcmpErrorKind.PROHIBITED, reason, by, now);
      return;
    }
    const { view } = stack.arena;
    const at = stack.rowAt(row);
    view.setUint8(at + FlowField.SERVICE, Service.TARPIT);
    view.setUint32(at + FlowField.IDLE_TIMEOUT_MS, this.#bounds.holdMs, true);
    noteHandshake(view, at, Handshake.ACCEPT_FIRST);
    this.#counters.add(Counter.TARPIT_TOTAL);
    this.#count(1);
    stack.shutWindow(row);
    stack.setDeadline(row, NEVER);
    stack.accept(row, now);
  }

  /** Lets all go, and holds nobody from now on: nobody waits for these connections to end. */
  drain(now: Instant): void {
    const stack = this.#stack;
    this.#isDraining = true;
    for (let row = stack.flows.nextLive(0); row !== NO_FLOW; row = stack.flows.nextLive(row + 1)) {
      if (this.#has(row)) stack.abort(row, CloseReason.DRAIN, ClosedBy.GATEWAY, now);
    }
  }

  /** However it ends, it was refused with this: the first reason that is noted stays. */
  onEstablished(row: number): void {
    const { view } = this.#stack.arena;
    const at = this.#stack.rowAt(row);
    const isScript = view.getUint8(at + FlowField.DECIDER) === Decider.SCRIPT;
    view.setUint8(at + FlowField.CLOSE_REASON, CloseReason.TARPIT);
    view.setUint8(at + FlowField.CLOSED_BY, isScript ? ClosedBy.SCRIPT : ClosedBy.GATEWAY);
  }

  onData(_row: number, _at: number, length: number): number {
    return length;
  }

  onWaiting(): void {}
  onFin(): void {}
  onRoom(): void {}

  release(row: number): void {
    if (this.#has(row)) this.#count(-1);
  }

  #has(row: number): boolean {
    const at = this.#stack.rowAt(row);
    return this.#stack.arena.view.getUint8(at + FlowField.SERVICE) === Service.TARPIT;
  }

  #count(by: number): void {
    this.#held += by;
    this.#counters.set(Counter.TARPIT_NOW, this.#held);
  }
}
