/**
 * A script host without a gateway around it: the engine, the limits and the code of a gateway,
 * with time that jumps and answers that come at once.
 */
import type { ConnectionRequest, Endpoint } from '../../stack/verdict.ts';
import type { FlowResult, ScriptBundle, ScriptIssue, ScriptLog } from '../bundle/bundle.ts';
import { CLIENT_END } from '../conns/ports.ts';
import type { Decision } from '../decision.ts';
import { type GuestExtension, joinExtensions, NO_EXTENSION } from '../engine/guest-extension.ts';
import { ScriptHost } from '../host.ts';
import type { ScheduledEvent } from '../schedule/schedule.ts';
import { type ShownVerdict, showVerdict, verdictText } from '../verdict/show-verdict.ts';
import {
  type Dialed,
  FakeNetwork,
  type NetworkPlan,
  type NetworkResult,
  type UpstreamPlan,
} from './fake-network.ts';
import type { DecisionStep } from './report.ts';
import type { VirtualClock } from './virtual-clock.ts';
import { virtualDate } from './virtual-date.ts';

/** Addresses of a name; none is an error. */
export type Resolve = (name: string) => readonly string[];

export interface OfflineOptions {
  readonly clock: VirtualClock;
  readonly resolve: Resolve;
  /** An upstream as text. */
  readonly show: (endpoint: Endpoint) => string;
  readonly log: (line: ScriptLog) => void;
  /** Of each sandbox, besides its clock. */
  readonly extension?: GuestExtension;
}

export interface OfflineDecision {
  readonly verdict: ShownVerdict;
  readonly text: string;
  readonly script: string | undefined;
  readonly steps: readonly DecisionStep[];
  readonly cpuUs: number;
  /** Of a flow that was claimed, when a network was there to carry it. */
  readonly network?: NetworkResult;
  /** What was dialled without a client since the last decision or hook. */
  readonly ownDials: NetworkResult['dials'];
}

/** A hook that a test calls. */
export type HookCall =
  | { readonly name: 'scheduled'; readonly event: ScheduledEvent }
  | { readonly name: 'closed'; readonly flow: ConnectionRequest; readonly result: FlowResult };

export interface HookOutcome {
  readonly cpuUs: number;
  readonly ownDials: NetworkResult['dials'];
}

/** How long nothing may happen in a claimed connection: an hour of virtual time. */
const IDLE_US = 3_600_000_000;

/** Names of in-process listeners, as a gateway has them. */
const SERVICES = ['welcome'];
const SPARE_POLL_MS = 1;

export class OfflineHost {
  readonly #options: OfflineOptions;
  readonly #host: ScriptHost;
  readonly #network: FakeNetwork;
  readonly #lookups: { readonly id: number; readonly name: string }[] = [];
  readonly #answers = new Map<number, Decision>();
  /** Microseconds by the position of the script. */
  readonly #cpuUs = new Map<number, number>();
  #names: readonly string[] = [];
  #position = 0;
  #requestId = 0;

  constructor(options: OfflineOptions) {
    const { clock, log, extension = NO_EXTENSION } = options;
    this.#options = options;
    this.#network = new FakeNetwork(() => clock.now());
    this.#host = new ScriptHost(
      {
        now: () => clock.now(),
        cpuTime: () => clock.cpuTime(),
        epochMs: () => clock.epochMs(),
        extension: joinExtensions(virtualDate(clock), extension),
        enter: (_generation, position) => {
          this.#position = position;
          clock.enter();
        },
        leave: () => {
          const spentUs = (this.#cpuUs.get(this.#position) ?? 0) + clock.leave();
          this.#cpuUs.set(this.#position, spentUs);
        },
        answer: (requestId, decision) => this.#answers.set(requestId, decision),
        resolve: (id, name) => this.#lookups.push({ id, name }),
        conns: this.#network,
        log,
        kv: () => {},
        stats: () => {},
      },
      SERVICES,
    );
    this.#network.events = this.#host.conns;
  }

  /** @returns what is wrong with the bundle; then everything is as it was */
  async load(bundle: ScriptBundle): Promise<readonly ScriptIssue[]> {
    this.#cpuUs.clear();
    this.#network.takeOwnDials();
    const issues = await this.#loaded(this.#host.load(bundle));
    if (issues.length === 0) this.#names = bundle.scripts.map(({ name }) => name);
    return issues;
  }

  /** What the bundle that was loaded last did meanwhile. */
  takeLoaded(): HookOutcome {
    return { cpuUs: this.#spentUs, ownDials: this.#network.takeOwnDials() };
  }

  /** What answers where a script dials without a client; elsewhere nobody does. */
  set upstream(upstream: (dialed: Dialed) => UpstreamPlan | undefined) {
    this.#network.upstream = upstream;
  }

  /** Lets time pass for scripts that wait while they load. */
  async #loaded(load: Promise<readonly ScriptIssue[]>): Promise<readonly ScriptIssue[]> {
    let isOver = false;
    const over = load.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      await Promise.race([over, Bun.sleep(SPARE_POLL_MS)]);
      // Who waits for nothing but the translation of its source has no time to pass.
      if (this.#nextAt(this.#host.loadingDeadline) !== Number.POSITIVE_INFINITY) this.#proceed();
    }
    return over;
  }

  /** Calls a hook of a script, and lets time pass until it is over. @returns false without one */
  async callHook(script: string, call: HookCall): Promise<HookOutcome | undefined> {
    while (this.#host.isPreparing) await Bun.sleep(SPARE_POLL_MS);
    this.#cpuUs.clear();
    this.#network.takeOwnDials();
    const hooks = this.#host.scriptCalled(script)?.hooks;
    if (hooks?.has(call.name) !== true) return undefined;
    let isOver = false;
    const onEnd = () => {
      isOver = true;
    };
    if (call.name === 'scheduled') hooks.scheduled(call.event, onEnd);
    else hooks.closed(call.flow, JSON.stringify(call.result), onEnd);
    while (!isOver) this.#proceed();
    return { cpuUs: this.#spentUs, ownDials: this.#network.takeOwnDials() };
  }

  /**
   * Asks the scripts, and lets time pass until they have answered. A flow that one claims is then
   * carried as `plan` says, until it has ended; without a plan its client goes away at once.
   */
  async decide(request: ConnectionRequest, plan?: NetworkPlan): Promise<OfflineDecision> {
    // A script that broke its sandbox gets a new one, as in a gateway a moment later.
    while (this.#host.isPreparing) await Bun.sleep(SPARE_POLL_MS);
    this.#cpuUs.clear();
    this.#network.takeOwnDials();
    const id = ++this.#requestId;
    this.#host.request(id, request);
    let decision = this.#takeAnswer(id);
    while (decision === undefined) {
      this.#proceed();
      decision = this.#takeAnswer(id);
    }
    const isClaimed = decision.kind === 'verdict' && decision.verdict.kind === 'claim';
    if (!isClaimed) return this.#describe(decision);
    if (plan !== undefined) {
      const carried = this.#carry(id, plan);
      return { ...this.#describe(decision), ...carried };
    }
    const gone = { reason: 'client-reset', bytesUp: 0, bytesDown: 0, requestId: id };
    this.#host.conns.closed(0, CLIENT_END, gone);
    return this.#describe(decision);
  }

  #carry(id: number, plan: NetworkPlan): { cpuUs: number; network: NetworkResult } {
    const { clock } = this.#options;
    this.#network.open(id, plan);
    let lastAt = clock.now();
    for (;;) {
      const wasTold = this.#network.deliver();
      if (wasTold) {
        lastAt = clock.now();
        this.#host.expire(clock.now());
        continue;
      }
      const next = Math.min(this.#host.nextDeadline(), this.#network.nextDeadline);
      const isSilent = next - lastAt > IDLE_US;
      if (this.#network.isOver && next > clock.now()) break;
      if (this.#lookups.length > 0 || !isSilent) this.#step(next);
      else if (!this.#network.hangUp()) break;
    }
    return { cpuUs: this.#spentUs, network: this.#network.result };
  }

  get #spentUs(): number {
    return Math.round(this.#cpuUs.values().reduce((sum, us) => sum + us, 0));
  }

  /** Lets time pass: timers fire in their order. */
  advance(ms: number): void {
    this.advanceTo(this.#options.clock.now() + ms * 1000);
  }

  /** As `advance`, up to an instant in microseconds. */
  advanceTo(end: number): void {
    while (this.#nextAt() <= end || this.#lookups.length > 0) this.#proceed();
    this.#options.clock.moveTo(end);
  }

  /** What comes next happens, in the network or in a script. */
  #proceed(): void {
    if (this.#network.deliver()) this.#host.expire(this.#options.clock.now());
    else this.#step(this.#nextAt());
  }

  #nextAt(hostAt = this.#host.nextDeadline()): number {
    return Math.min(hostAt, this.#network.nextDeadline);
  }

  /** An endpoint as verdicts show it. */
  show(endpoint: Endpoint): string {
    return this.#options.show(endpoint);
  }

  /** What the KV of a script holds now. */
  kvEntries(script: string): readonly (readonly [key: string, value: string | number])[] {
    return this.#host.kvEntries(script);
  }

  #step(deadline: number): void {
    const { clock, resolve } = this.#options;
    const lookups = this.#lookups.splice(0);
    for (const { id, name } of lookups) {
      const addresses = resolve(name);
      this.#host.resolved(id, addresses, addresses.length === 0 ? 'no such name' : '');
    }
    if (lookups.length > 0) return;
    clock.moveTo(deadline);
    this.#host.expire(clock.now());
  }

  #takeAnswer(id: number): Decision | undefined {
    const decision = this.#answers.get(id);
    this.#answers.delete(id);
    return decision;
  }

  #describe(decision: Decision): OfflineDecision {
    const verdict = showVerdict(decision, this.#options.show);
    const text = verdictText(verdict);
    const by = decision.by.script;
    const failed = new Map(decision.failures?.map(({ script, failure }) => [script, failure]));
    // Of a decision that failed and was passed over, the last one was asked, too.
    const isPassedOver = decision.kind === 'failed' && failed.size > 0;
    const asked = isPassedOver ? this.#names : this.#names.slice(0, by + 1);
    const outcomeOf = (position: number): string => {
      const failure = failed.get(position);
      if (failure !== undefined) return `failed ${failure}`;
      return position === by ? text : 'declined';
    };
    return {
      verdict,
      text,
      script: this.#names[by],
      steps: asked.map((script, position) => ({
        script,
        outcome: outcomeOf(position),
        cpuUs: Math.round(this.#cpuUs.get(position) ?? 0),
      })),
      cpuUs: this.#spentUs,
      ownDials: this.#network.takeOwnDials(),
    };
  }
}
