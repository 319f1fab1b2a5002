/**
 * The owner of all flows: the path of a decision, and who gets the bytes. Start at `onFlow`.
 *
 *   SYN → listener, or script → forward: dial, then accept, then splice
 *                              → redirect: accept, then a service of the gateway
 *                              → reject, drop, or the fallback: refused, with a reason
 */
import { CloseReason } from '../../stack/close-reason.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import {
  ClosedBy,
  Decider,
  FlowField,
  FlowPhase,
  Service,
  VerdictCode,
} from '../../stack/flow-row.ts';
import { IcmpErrorKind } from '../../stack/icmp-error-kind.ts';
import type { Stack } from '../../stack/stack.ts';
import type { FlowOwner } from '../../stack/tcp/owner.ts';
import { after, type Instant, millis, NEVER } from '../../stack/time.ts';
import { CONGESTION_NAMES, type RejectWith } from '../../stack/verdict.ts';
import { writeAddress } from '../../stack/wire/ip-address.ts';
import type { ListenerRule, LiveConfig, ScriptsState } from '../messages/control.ts';
import { type DecisionAnswer, HandshakeCode, VERDICT_FAILED } from '../messages/decision.ts';
import type { Decisions } from './decisions.ts';
import { CONFIGURED_MARK, type Dialer, type DialPlan } from './dialer.ts';
import { Listeners, NO_LISTENER } from './listeners.ts';
import type { Reports } from './reports.ts';
import type { Splice } from './splice.ts';
import { UpstreamBit, type UpstreamTable } from './upstream-table.ts';
import type { Welcome } from './welcome.ts';

/** The parts that flows are handed to; made after the stack, which wants its owner first. */
export interface FlowParts {
  readonly stack: Stack;
  readonly upstreams: UpstreamTable;
  readonly splice: Splice;
  readonly dialer: Dialer;
  readonly decisions: Decisions;
  readonly welcome: Welcome;
  readonly reports: Reports;
  readonly counters: Counters;
}

/** By `RejectCode` of messages/decision.ts. */
const REJECT_WITH: readonly RejectWith[] = ['rst', 'icmp', 'drop'];

export class Flows implements FlowOwner {
  #parts: FlowParts | undefined;
  #live: LiveConfig;
  #listeners: Listeners;
  #scripts: ScriptsState;
  readonly #plan: DialPlan = {
    mark: CONFIGURED_MARK,
    bind: '',
    acceptFirst: false,
    proxyProtocol: 0,
    connectTimeoutMs: 0,
  };

  constructor(live: LiveConfig, scripts: ScriptsState) {
    this.#live = live;
    this.#listeners = new Listeners(live.listeners);
    this.#scripts = scripts;
  }

  attach(parts: FlowParts): void {
    this.#parts = parts;
    this.configure(this.#live);
  }

  configure(live: LiveConfig): void {
    this.#live = live;
    this.#listeners = new Listeners(live.listeners);
    this.#use.dialer.configure(live);
    this.#use.stack.setLocalAddresses(live.localAddresses);
    this.#use.stack.setKeepalive(live.timeouts.keepaliveMs * 1000);
    this.#use.stack.setUserTimeout(live.timeouts.userMs * 1000);
  }

  /** The script host came, went, or is not wanted; what waits for one that is gone fails closed. */
  setScripts(scripts: ScriptsState, now: Instant): void {
    const before = this.#scripts;
    this.#scripts = scripts;
    if (scripts.state === 'up' && scripts.epoch === before.epoch) return;
    this.#use.decisions.abandonAll((row) => this.#failDecision(row, now));
  }

  onFlow(row: number, now: Instant): void {
    const { stack, upstreams, decisions } = this.#use;
    upstreams.clear(row);
    upstreams.setSince(row, now);
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    const { idleMs, halfCloseMs } = this.#live.timeouts;
    view.setUint32(at + FlowField.IDLE_TIMEOUT_MS, idleMs, true);
    view.setUint32(at + FlowField.HALF_CLOSE_TIMEOUT_MS, halfCloseMs, true);
    const listener = this.#listeners.match(
      'tcp',
      view,
      at + FlowField.DESTINATION,
      view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 16,
      view.getUint16(at + FlowField.DESTINATION_PORT, true),
    );
    if (listener !== NO_LISTENER) {
      this.#onListener(row, listener, now);
    } else if (this.#scripts.state === 'none') {
      this.#refuse(row, 'rst', CloseReason.UNCLAIMED, now);
    } else if (this.#scripts.state === 'up' && decisions.ask(row, this.#scripts.epoch)) {
      stack.setDeadline(row, after(now, millis(this.#live.timeouts.decisionMs)));
    } else {
      this.#failDecision(row, now);
    }
  }

  onDeadline(row: number, now: Instant): void {
    const { stack, decisions, dialer } = this.#use;
    if (stack.tcb(row).phase === FlowPhase.DECIDING) {
      decisions.abandon(row);
      this.#failDecision(row, now);
    } else {
      dialer.onTimeout(row, now);
    }
  }

  /** The script host has answered about the held SYN in `row`. */
  onAnswer(row: number, answer: DecisionAnswer, now: Instant): void {
    const { stack, upstreams, counters } = this.#use;
    const tookUs = now - upstreams.since(row);
    stack.arena.view.setUint32(stack.rowAt(row) + FlowField.DECISION_US, tookUs, true);
    counters.add(Counter.DECISIONS_ANSWERED);
    counters.add(Counter.DECISIONS_US, tookUs);
    if (answer.verdict === VERDICT_FAILED) {
      this.#failDecision(row, now);
      return;
    }
    this.#noteDecider(row, Decider.SCRIPT, answer.script, answer.generation);
    switch (answer.verdict) {
      case VerdictCode.DECLINE:
        this.#noteVerdict(row, VerdictCode.DECLINE);
        stack.reject(row, 'rst', IcmpErrorKind.PORT, CloseReason.UNCLAIMED, ClosedBy.GATEWAY, now);
        break;
      case VerdictCode.REJECT:
        this.#reject(row, REJECT_WITH[answer.detail] ?? 'rst', ClosedBy.SCRIPT, now);
        break;
      case VerdictCode.REDIRECT:
        this.#redirect(row, answer, now);
        break;
      case VerdictCode.FORWARD:
        this.#forwardAsScriptSays(row, answer, now);
        break;
      default:
        this.#failDecision(row, now);
    }
  }

  onEstablished(row: number, now: Instant): void {
    const { upstreams, splice } = this.#use;
    upstreams.raise(row, UpstreamBit.OPEN);
    if (this.#service(row) === Service.NONE) splice.download(row, now);
  }

  onConnected(row: number): void {
    throw new Error(`row ${row} was dialled into the device, and nobody here does that`);
  }

  onData(row: number, at: number, length: number, now: Instant): number {
    const { splice, welcome } = this.#use;
    return this.#service(row) === Service.NONE
      ? splice.upload(row, at, length)
      : welcome.onData(row, at, length, now);
  }

  onFin(row: number, now: Instant): void {
    const { splice, welcome } = this.#use;
    if (this.#service(row) === Service.NONE) splice.finish(row);
    else welcome.onFin(row, now);
  }

  onRoom(row: number, now: Instant): void {
    if (this.#service(row) === Service.NONE) this.#use.splice.download(row, now);
  }

  onClosed(row: number, _now: Instant): void {
    const { stack, upstreams, decisions, dialer, welcome, reports } = this.#use;
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    if (upstreams.request(row) !== 0) decisions.abandon(row);
    welcome.release(row);
    dialer.release(row, view.getUint8(at + FlowField.CLOSE_REASON) !== CloseReason.EOF);
    // Whatever was left to do for this row is done: the next turn must not find it listed.
    upstreams.clear(row);
    reports.flow(stack.arena.bytes, at);
  }

  get #use(): FlowParts {
    if (this.#parts === undefined) throw new Error('flows are used before their parts exist');
    return this.#parts;
  }

  #onListener(row: number, index: number, now: Instant): void {
    const rule = this.#listeners.rule(index);
    this.#noteDecider(row, Decider.LISTENER, index, this.#live.generation);
    switch (rule.action.kind) {
      case 'drop':
        this.#reject(row, 'drop', ClosedBy.GATEWAY, now);
        break;
      case 'reject':
        this.#reject(row, rule.action.with, ClosedBy.GATEWAY, now);
        break;
      case 'forward':
        this.#setUpstream(row, rule.action);
        this.#plan.mark = CONFIGURED_MARK;
        this.#plan.bind = '';
        this.#plan.acceptFirst = false;
        this.#plan.proxyProtocol = 0;
        this.#plan.connectTimeoutMs = 0;
        this.#forward(row, now);
        break;
    }
  }

  /** Writes a listener's target into the row: the original destination, or parts of another. */
  #setUpstream(row: number, { to }: Extract<ListenerRule['action'], { kind: 'forward' }>): void {
    this.#copyDestination(row);
    if (to === undefined) return;
    const { stack } = this.#use;
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    const family = writeAddress(to.ip, view, at + FlowField.UPSTREAM);
    view.setUint8(at + FlowField.UPSTREAM_FAMILY, family);
    if (to.port !== undefined) view.setUint16(at + FlowField.UPSTREAM_PORT, to.port, true);
  }

  #copyDestination(row: number): void {
    const { stack } = this.#use;
    const { bytes, view } = stack.arena;
    const at = stack.rowAt(row);
    const from = at + FlowField.DESTINATION;
    bytes.copyWithin(at + FlowField.UPSTREAM, from, from + 16);
    const port = view.getUint16(at + FlowField.DESTINATION_PORT, true);
    view.setUint16(at + FlowField.UPSTREAM_PORT, port, true);
    view.setUint8(at + FlowField.UPSTREAM_FAMILY, view.getUint8(at + FlowField.FAMILY));
  }

  #forwardAsScriptSays(row: number, answer: DecisionAnswer, now: Instant): void {
    const { stack, decisions } = this.#use;
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    this.#copyDestination(row);
    if (answer.toFamily !== 0) {
      decisions.copyTarget(answer, at + FlowField.UPSTREAM);
      view.setUint8(at + FlowField.UPSTREAM_FAMILY, answer.toFamily);
      view.setUint16(at + FlowField.UPSTREAM_PORT, answer.toPort, true);
    }
    if (answer.idleTimeoutMs > 0) {
      view.setUint32(at + FlowField.IDLE_TIMEOUT_MS, answer.idleTimeoutMs, true);
    }
    if (answer.halfCloseTimeoutMs > 0) {
      view.setUint32(at + FlowField.HALF_CLOSE_TIMEOUT_MS, answer.halfCloseTimeoutMs, true);
    }
    view.setFloat64(at + FlowField.MAX_BYTES, answer.maxBytes, true);
    const congestion = CONGESTION_NAMES[answer.congestion - 1];
    if (congestion !== undefined) stack.setCongestion(row, congestion);
    const plan = this.#plan;
    plan.mark = answer.mark;
    plan.bind = decisions.bindAddress(answer);
    plan.acceptFirst = answer.detail === HandshakeCode['accept-first'];
    plan.proxyProtocol = answer.proxyProtocol;
    plan.connectTimeoutMs = answer.connectTimeoutMs;
    this.#forward(row, now);
  }

  #forward(row: number, now: Instant): void {
    this.#noteVerdict(row, VerdictCode.FORWARD);
    this.#use.dialer.dial(row, this.#plan, now);
  }

  #redirect(row: number, answer: DecisionAnswer, now: Instant): void {
    const { stack, decisions, welcome } = this.#use;
    if (answer.detail !== Service.WELCOME) {
      this.#failDecision(row, now);
      return;
    }
    this.#noteVerdict(row, VerdictCode.REDIRECT);
    stack.arena.view.setUint8(stack.rowAt(row) + FlowField.SERVICE, answer.detail);
    welcome.open(row, decisions.text(answer));
    stack.setDeadline(row, NEVER);
    stack.accept(row, now);
  }

  #reject(row: number, how: RejectWith, by: ClosedBy, now: Instant): void {
    this.#noteVerdict(row, how === 'drop' ? VerdictCode.DROP : VerdictCode.REJECT);
    const reason = how === 'drop' ? CloseReason.DROPPED : CloseReason.REJECTED;
    this.#use.stack.reject(row, how, IcmpErrorKind.PROHIBITED, reason, by, now);
  }

  /** The fallback verdict: fail closed, visibly. */
  #failDecision(row: number, now: Instant): void {
    this.#use.counters.add(Counter.DECISIONS_FAILED);
    this.#refuse(row, 'rst', CloseReason.SCRIPT_FAILED, now);
  }

  #refuse(row: number, how: RejectWith, reason: CloseReason, now: Instant): void {
    this.#noteDecider(row, Decider.FALLBACK, 0, 0);
    this.#noteVerdict(row, VerdictCode.REJECT);
    this.#use.stack.reject(row, how, IcmpErrorKind.PORT, reason, ClosedBy.GATEWAY, now);
  }

  #service(row: number): number {
    const { stack } = this.#use;
    return stack.arena.view.getUint8(stack.rowAt(row) + FlowField.SERVICE);
  }

  #noteVerdict(row: number, verdict: VerdictCode): void {
    const { stack } = this.#use;
    stack.arena.view.setUint8(stack.rowAt(row) + FlowField.VERDICT, verdict);
  }

  #noteDecider(row: number, decider: Decider, index: number, generation: number): void {
    const { stack } = this.#use;
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    view.setUint8(at + FlowField.DECIDER, decider);
    view.setUint32(at + FlowField.DECIDER_INDEX, index, true);
    view.setUint32(at + FlowField.GENERATION, generation, true);
  }
}
