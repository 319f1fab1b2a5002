/**
 * The path of a decision: the scripts are asked in order, the first that does not decline decides.
 * A script may answer later; meanwhile the decision waits in a bounded table, and whatever happens
 * to it there, it is answered exactly once or cancelled. A script that fails ends the decision, or
 * has declined, as `onError` says; what else that means for the flow is for the data plane to do.
 */
import type { ConnectionRequest, DecidedBy, Endpoint, OnError, Verdict } from '../stack/verdict.ts';
import { type Decision, NO_SCRIPT, type ScriptFailure } from './decision.ts';
import type { DecisionPorts } from './decision-ports.ts';
import type { FailureKind } from './errors.ts';
import type { Generation } from './generations/registry.ts';
import { SLICE_US } from './limits.ts';
import { RenewedMap } from './renewed-map.ts';
import type { Script, ScriptAnswer } from './script/script.ts';
import { NameWaits } from './verdict/name-waits.ts';
import { isNamed, type NamedTarget, type TargetedVerdict } from './verdict/parse-verdict.ts';
import { completePort, misfitOf } from './verdict/verdict-fit.ts';

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
  /** Its time is over: scripts that are still to be asked must answer at once. */
  isOverdue: boolean;
  /** Scripts that failed so far. */
  failures: readonly ScriptFailure[];
}

/** Why a decision cannot wait for its script. */
type NoWait = 'wall' | 'pending';

export class Decisions {
  readonly #ports: DecisionPorts;
  /** By request id; in the order in which they came. */
  readonly #waiting = new RenewedMap<number, Waiting>();
  /** Request ids by the call of the script. */
  readonly #calls = new RenewedMap<number, number>();
  /** How many wait under each wall limit, in microseconds. */
  readonly #wallLimits = new RenewedMap<number, number>();
  readonly #names = new NameWaits();
  /** What came up during turns and may take turns of its own, in its order. */
  readonly #backlog: (() => void)[] = [];

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
      this.#ports.answer(requestId, this.#failed('wall', by, []), request);
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
      isOverdue: false,
      failures: [],
    };
    this.#ask(decision);
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
        if (isWaiting && isSameCall) this.#failLater(decision, 'killed');
      }
    });
  }

  /** The answer of `ports.resolve`. No address is an error. */
  resolved(id: number, addresses: readonly string[], error: string): void {
    for (const requestId of this.#names.take(id)) {
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
      if (decision.isOverdue) continue;
      decision.isOverdue = true;
      const { call } = decision;
      const script = scriptOf(decision);
      const { to } = decision.targeted ?? {};
      const name = to !== undefined && isNamed(to) ? to.name : undefined;
      if (script !== undefined) this.#ports.limitHit(script, 'wall', decision.request.flow, name);
      const isOver = this.#fail(decision, 'wall');
      if (!isOver) this.#calls.delete(call);
      this.#backlog.push(() => {
        script?.abort(call, 'the time for a verdict is over');
        const isWaiting = this.#waiting.get(decision.requestId) === decision;
        if (!isOver && isWaiting && decision.call === call) this.#askNext(decision);
      });
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

  #ask(decision: Waiting): void {
    const { generation, request } = decision;
    for (; decision.position < generation.scripts.length; decision.position++) {
      const script = generation.scripts[decision.position] as Script;
      decision.call = this.#ports.nextCall();
      const answer = script.decide(decision.call, request);
      if (answer.kind !== 'pending') {
        if (this.#conclude(decision, answer)) return;
        continue;
      }
      const noWait = this.#wait(decision, script);
      if (noWait === undefined || this.#fail(decision, noWait)) return;
    }
    this.#forget(decision);
    const [first] = decision.failures;
    const by = { generation: generation.number, script: first?.script ?? NO_SCRIPT };
    const answer: Decision =
      first === undefined
        ? { kind: 'verdict', verdict: { kind: 'decline' }, by }
        : this.#failed(first.failure, by, decision.failures);
    this.#ports.answer(decision.requestId, answer, request);
  }

  /** The script that was asked has declined, or failed and is passed over. */
  #askNext(decision: Waiting): void {
    this.#calls.delete(decision.call);
    if (decision.targeted !== undefined) this.#leaveLookup(decision);
    decision.targeted = undefined;
    decision.position++;
    this.#ask(decision);
  }

  /** Acts on an answer; false when the next script has to be asked. */
  #conclude(decision: Waiting, answer: Exclude<ScriptAnswer, { kind: 'pending' }>): boolean {
    if (answer.kind === 'failed') return this.#fail(decision, answer.failure);
    const { verdict } = answer;
    if (verdict.kind === 'decline') return false;
    const { request } = decision;
    const { upstreams, listeners } = this.#ports;
    const misfit = misfitOf(verdict, request, upstreams?.(), listeners?.());
    if (misfit !== undefined) {
      scriptOf(decision)?.reports.misfit(misfit, decision.request.flow);
      return this.#fail(decision, 'bad-verdict');
    }
    if (verdict.kind === 'claim') return this.#claim(decision, verdict);
    if (verdict.kind !== 'forward' && verdict.kind !== 'nat') {
      this.#finish(decision, verdict);
    } else if (verdict.to !== undefined && isNamed(verdict.to)) {
      return this.#resolve(decision, verdict, verdict.to);
    } else {
      this.#finishWith(decision, verdict, verdict.to);
    }
    return true;
  }

  /** Keeps the decision until its script answers. @returns why that cannot be */
  #wait(decision: Waiting, script: Script): NoWait | undefined {
    const { requestId, request, generation, call } = decision;
    const isKept = this.#waiting.has(requestId);
    const isFull = !isKept && this.#waiting.size >= generation.pendingMax;
    if (isFull || decision.isOverdue) {
      const limit = isFull ? 'pending' : 'wall';
      this.#ports.limitHit(script, limit, request.flow);
      const why = isFull ? 'too many decisions wait' : 'the time for a verdict is over';
      this.#backlog.push(() => script.abort(call, why));
      return limit;
    }
    if (!isKept) {
      const { wallUs } = generation;
      this.#waiting.set(requestId, decision);
      this.#wallLimits.set(wallUs, (this.#wallLimits.get(wallUs) ?? 0) + 1);
      generation.acquire();
    }
    this.#calls.set(call, requestId);
    return undefined;
  }

  /** False when the next script has to be asked. */
  #resolve(decision: Waiting, verdict: TargetedVerdict, { name }: NamedTarget): boolean {
    const script = scriptOf(decision);
    if (script === undefined) return true;
    const noWait = this.#wait(decision, script);
    if (noWait !== undefined) return this.#fail(decision, noWait);
    decision.targeted = verdict;
    const id = this.#names.wait(name, decision.requestId);
    if (id !== undefined) this.#ports.resolve(id, name);
    return true;
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
    this.#failLater(decision, 'error');
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

  /** False when the next script has to be asked. */
  #claim(decision: Waiting, verdict: Verdict): boolean {
    const script = scriptOf(decision);
    const { requestId, request, generation } = decision;
    if (script === undefined || this.#ports.claim(requestId, request, generation, script)) {
      this.#finish(decision, verdict);
      return true;
    }
    this.#ports.limitHit(script, 'claims', request.flow);
    return this.#fail(decision, 'claims');
  }

  #finish(decision: Waiting, verdict: Verdict, name?: string): void {
    this.#forget(decision);
    const { requestId, request, failures } = decision;
    const made: Decision = {
      ...{ kind: 'verdict', verdict, by: byOf(decision) },
      ...(name === undefined ? {} : { name }),
      ...(failures.length === 0 ? {} : { failures }),
    };
    this.#ports.answer(requestId, made, request);
  }

  /** The script that was asked has failed. @returns false when the next one has to be asked */
  #fail(decision: Waiting, failure: FailureKind): boolean {
    if (this.#onError === 'decline') {
      const { position: script, failures } = decision;
      decision.failures = [...failures, { script, failure }];
      return false;
    }
    this.#forget(decision);
    const failed = this.#failed(failure, byOf(decision), decision.failures);
    this.#ports.answer(decision.requestId, failed, decision.request);
    return true;
  }

  /** As `#fail` of a decision that waits; the next one is asked, if it has to be. */
  #failLater(decision: Waiting, failure: FailureKind): void {
    if (!this.#fail(decision, failure)) this.#askNext(decision);
  }

  #failed(failure: FailureKind, by: DecidedBy, failures: readonly ScriptFailure[]): Decision {
    const onError = this.#onError;
    return {
      ...{ kind: 'failed', failure, by },
      ...(onError === 'reject' ? {} : { onError }),
      ...(failures.length === 0 ? {} : { failures }),
    };
  }

  get #onError(): OnError {
    return this.#ports.onError?.() ?? 'reject';
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

  #leaveLookup({ targeted, requestId }: Waiting): void {
    if (targeted?.to === undefined || !isNamed(targeted.to)) return;
    this.#names.leave(targeted.to.name, requestId);
  }

  #settle(script: Script, call: number, answerOf: (flow: number) => ScriptAnswer): void {
    const requestId = this.#calls.get(call);
    const decision = requestId === undefined ? undefined : this.#waiting.get(requestId);
    if (decision === undefined || scriptOf(decision) !== script) return;
    this.#calls.delete(call);
    const answer = answerOf(decision.request.flow);
    if (answer.kind !== 'pending' && !this.#conclude(decision, answer)) this.#askNext(decision);
  }
}

const scriptOf = (decision: Waiting): Script | undefined =>
  decision.generation.scripts[decision.position];

const byOf = (decision: Waiting): DecidedBy => ({
  generation: decision.generation.number,
  script: decision.position,
});
