/**
 * The path of a decision: the scripts are asked in order, the first that does not decline decides.
 * A script may answer later; meanwhile the decision waits in a bounded table, and whatever happens
 * to it there, it is answered exactly once or cancelled.
 */
import type { ConnectionRequest, DecidedBy, Endpoint, Verdict } from '../stack/verdict.ts';
import type { FailureKind } from './errors.ts';
import type { Generation } from './generations/registry.ts';
import { SLICE_US } from './limits.ts';
import { RenewedMap } from './renewed-map.ts';
import type { Script, ScriptAnswer } from './script/script.ts';
import type { MissedLimit } from './script/script-reports.ts';
import { isNamed, type NamedTarget, type TargetedVerdict } from './verdict/parse-verdict.ts';
import {
  completePort,
  type KnownListeners,
  type KnownUpstreams,
  misfitOf,
} from './verdict/verdict-fit.ts';

/** `DecidedBy.script` when no script claimed the flow. */
export const NO_SCRIPT = 0xffff_ffff;

/** How a decision ended. */
export type Decision =
  | {
      readonly kind: 'verdict';
      readonly verdict: Verdict;
      readonly by: DecidedBy;
      /** What the script called the upstream, when it gave no address. */
      readonly name?: string;
    }
  | { readonly kind: 'failed'; readonly failure: FailureKind; readonly by: DecidedBy };

export interface DecisionPorts {
  /** Microseconds. */
  now(): number;
  answer(requestId: number, decision: Decision, request: ConnectionRequest): void;
  /** Number of a new call into a script. */
  nextCall(): number;
  /** Starts to resolve a name; `resolved` answers. */
  resolve(id: number, name: string): void;
  /** `script` takes the flow; false when it has as many as it may have. */
  claim(
    requestId: number,
    request: ConnectionRequest,
    generation: Generation,
    script: Script,
  ): boolean;
  /** By name; undefined where nobody knows them. */
  upstreams?(): KnownUpstreams | undefined;
  listeners?(): KnownListeners | undefined;
  /** A limit of calls was hit by one of `script`. @param name  that is being resolved meanwhile */
  limitHit(script: Script, limit: MissedLimit, flow: number, name?: string): void;
  /** A name that a script gave does not resolve; `verdict` is its kind. */
  unresolved(script: Script, flow: number, verdict: string, name: string, error: string): void;
}

interface Waiting {
  readonly requestId: number;
  readonly request: ConnectionRequest;
  readonly generation: Generation;
  /** Microseconds. */
  readonly deadline: number;
  /** Position of the script that is being asked. */
  position: number;
  /** What the script calls this: its own call, or a name that is being resolved. */
  call: number;
  /** The verdict that waits for the name of its upstream. */
  targeted: TargetedVerdict | undefined;
}

interface Lookup {
  readonly name: string;
  readonly waiting: Set<number>;
}

export class Decisions {
  readonly #ports: DecisionPorts;
  /** By request id; in the order in which they came. */
  readonly #waiting = new RenewedMap<number, Waiting>();
  /** Request ids by the call of the script. */
  readonly #calls = new RenewedMap<number, number>();
  /** How many wait under each wall limit, in microseconds. */
  readonly #wallLimits = new RenewedMap<number, number>();
  readonly #lookups = new RenewedMap<number, Lookup>();
  readonly #lookupIds = new RenewedMap<string, number>();
  /** What came up during turns and may take turns of its own, in its order. */
  readonly #backlog: (() => void)[] = [];
  #lastLookup = 0;

  constructor(ports: DecisionPorts) {
    this.#ports = ports;
  }

  /** Decisions that wait. */
  get pending(): number {
    return this.#waiting.size;
  }

  /** Microseconds; Infinity while nothing waits, 0 when `afterTurn` left something over. */
  get nextDeadline(): number {
    if (this.#backlog.length > 0) return 0;
    let next = Number.POSITIVE_INFINITY;
    // Generations may differ in their limit, so the oldest is not always the first to end.
    for (const { deadline } of this.#waiting.values()) {
      if (deadline < next) next = deadline;
      if (this.#hasOneLimit) break;
    }
    return next;
  }

  get #hasOneLimit(): boolean {
    return this.#wallLimits.size <= 1;
  }

  /**
   * Asks the scripts of `generation`. A second request of the same id is ignored.
   *
   * @param arrivedAt  when the time for a verdict began, in microseconds
   */
  start(
    requestId: number,
    request: ConnectionRequest,
    generation: Generation,
    arrivedAt: number,
  ): void {
    if (this.#waiting.has(requestId)) return;
    const deadline = arrivedAt + generation.wallUs;
    if (deadline <= this.#ports.now()) {
      const by = { generation: generation.number, script: NO_SCRIPT };
      this.#ports.answer(requestId, { kind: 'failed', failure: 'wall', by }, request);
      return;
    }
    const decision: Waiting = {
      requestId,
      request,
      generation,
      deadline,
      position: 0,
      call: 0,
      targeted: undefined,
    };
    this.#ask(decision, false);
    this.afterTurn();
  }

  /** The flow is gone: nobody waits for an answer. */
  cancel(requestId: number): void {
    const decision = this.#waiting.get(requestId);
    if (decision === undefined) return;
    this.#forget(decision);
    scriptOf(decision)?.abort(decision.call, 'the client is gone');
    this.afterTurn();
  }

  /** A promise was settled; it is looked at when the turn it was settled in is over. */
  settled(script: Script, call: number, answer: (flow: number) => ScriptAnswer): void {
    this.#backlog.push(() => this.#settle(script, call, answer));
  }

  /** A sandbox broke; the calls that wait in it now fail when the turn is over. */
  lost(script: Script): void {
    const calls = Array.from(this.#waiting.values())
      .filter((decision) => decision.targeted === undefined && scriptOf(decision) === script)
      .map((decision) => ({ decision, call: decision.call }));
    if (calls.length === 0) return;
    this.#backlog.push(() => {
      for (const { decision, call } of calls) {
        const isWaiting = this.#waiting.get(decision.requestId) === decision;
        const isSameCall = decision.call === call && decision.targeted === undefined;
        if (isWaiting && isSameCall) this.#fail(decision, 'killed');
      }
    });
  }

  /** The answer of `ports.resolve`. No address is an error. */
  resolved(id: number, addresses: readonly string[], error: string): void {
    const lookup = this.#lookups.get(id);
    if (lookup === undefined) return;
    this.#lookups.delete(id);
    this.#lookupIds.delete(lookup.name);
    for (const requestId of lookup.waiting) {
      const decision = this.#waiting.get(requestId);
      if (decision?.targeted !== undefined) this.#completeTarget(decision, addresses, error);
    }
    this.afterTurn();
  }

  /** Fails what waited too long. */
  expire(now: number): void {
    for (const decision of this.#waiting.values()) {
      if (decision.deadline > now) {
        if (this.#hasOneLimit) break;
        continue;
      }
      const script = scriptOf(decision);
      const { to } = decision.targeted ?? {};
      const name = to !== undefined && isNamed(to) ? to.name : undefined;
      if (script !== undefined) this.#ports.limitHit(script, 'wall', decision.request.flow, name);
      this.#fail(decision, 'wall');
      const { call } = decision;
      this.#backlog.push(() => script?.abort(call, 'the time for a verdict is over'));
    }
    this.afterTurn();
  }

  /**
   * Works off what came up during turns, because timers and aborts settle promises too; for one
   * slice of time, and then the rest waits for the next call.
   */
  afterTurn(): void {
    const end = this.#ports.now() + SLICE_US;
    for (let work = this.#backlog.shift(); work !== undefined; work = this.#backlog.shift()) {
      work();
      if (this.#ports.now() >= end) return;
    }
  }

  #ask(decision: Waiting, wasWaiting: boolean): void {
    const { generation } = decision;
    for (; decision.position < generation.scripts.length; decision.position++) {
      const script = generation.scripts[decision.position] as Script;
      decision.call = this.#ports.nextCall();
      const answer = script.decide(decision.call, decision.request);
      if (answer.kind === 'pending') {
        this.#wait(decision, script);
        return;
      }
      if (this.#conclude(decision, answer)) return;
    }
    if (wasWaiting || this.#waiting.has(decision.requestId)) this.#forget(decision);
    const by = { generation: generation.number, script: NO_SCRIPT };
    const declined: Decision = { kind: 'verdict', verdict: { kind: 'decline' }, by };
    this.#ports.answer(decision.requestId, declined, decision.request);
  }

  /** Acts on an answer; false when the next script has to be asked. */
  #conclude(decision: Waiting, answer: Exclude<ScriptAnswer, { kind: 'pending' }>): boolean {
    if (answer.kind === 'failed') {
      this.#fail(decision, answer.failure);
      return true;
    }
    const { verdict } = answer;
    if (verdict.kind === 'decline') return false;
    const { request } = decision;
    const { upstreams, listeners } = this.#ports;
    const misfit = misfitOf(verdict, request, upstreams?.(), listeners?.());
    if (misfit !== undefined) {
      scriptOf(decision)?.reports.misfit(misfit, decision.request.flow);
      this.#fail(decision, 'bad-verdict');
    } else if (verdict.kind === 'claim') {
      this.#claim(decision, verdict);
    } else if (verdict.kind !== 'forward' && verdict.kind !== 'nat') {
      this.#finish(decision, verdict);
    } else if (verdict.to !== undefined && isNamed(verdict.to)) {
      this.#resolve(decision, verdict, verdict.to);
    } else {
      this.#finishWith(decision, verdict, verdict.to);
    }
    return true;
  }

  /** Keeps the decision until its script answers; false when there is no room. */
  #wait(decision: Waiting, script: Script): boolean {
    if (!this.#waiting.has(decision.requestId)) {
      if (this.#waiting.size >= decision.generation.pendingMax) {
        this.#ports.limitHit(script, 'pending', decision.request.flow);
        this.#fail(decision, 'pending');
        script.abort(decision.call, 'too many decisions wait');
        return false;
      }
      const { wallUs } = decision.generation;
      this.#waiting.set(decision.requestId, decision);
      this.#wallLimits.set(wallUs, (this.#wallLimits.get(wallUs) ?? 0) + 1);
      decision.generation.acquire();
    }
    this.#calls.set(decision.call, decision.requestId);
    return true;
  }

  #resolve(decision: Waiting, verdict: TargetedVerdict, { name }: NamedTarget): void {
    const script = scriptOf(decision);
    if (script === undefined || !this.#wait(decision, script)) return;
    decision.targeted = verdict;
    const known = this.#lookupIds.get(name);
    const id = known ?? ++this.#lastLookup;
    const lookup = this.#lookups.get(id) ?? { name, waiting: new Set<number>() };
    lookup.waiting.add(decision.requestId);
    if (known !== undefined) return;
    this.#lookups.set(id, lookup);
    this.#lookupIds.set(name, id);
    this.#ports.resolve(id, name);
  }

  #completeTarget(decision: Waiting, addresses: readonly string[], error: string): void {
    const { targeted } = decision;
    if (targeted?.to === undefined || !isNamed(targeted.to)) return;
    const { port, name } = targeted.to;
    const endpoints = addresses.map(
      (ip): Endpoint => ({ ip, port, family: ip.includes(':') ? 6 : 4 }),
    );
    // The client's family first: what it can reach is more likely reachable from here.
    const { family } = decision.request.destination;
    const sameFamily = endpoints.find((endpoint) => endpoint.family === family);
    // A socket can be of the other family; a packet that is rewritten stays what it is.
    const to = sameFamily ?? (targeted.kind === 'forward' ? endpoints[0] : undefined);
    if (to !== undefined) {
      this.#finishWith(decision, targeted, to, name);
      return;
    }
    const script = scriptOf(decision);
    const why = endpoints.length > 0 ? `no IPv${family} address` : error;
    const { flow } = decision.request;
    if (script !== undefined) this.#ports.unresolved(script, flow, targeted.kind, name, why);
    this.#fail(decision, 'error');
  }

  #finishWith(
    decision: Waiting,
    verdict: TargetedVerdict,
    to: Endpoint | undefined,
    name?: string,
  ): void {
    const { to: _, ...rest } = verdict;
    if (to === undefined) this.#finish(decision, rest);
    else this.#finish(decision, { ...rest, to: completePort(to, decision.request) }, name);
  }

  #claim(decision: Waiting, verdict: Verdict): void {
    const script = scriptOf(decision);
    const { requestId, request, generation } = decision;
    if (script === undefined || this.#ports.claim(requestId, request, generation, script)) {
      this.#finish(decision, verdict);
      return;
    }
    this.#ports.limitHit(script, 'claims', request.flow);
    this.#fail(decision, 'claims');
  }

  #finish(decision: Waiting, verdict: Verdict, name?: string): void {
    this.#forget(decision);
    const by = byOf(decision);
    const made: Decision =
      name === undefined
        ? { kind: 'verdict', verdict, by }
        : { kind: 'verdict', verdict, by, name };
    this.#ports.answer(decision.requestId, made, decision.request);
  }

  #fail(decision: Waiting, failure: FailureKind): void {
    this.#forget(decision);
    const failed: Decision = { kind: 'failed', failure, by: byOf(decision) };
    this.#ports.answer(decision.requestId, failed, decision.request);
  }

  #forget(decision: Waiting): void {
    if (!this.#waiting.delete(decision.requestId)) return;
    this.#calls.delete(decision.call);
    if (decision.targeted !== undefined) this.#leaveLookup(decision);
    const { wallUs } = decision.generation;
    const left = (this.#wallLimits.get(wallUs) ?? 1) - 1;
    if (left === 0) this.#wallLimits.delete(wallUs);
    else this.#wallLimits.set(wallUs, left);
    decision.generation.release();
  }

  #leaveLookup(decision: Waiting): void {
    const { targeted } = decision;
    if (targeted?.to === undefined || !isNamed(targeted.to)) return;
    const id = this.#lookupIds.get(targeted.to.name);
    const lookup = id === undefined ? undefined : this.#lookups.get(id);
    if (id === undefined || lookup === undefined) return;
    lookup.waiting.delete(decision.requestId);
    if (lookup.waiting.size > 0) return;
    this.#lookups.delete(id);
    this.#lookupIds.delete(targeted.to.name);
  }

  #settle(script: Script, call: number, answerOf: (flow: number) => ScriptAnswer): void {
    const requestId = this.#calls.get(call);
    const decision = requestId === undefined ? undefined : this.#waiting.get(requestId);
    if (decision === undefined || scriptOf(decision) !== script) return;
    this.#calls.delete(call);
    const answer = answerOf(decision.request.flow);
    if (answer.kind === 'pending' || this.#conclude(decision, answer)) return;
    decision.position++;
    this.#ask(decision, true);
  }
}

const scriptOf = (decision: Waiting): Script | undefined =>
  decision.generation.scripts[decision.position];

const byOf = (decision: Waiting): DecidedBy => ({
  generation: decision.generation.number,
  script: decision.position,
});
