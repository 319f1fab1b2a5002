/**
 * The owner of all flows: the path of a decision, and who gets the bytes. Start at `onFlow`.
 *
 *   SYN, datagram → listener, or script → verdicts.ts: dial, then accept, then splice
 *                                                      a socket for datagrams, sessions.ts
 *                                                      NAT, which the stack does
 *                                                      accept, then a service of the gateway
 *                                                      refused, with a reason
 */

import { CloseReason } from '../../stack/close-reason.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import { FlowField, FlowPhase, Service } from '../../stack/flow-row.ts';
import { Histogram } from '../../stack/histograms.ts';
import type { Stack } from '../../stack/stack.ts';
import type { FlowOwner } from '../../stack/tcp/owner.ts';
import { after, type Instant, millis } from '../../stack/time.ts';
import { Protocol } from '../../stack/wire/protocol.ts';
import type { LiveConfig, ScriptsState } from '../messages/control.ts';
import { type DecisionAnswer, VERDICT_FAILED } from '../messages/decision.ts';
import type { Claims } from './claims/claims.ts';
import type { Relay } from './claims/relay.ts';
import type { Decisions } from './decisions.ts';
import type { FlowService } from './flow-service.ts';
import type { Dialer } from './forward/dialer.ts';
import type { Orphans } from './forward/orphans.ts';
import type { Splice } from './forward/splice.ts';
import { UpstreamBit, type UpstreamTable } from './forward/upstream-table.ts';
import { Listeners, NO_LISTENER } from './listeners.ts';
import type { Reports } from './reports.ts';
import type { SeenAnswers } from './seen-answers.ts';
import type { Sessions } from './sessions/sessions.ts';
import type { Tarpit } from './tarpit.ts';
import { poolOf, prefixesOf, trackSettings } from './tracking.ts';
import type { Upstreams } from './upstream/upstreams.ts';
import { Verdicts } from './verdicts.ts';
import type { Welcome } from './welcome.ts';

/** The parts that flows are handed to; made after the stack, which wants its owner first. */
export interface FlowParts {
  readonly stack: Stack;
  readonly upstreams: UpstreamTable;
  readonly splice: Splice;
  readonly orphans: Orphans;
  readonly dialer: Dialer;
  readonly vias: Upstreams;
  readonly sessions: Sessions;
  readonly decisions: Decisions;
  readonly welcome: Welcome;
  readonly claims: Claims;
  readonly relay: Relay;
  readonly tarpit: Tarpit;
  readonly reports: Reports;
  readonly counters: Counters;
  readonly answers: Pick<SeenAnswers, 'setHost'>;
}

export class Flows implements FlowOwner {
  #parts: FlowParts | undefined;
  #verdicts: Verdicts | undefined;
  /** By `Service`. */
  #services: readonly (FlowService | undefined)[] = [];
  #live: LiveConfig;
  #listeners: Listeners;
  #scripts: ScriptsState;

  constructor(live: LiveConfig, scripts: ScriptsState) {
    this.#live = live;
    this.#listeners = new Listeners(live.listeners);
    this.#scripts = scripts;
  }

  attach(parts: FlowParts): void {
    this.#parts = parts;
    this.#verdicts = new Verdicts(parts);
    const { welcome, claims, relay, tarpit } = parts;
    this.#services = servicesOf({ welcome, script: claims, relay, tarpit });
    this.configure(this.#live);
    parts.answers.setHost(this.#scripts);
  }

  configure(live: LiveConfig): void {
    const { dialer, vias, sessions, claims, tarpit, stack } = this.#use;
    this.#live = live;
    this.#listeners = new Listeners(live.listeners);
    this.#decide.configure(this.#listeners);
    vias.configure(live);
    dialer.configure(live);
    sessions.configure(live);
    claims.configure(live);
    tarpit.configure(live.tarpit);
    this.#decide.onError = live.onError;
    stack.setLocalAddresses(live.localAddresses);
    stack.setKeepalive(live.timeouts.keepaliveMs * 1000);
    stack.setUserTimeout(live.timeouts.userMs * 1000);
    stack.setTcpDefaults(live.tcp);
    stack.setTracking(trackSettings(live));
    stack.setPool(poolOf(live));
    stack.setPrefixes(prefixesOf(live));
    stack.forgetRefusals();
  }

  /** The script host came, went, or is not wanted; what waits for one that is gone fails. */
  setScripts(scripts: ScriptsState, now: Instant): void {
    const before = this.#scripts;
    this.#scripts = scripts;
    this.#use.answers.setHost(scripts);
    // A host that is lost is told of by the epoch of its successor, as the successor is then.
    const wasUp = before.state === 'up' && scripts.state === 'up';
    if (wasUp && scripts.epoch === before.epoch) return;
    this.#use.claims.setHost(scripts, now);
    this.#use.stack.forgetRefusals();
    this.#use.decisions.abandonAll((row) => this.#decide.fail(row, now));
  }

  /** The sockets to the host are others: what was asked over those before has no answer. */
  renewHost(now: Instant): void {
    const scripts = this.#scripts;
    this.setScripts({ ...scripts, state: 'down' }, now);
    this.setScripts(scripts, now);
  }

  isNat(protocol: number, destinationAt: number, addressLength: number, port: number): boolean {
    if (!this.#listeners.haveNat) return false;
    const { view } = this.#use.stack.arena;
    const index = this.#listeners.match(protocol, view, destinationAt, addressLength, port);
    return index !== NO_LISTENER && this.#listeners.rule(index).action.kind === 'nat';
  }

  isTakenBefore(
    rule: number,
    protocol: number,
    destinationAt: number,
    addressLength: number,
    port: number,
  ): boolean {
    const ruleAt = this.#listeners.prefixesAt[rule] ?? 0;
    if (ruleAt === 0) return false;
    const { view } = this.#use.stack.arena;
    const index = this.#listeners.match(protocol, view, destinationAt, addressLength, port);
    return index !== NO_LISTENER && index < ruleAt;
  }

  onFlow(row: number, now: Instant): void {
    const { stack, upstreams, decisions } = this.#use;
    upstreams.clear(row);
    upstreams.setSince(row, now);
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    const protocol = view.getUint8(at + FlowField.PROTOCOL);
    if (protocol === Protocol.TCP) {
      const { idleMs, halfCloseMs } = this.#live.timeouts;
      view.setUint32(at + FlowField.IDLE_TIMEOUT_MS, idleMs, true);
      view.setUint32(at + FlowField.HALF_CLOSE_TIMEOUT_MS, halfCloseMs, true);
    }
    const listener = this.#listeners.match(
      protocol,
      view,
      at + FlowField.DESTINATION,
      view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 16,
      view.getUint16(at + FlowField.DESTINATION_PORT, true),
    );
    if (listener !== NO_LISTENER) {
      const { action } = this.#listeners.rule(listener);
      this.#decide.ofListener(row, listener, this.#live.generation, action, now);
    } else if (this.#scripts.state === 'none') {
      this.#decide.unclaimed(row, now);
    } else if (this.#scripts.state === 'up' && decisions.ask(row, this.#scripts.epoch)) {
      stack.setDeadline(row, after(now, millis(this.#live.timeouts.decisionMs)));
    } else {
      this.#decide.fail(row, now);
    }
  }

  onParked(row: number): void {
    this.#use.decisions.onParked(row);
  }

  onDeadline(row: number, now: Instant): void {
    const { stack, decisions, dialer } = this.#use;
    if (stack.tcb(row).phase === FlowPhase.DECIDING) {
      decisions.abandon(row);
      this.#decide.fail(row, now);
    } else {
      dialer.onTimeout(row, now);
    }
  }

  /** The script host has answered about the flow in `row`, which waits. */
  onAnswer(row: number, answer: DecisionAnswer, now: Instant): void {
    const { stack, upstreams, counters } = this.#use;
    const tookUs = now - upstreams.since(row);
    stack.arena.view.setUint32(stack.rowAt(row) + FlowField.DECISION_US, tookUs, true);
    counters.add(Counter.DECISIONS_ANSWERED);
    counters.observe(Histogram.DECISION_US, tookUs);
    if (answer.verdict === VERDICT_FAILED) this.#decide.fail(row, now);
    else this.#decide.ofScript(row, answer, now);
  }

  onEstablished(row: number, now: Instant): void {
    const { upstreams, splice } = this.#use;
    upstreams.raise(row, UpstreamBit.OPEN);
    const service = this.#service(row);
    if (service === Service.NONE) splice.download(row, now);
    else this.#server(service).onEstablished(row, now);
  }

  onConnected(row: number): void {
    this.#use.claims.onConnected(row);
  }

  onData(row: number, at: number, length: number, now: Instant): number {
    const service = this.#service(row);
    return service === Service.NONE
      ? this.#use.splice.upload(row, at, length)
      : this.#server(service).onData(row, at, length, now);
  }

  onWaiting(row: number, now: Instant): void {
    const service = this.#service(row);
    if (service !== Service.NONE) this.#server(service).onWaiting(row, now);
  }

  onFin(row: number, now: Instant): void {
    const service = this.#service(row);
    if (service === Service.NONE) this.#use.splice.finish(row);
    else this.#server(service).onFin(row, now);
  }

  onRoom(row: number, now: Instant): void {
    const service = this.#service(row);
    if (service === Service.NONE) this.#use.splice.download(row, now);
    else this.#server(service).onRoom(row, now);
  }

  onDatagram(
    row: number,
    at: number,
    length: number,
    segmentBytes: number,
    hopLimit: number,
    trafficClass: number,
    mayFragment: boolean,
    now: Instant,
  ): void {
    const { sessions } = this.#use;
    sessions.onDatagram(row, at, length, segmentBytes, hopLimit, trafficClass, mayFragment, now);
  }

  onClosed(row: number, now: Instant): void {
    const { stack, upstreams, decisions, dialer, orphans, sessions, reports } = this.#use;
    const view = stack.arena.view;
    const at = stack.rowAt(row);
    if (upstreams.request(row) !== 0) decisions.abandon(row);
    if (view.getUint8(at + FlowField.PROTOCOL) === Protocol.TCP) {
      for (const service of this.#services) service?.release(row, now);
      orphans.adopt(row, now);
      dialer.release(row, view.getUint8(at + FlowField.CLOSE_REASON) !== CloseReason.EOF);
    } else {
      sessions.release(row);
    }
    // Whatever was left to do for this row is done: the next turn must not find it listed.
    upstreams.clear(row);
    reports.flow(stack.arena.bytes, at);
  }

  get #use(): FlowParts {
    if (this.#parts === undefined) throw new Error('flows are used before their parts exist');
    return this.#parts;
  }

  get #decide(): Verdicts {
    if (this.#verdicts === undefined) throw new Error('flows are used before their parts exist');
    return this.#verdicts;
  }

  #server(service: number): FlowService {
    const server = this.#services[service];
    if (server === undefined) throw new Error(`nobody is service ${service}`);
    return server;
  }

  #service(row: number): number {
    const { stack } = this.#use;
    return stack.arena.view.getUint8(stack.rowAt(row) + FlowField.SERVICE);
  }
}

/** By value of `Service`; a splice to a socket of the kernel is none of them. */
function servicesOf(
  services: Readonly<Record<'welcome' | 'script' | 'relay' | 'tarpit', FlowService>>,
): readonly (FlowService | undefined)[] {
  const { welcome, script, relay, tarpit } = services;
  const byValue: FlowService[] = [];
  byValue[Service.WELCOME] = welcome;
  byValue[Service.SCRIPT] = script;
  byValue[Service.RELAY] = relay;
  byValue[Service.TARPIT] = tarpit;
  return byValue;
}
