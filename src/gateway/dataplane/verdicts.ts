/**
 * What a verdict does to a flow that waits: it is dialled for, given a socket for its datagrams,
 * rewritten, answered by a service, or refused with a reason. The verdict is a listener's or a
 * script's; where it does not fit the flow, or nobody decides, the flow is refused. Of scripts that
 * fail to decide, `scripts.onError` says what becomes of the flow.
 */
import { CloseReason } from '../../stack/close-reason.ts';
import { Counter } from '../../stack/counters.ts';
import {
  ClosedBy,
  Decider,
  FlowField,
  Handshake,
  noteHandshake,
  PROTOCOL_NAMES,
  Service,
  VerdictCode,
} from '../../stack/flow-row.ts';
import { noteVerdict } from '../../stack/flow-tally.ts';
import { IcmpErrorKind } from '../../stack/icmp-error-kind.ts';
import { type Instant, NEVER } from '../../stack/time.ts';
import {
  CONGESTION_NAMES,
  type OnError,
  REJECT_WITHS,
  type RejectWith,
  type UpstreamKind,
} from '../../stack/verdict.ts';
import { writeAddress } from '../../stack/wire/ip-address.ts';
import { Protocol } from '../../stack/wire/protocol.ts';
import type { ListenerRule } from '../messages/control.ts';
import { type DecisionAnswer, HandshakeCode } from '../messages/decision.ts';
import type { FlowParts } from './flows.ts';
import { CONFIGURED_MARK, type DialPlan } from './forward/dialer.ts';
import { Listeners } from './listeners.ts';

export class Verdicts {
  /** What becomes of a flow about which scripts give no verdict. */
  onError: OnError = 'reject';
  readonly #parts: FlowParts;
  readonly #plan: DialPlan = {
    mark: CONFIGURED_MARK,
    bind: '',
    acceptFirst: false,
    proxyProtocol: 0,
    connectTimeoutMs: 0,
    via: undefined,
  };

  /** Of the configuration in force, for `redirect`. */
  #listeners = new Listeners([]);

  constructor(parts: FlowParts) {
    this.#parts = parts;
  }

  configure(listeners: Listeners): void {
    this.#listeners = listeners;
  }

  /** A listener decides: the one at `index` of `generation` of the configuration. */
  ofListener(
    row: number,
    index: number,
    generation: number,
    action: ListenerRule['action'],
    now: Instant,
  ): void {
    this.#noteDecider(row, Decider.LISTENER, index, generation);
    this.#noteVerdict(row, verdictOf(action));
    this.#act(row, action, ClosedBy.GATEWAY, now);
  }

  /** Does what a listener says, and notes no verdict. */
  #act(row: number, action: ListenerRule['action'], by: ClosedBy, now: Instant): void {
    switch (action.kind) {
      case 'drop':
        this.#reject(row, 'drop', by, now);
        break;
      case 'prefix':
        throw new Error('a prefix rule matches no flow');
      case 'reject':
        this.#reject(row, action.with, by, now);
        break;
      case 'nat':
        this.#setUpstream(row, action.to);
        this.#setIdleTimeout(row, action.idleTimeoutMs ?? 0);
        this.#nat(row, action.masquerade, now);
        break;
      case 'forward':
        this.#setUpstream(row, action.to);
        if (action.idleTimeoutMs !== undefined) this.#setIdleTimeout(row, action.idleTimeoutMs);
        this.#usePlanOfConfig();
        this.#forward(row, action.via ?? '', action.to !== undefined, now);
        break;
    }
  }

  /** A script decides. */
  ofScript(row: number, answer: DecisionAnswer, now: Instant): void {
    if (answer.afterFailure) this.#parts.counters.add(Counter.DECISIONS_FAILED);
    this.#noteDecider(row, Decider.SCRIPT, answer.script, answer.generation);
    switch (answer.verdict) {
      case VerdictCode.DECLINE:
        this.#refuse(row, VerdictCode.DECLINE, CloseReason.UNCLAIMED, now);
        break;
      case VerdictCode.REJECT:
        this.#rejectAsScriptSays(row, REJECT_WITHS[answer.detail] ?? 'rst', now);
        break;
      case VerdictCode.REDIRECT:
        this.#redirect(row, answer, now);
        break;
      case VerdictCode.CLAIM:
        this.#claim(row, answer, now);
        break;
      case VerdictCode.NAT:
        this.#setTarget(row, answer);
        this.#setIdleTimeout(row, answer.idleTimeoutMs);
        this.#noteVerdict(row, VerdictCode.NAT);
        this.#nat(row, answer.masquerade, now);
        break;
      case VerdictCode.FORWARD:
        this.#forwardAsScriptSays(row, answer, now);
        break;
      default:
        this.fail(row, now);
    }
  }

  /** Scripts failed to decide: what the configuration says of that, and visibly. */
  fail(row: number, now: Instant): void {
    this.#parts.counters.add(Counter.DECISIONS_FAILED);
    this.#noteDecider(row, Decider.FALLBACK, 0, 0);
    switch (this.onError) {
      case 'reject':
        this.#refuse(row, VerdictCode.REJECT, CloseReason.SCRIPT_FAILED, now);
        break;
      case 'decline':
        this.#refuse(row, VerdictCode.DECLINE, CloseReason.UNCLAIMED, now);
        break;
      case 'forward':
        this.#copyDestination(row);
        this.#usePlanOfConfig();
        this.#noteVerdict(row, VerdictCode.FORWARD);
        this.#forward(row, '', false, now);
        break;
    }
  }

  /** There are no scripts that could decide. */
  unclaimed(row: number, now: Instant): void {
    this.#noteDecider(row, Decider.FALLBACK, 0, 0);
    this.#refuse(row, VerdictCode.REJECT, CloseReason.UNCLAIMED, now);
  }

  #refuse(row: number, verdict: VerdictCode, reason: CloseReason, now: Instant): void {
    this.#noteVerdict(row, verdict);
    this.#parts.stack.reject(row, 'rst', IcmpErrorKind.PORT, reason, ClosedBy.GATEWAY, now);
  }

  /** No option of a verdict is set. */
  #usePlanOfConfig(): void {
    const plan = this.#plan;
    plan.mark = CONFIGURED_MARK;
    plan.bind = '';
    plan.acceptFirst = false;
    plan.proxyProtocol = 0;
    plan.connectTimeoutMs = 0;
  }

  /** Writes a target into the row: the original destination, or parts of another. */
  #setUpstream(row: number, to: { readonly ip: string; readonly port?: number } | undefined): void {
    this.#copyDestination(row);
    if (to === undefined) return;
    const { stack } = this.#parts;
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    const family = writeAddress(to.ip, view, at + FlowField.UPSTREAM);
    view.setUint8(at + FlowField.UPSTREAM_FAMILY, family);
    if (to.port !== undefined && this.#hasPorts(row)) {
      view.setUint16(at + FlowField.UPSTREAM_PORT, to.port, true);
    }
  }

  /** The target of a script's answer. */
  #setTarget(row: number, answer: DecisionAnswer): void {
    this.#copyDestination(row);
    if (answer.toFamily === 0) return;
    const { stack, decisions } = this.#parts;
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    decisions.copyTarget(answer, at + FlowField.UPSTREAM);
    view.setUint8(at + FlowField.UPSTREAM_FAMILY, answer.toFamily);
    if (this.#hasPorts(row)) view.setUint16(at + FlowField.UPSTREAM_PORT, answer.toPort, true);
  }

  #copyDestination(row: number): void {
    const { stack } = this.#parts;
    const { bytes, view } = stack.arena;
    const at = stack.rowAt(row);
    const from = at + FlowField.DESTINATION;
    bytes.copyWithin(at + FlowField.UPSTREAM, from, from + 16);
    const port = view.getUint16(at + FlowField.DESTINATION_PORT, true);
    view.setUint16(at + FlowField.UPSTREAM_PORT, port, true);
    view.setUint8(at + FlowField.UPSTREAM_FAMILY, view.getUint8(at + FlowField.FAMILY));
  }

  #setIdleTimeout(row: number, ms: number): void {
    const { stack } = this.#parts;
    stack.arena.view.setUint32(stack.rowAt(row) + FlowField.IDLE_TIMEOUT_MS, ms, true);
  }

  #forwardAsScriptSays(row: number, answer: DecisionAnswer, now: Instant): void {
    const { stack, decisions } = this.#parts;
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    this.#setTarget(row, answer);
    if (answer.idleTimeoutMs > 0) this.#setIdleTimeout(row, answer.idleTimeoutMs);
    if (answer.halfCloseTimeoutMs > 0) {
      view.setUint32(at + FlowField.HALF_CLOSE_TIMEOUT_MS, answer.halfCloseTimeoutMs, true);
    }
    view.setFloat64(at + FlowField.MAX_BYTES, answer.maxBytes, true);
    const congestion = CONGESTION_NAMES[answer.congestion - 1];
    if (congestion !== undefined && this.#isTcp(row)) stack.setCongestion(row, congestion);
    const plan = this.#plan;
    plan.mark = answer.mark;
    plan.bind = decisions.bindAddress(answer);
    plan.acceptFirst = answer.detail === HandshakeCode['accept-first'];
    plan.proxyProtocol = answer.proxyProtocol;
    plan.connectTimeoutMs = answer.connectTimeoutMs;
    const via = answer.textLength === 0 ? '' : decisions.text(answer);
    this.#noteVerdict(row, VerdictCode.FORWARD);
    this.#forward(row, via, answer.toFamily !== 0, now);
  }

  /** @param via  name of an upstream, or DIRECT; empty for the one of the configuration */
  #forward(row: number, via: string, hasTarget: boolean, now: Instant): void {
    const { dialer, sessions, vias } = this.#parts;
    const upstream = vias.choose(via);
    if (upstream === 'unknown' || !this.#fits(row, upstream?.kind, hasTarget)) {
      this.#refuseUnfit(row, now);
      return;
    }
    this.#plan.via = upstream;
    if (this.#isTcp(row)) dialer.dial(row, this.#plan, now);
    else sessions.start(row, this.#plan, now);
  }

  /** A pool has targets of its own, and neither a pool nor a proxy is for datagrams. */
  #fits(row: number, kind: UpstreamKind | undefined, hasTarget: boolean): boolean {
    if (kind === undefined || kind === 'egress') return true;
    return this.#isTcp(row) && !(kind === 'pool' && hasTarget);
  }

  #refuseUnfit(row: number, now: Instant): void {
    const { VERDICT_UNFIT } = CloseReason;
    const { PROHIBITED } = IcmpErrorKind;
    this.#parts.stack.reject(row, 'icmp', PROHIBITED, VERDICT_UNFIT, ClosedBy.GATEWAY, now);
  }

  #nat(row: number, masquerade: boolean, now: Instant): void {
    const { stack } = this.#parts;
    const reason = stack.nat(row, masquerade, now);
    if (reason === CloseReason.NONE) return;
    stack.reject(row, 'icmp', IcmpErrorKind.PROHIBITED, reason, ClosedBy.GATEWAY, now);
  }

  #redirect(row: number, answer: DecisionAnswer, now: Instant): void {
    const { stack, decisions, welcome } = this.#parts;
    if (answer.detail !== Service.WELCOME) {
      this.#redirectTo(row, decisions.text(answer), now);
      return;
    }
    if (!this.#isTcp(row)) {
      this.fail(row, now);
      return;
    }
    this.#noteVerdict(row, VerdictCode.REDIRECT);
    const at = stack.rowAt(row);
    stack.arena.view.setUint8(at + FlowField.SERVICE, answer.detail);
    noteHandshake(stack.arena.view, at, Handshake.ACCEPT_FIRST);
    welcome.open(row, decisions.text(answer));
    stack.setDeadline(row, NEVER);
    stack.accept(row, now);
  }

  /**
   * The script host knows the names too, and has refused unknown ones with a line in the log; a
   * name that is gone since, or still to come, is one that failed.
   */
  #redirectTo(row: number, name: string, now: Instant): void {
    const rule = this.#listeners.named(name);
    if (rule === undefined) {
      this.fail(row, now);
      return;
    }
    this.#noteVerdict(row, VerdictCode.REDIRECT);
    const protocol = PROTOCOL_NAMES[this.#protocol(row)];
    if (rule.protocol === 'any' || rule.protocol === protocol) {
      this.#act(row, rule.action, ClosedBy.SCRIPT, now);
    } else {
      this.#refuseUnfit(row, now);
    }
  }

  #claim(row: number, answer: DecisionAnswer, now: Instant): void {
    const { claims, decisions } = this.#parts;
    if (!this.#isTcp(row)) {
      this.fail(row, now);
      decisions.refuseClaim(answer);
      return;
    }
    this.#noteVerdict(row, VerdictCode.CLAIM);
    if (!claims.claim(row, answer, now)) decisions.refuseClaim(answer);
  }

  #rejectAsScriptSays(row: number, how: RejectWith, now: Instant): void {
    this.#noteVerdict(row, how === 'drop' ? VerdictCode.DROP : VerdictCode.REJECT);
    this.#reject(row, how, ClosedBy.SCRIPT, now);
  }

  #reject(row: number, how: RejectWith, by: ClosedBy, now: Instant): void {
    if (how === 'tarpit') {
      if (this.#isTcp(row)) this.#parts.tarpit.hold(row, now);
      else this.#refuseUnfit(row, now);
      return;
    }
    const reason = how === 'drop' ? CloseReason.DROPPED : CloseReason.REJECTED;
    this.#parts.stack.reject(row, how, IcmpErrorKind.PROHIBITED, reason, by, now);
  }

  #isTcp(row: number): boolean {
    return this.#protocol(row) === Protocol.TCP;
  }

  #hasPorts(row: number): boolean {
    const protocol = this.#protocol(row);
    return protocol === Protocol.TCP || protocol === Protocol.UDP;
  }

  #protocol(row: number): number {
    const { stack } = this.#parts;
    return stack.arena.view.getUint8(stack.rowAt(row) + FlowField.PROTOCOL);
  }

  #noteVerdict(row: number, verdict: VerdictCode): void {
    const { stack, counters } = this.#parts;
    noteVerdict(counters, stack.arena.view, stack.rowAt(row), verdict);
  }

  #noteDecider(row: number, decider: Decider, index: number, generation: number): void {
    const { stack } = this.#parts;
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    view.setUint8(at + FlowField.DECIDER, decider);
    view.setUint32(at + FlowField.DECIDER_INDEX, index, true);
    view.setUint32(at + FlowField.GENERATION, generation, true);
  }
}

/** What stands in the row of a flow that a listener decided. */
function verdictOf({ kind }: ListenerRule['action']): VerdictCode {
  switch (kind) {
    case 'drop':
      return VerdictCode.DROP;
    case 'reject':
      return VerdictCode.REJECT;
    case 'nat':
      return VerdictCode.NAT;
    case 'forward':
      return VerdictCode.FORWARD;
    case 'prefix':
      return VerdictCode.NONE;
  }
}
