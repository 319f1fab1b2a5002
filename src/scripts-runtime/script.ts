/**
 * One script of one generation: its sandbox, what it may use, and what becomes of it when it
 * breaks a limit. A broken sandbox is thrown away and made anew from the same code, until the
 * breaker opens.
 */
import type { ConnectionRequest } from '../stack/verdict.ts';
import { Breaker } from './breaker.ts';
import type { LogLevel, ScriptIssue, ScriptLog, ScriptSource } from './bundle.ts';
import type { ScriptCounters } from './counters.ts';
import { cutText } from './cut-text.ts';
import { breakageText, Diagnostics } from './diagnostics.ts';
import type { BareEngine, Breakage, EngineClock } from './engine.ts';
import { type FailureKind, ScriptError } from './errors.ts';
import { Guest, type GuestPorts, type GuestSettings, Reply } from './host-api.ts';
import type { Kv } from './kv.ts';
import { TIMER_MS_MAX, TIMER_MS_MIN } from './limits.ts';
import { parseLogFields } from './log-fields.ts';
import { LogLimit } from './log-limit.ts';
import { parseVerdictText, type ScriptVerdict } from './parse-verdict.ts';
import { RenewedMap } from './renewed-map.ts';
import { type HookPorts, ScriptHooks } from './script-hooks.ts';
import type { Transpiled } from './transpile.ts';

/** What a call into a script gave. */
export type ScriptAnswer =
  | { readonly kind: 'verdict'; readonly verdict: ScriptVerdict }
  | { readonly kind: 'pending' }
  | { readonly kind: 'failed'; readonly failure: FailureKind };

/** What a script needs of its host. */
export interface ScriptPorts extends EngineClock {
  /**
   * Around every turn in a sandbox: a watchdog looks from outside.
   *
   * @param aheadUs  how much longer than usual this turn may last
   */
  enter(script: Script, aheadUs: number): void;
  leave(): void;
  log(line: ScriptLog): void;
  /** A promise was settled while the turn of `script` goes on. */
  settled(script: Script, call: number, answer: () => ScriptAnswer): void;
  /** The sandbox broke: every call that waits in it is lost. */
  lost(script: Script): void;
  /** A WebAssembly instance that was made in advance, if there is one. */
  takeSpare(): BareEngine | undefined;
  /** Belongs to no generation yet, and may have timers. */
  loading(script: Script): void;
}

export interface ScriptParts {
  readonly source: ScriptSource;
  readonly generation: number;
  readonly position: number;
  readonly code: Transpiled;
  readonly settings: GuestSettings;
  readonly kv: Kv;
  readonly counters: ScriptCounters;
  readonly isDisabled: boolean;
}

const DECLINED: ScriptAnswer = { kind: 'verdict', verdict: { kind: 'decline' } };
const FORWARDED: ScriptAnswer = {
  kind: 'verdict',
  verdict: { kind: 'forward', handshake: 'dial-first' },
};
const REJECTED: ScriptAnswer = {
  kind: 'verdict',
  verdict: { kind: 'reject', with: 'rst', reason: '' },
};
const PENDING: ScriptAnswer = { kind: 'pending' };

/** Verdicts that were parsed, by their text: most scripts give few different ones. */
const PARSED_MAX = 512;
/** UTF-16 units; longer ones hold text that was made for the one flow. */
const PARSED_TEXT_LENGTH = 1024;

const US_PER_MS = 1000;

export class Script {
  readonly name: string;
  readonly generation: number;
  readonly position: number;
  readonly hooks: ScriptHooks;
  readonly #parts: ScriptParts;
  readonly #diagnostics: Diagnostics;
  readonly #ports: ScriptPorts;
  readonly #breaker: Breaker;
  readonly #logLimit: LogLimit;
  readonly #complaintLimit: LogLimit;
  readonly #parsed = new Map<string, ScriptAnswer>();
  /** Deadlines in microseconds by the id of the timer. */
  readonly #timers = new RenewedMap<number, number>();
  #guest: Guest | undefined;
  #nextTimer = Number.POSITIVE_INFINITY;
  #isGone = false;

  constructor(parts: ScriptParts, ports: ScriptPorts) {
    const { limits } = parts.settings;
    this.name = parts.source.name;
    this.generation = parts.generation;
    this.position = parts.position;
    this.#parts = parts;
    this.#diagnostics = new Diagnostics(parts.source, parts.code);
    this.#ports = ports;
    this.#breaker = new Breaker(limits.breakerHits, limits.breakerWindowMs);
    this.#logLimit = new LogLimit(limits.logLinesPerSecond);
    this.#complaintLimit = new LogLimit(limits.logLinesPerSecond);
    this.hooks = new ScriptHooks(this.#hookPorts());
    if (parts.isDisabled) this.#breaker.open();
  }

  get isDisabled(): boolean {
    return this.#breaker.isOpen;
  }

  get counters(): ScriptCounters {
    return this.#parts.counters;
  }

  /** It broke, and there was no spare to make it anew from. */
  get needsEngine(): boolean {
    return this.#guest === undefined && !this.#breaker.isOpen && !this.#isGone;
  }

  /** When `fireTimers` or the hooks have something to do, in microseconds; Infinity for never. */
  get nextDeadline(): number {
    return Math.min(this.#nextTimer, this.hooks.nextDeadline);
  }

  /** Runs the script's top level. Returns what is wrong with it, or undefined. */
  load(bare: BareEngine): ScriptIssue | undefined {
    const { source, code, settings, kv } = this.#parts;
    const { loadMs, watchdogMs } = settings.limits;
    const guest = new Guest(bare, settings, kv, this.#guestPorts(), this.#ports);
    this.#ports.enter(this, Math.max(0, loadMs - watchdogMs) * US_PER_MS);
    const problem = guest.load(code.code, source.file, loadMs * US_PER_MS);
    this.#ports.leave();
    if (guest.breakage !== undefined) {
      return this.#diagnostics.issue(
        'limit',
        breakageText(guest.breakage, loadMs, settings.limits),
      );
    }
    if (typeof problem === 'string') return this.#diagnostics.issue('shape', problem);
    if (problem !== undefined) return this.#diagnostics.issueOf(problem);
    this.#guest = guest;
    this.hooks.found(guest.hooks(this.#budget));
    return undefined;
  }

  /** Asks for a verdict. When the promise settles, `ports.settled` is called with `call`. */
  decide(call: number, request: ConnectionRequest): ScriptAnswer {
    const { counters } = this.#parts;
    counters.decisions++;
    if (this.#breaker.isOpen) return this.#failed('disabled');
    const guest = this.#guest;
    if (guest === undefined) return this.#failed('killed');
    this.#turn(() => guest.decide(call, request, this.#budget), request.flow);
    const broken = this.#checkBreakage(guest);
    return broken ?? this.#answerOf(guest.result.reply, guest.result.text, request.flow);
  }

  /** The call is no longer wanted: `flow.signal` fires. */
  abort(call: number, why: string): void {
    this.#enterIfAlive((guest) => guest.abort(call, why, this.#budget));
  }

  /** Another generation took over; calls in flight go on. */
  retire(): void {
    this.#enterIfAlive((guest) => guest.retire(this.#budget));
  }

  /** Runs the timers that are due at `now`, those of them that begin before `end`. */
  fireTimers(now: number, end: number): void {
    if (now < this.#nextTimer) return;
    const due = Array.from(this.#timers.entries()).filter(([, at]) => at <= now);
    for (const [id] of due.sort(([, a], [, b]) => a - b)) {
      if (!this.#timers.delete(id)) continue;
      this.#enterIfAlive((guest) => {
        const thrown = guest.fire(id, this.#budget);
        if (thrown !== undefined) this.#complain(this.#diagnostics.errorOf(thrown), 0);
      });
      if (this.#ports.now() >= end) break;
    }
    this.#updateNextTimer();
  }

  /** A verdict of it cannot be carried out for the flow that it is about. */
  countMisfit(message: string, flow: number): void {
    this.#complain(new ScriptError('bad-verdict', message), flow);
    this.counters.errors++;
  }

  /** Says how many log lines were left out, if any were. */
  reportDropped(): void {
    const dropped = this.#logLimit.takeDropped() + this.#complaintLimit.takeDropped();
    if (dropped > 0)
      this.#log('warn', 0, 'log lines dropped', { dropped, limit: 'logLinesPerSecond' });
  }

  /** Forgets the sandbox. Its memory goes with the last reference to it. */
  dispose(): void {
    this.#isGone = true;
    this.#guest = undefined;
    this.#clearTimers();
    this.hooks.clear('the generation is gone');
  }

  /** Makes the sandbox anew; nothing of what it knew is left. */
  revive(bare: BareEngine): void {
    const refuse = (message: string) => this.#disable(`it does not load again: ${message}`);
    const issue = this.load(bare);
    if (issue !== undefined) {
      refuse(issue.message);
      return;
    }
    const old = JSON.stringify({ version: this.#parts.settings.version });
    void this.hooks.load(old).then((fault) => {
      if (fault !== undefined && !this.#isGone) refuse(fault.message);
    });
  }

  get #budget(): number {
    return this.#parts.settings.limits.cpuHardMs * US_PER_MS;
  }

  #enterIfAlive(work: (guest: Guest) => void): void {
    const guest = this.#guest;
    if (guest === undefined) return;
    this.#turn(() => work(guest), 0);
    this.#checkBreakage(guest);
  }

  #turn(work: () => void, flow: number): void {
    const { counters, settings } = this.#parts;
    const enteredAt = this.#ports.now();
    this.#ports.enter(this, 0);
    work();
    this.#ports.leave();
    const tookUs = this.#ports.now() - enteredAt;
    counters.cpuUs += tookUs;
    // Who breaks the hard limit hears of that one.
    const isBroken = this.#guest?.breakage !== undefined;
    if (isBroken || tookUs < settings.limits.cpuSoftMs * US_PER_MS) return;
    counters.hit('cpu-soft');
    if (this.#complaintLimit.admits(enteredAt)) {
      this.#log('warn', flow, 'script is slow', { tookMs: tookUs / US_PER_MS, limit: 'cpuSoftMs' });
    }
  }

  #checkBreakage(guest: Guest): ScriptAnswer | undefined {
    if (guest !== this.#guest) return this.#failed('killed');
    const { breakage } = guest;
    if (breakage !== undefined) return this.#breakDown(breakage);
    return undefined;
  }

  #breakDown(breakage: Breakage): ScriptAnswer {
    const { counters, settings } = this.#parts;
    this.#guest = undefined;
    this.#clearTimers();
    this.#ports.lost(this);
    this.hooks.clear(breakageText(breakage, settings.limits.cpuHardMs, settings.limits));
    const failure = breakage === 'crash' ? 'killed' : breakage;
    counters.hit(failure);
    const text = breakageText(breakage, settings.limits.cpuHardMs, settings.limits);
    this.#complain(new ScriptError(failure, text), 0);
    if (this.#breaker.hit(this.#ports.now() / US_PER_MS)) {
      this.#disable(
        `${settings.limits.breakerHits} hard limits hit in ${settings.limits.breakerWindowMs} ms`,
      );
    } else {
      const spare = this.#ports.takeSpare();
      if (spare !== undefined) this.revive(spare);
    }
    return this.#failed(failure);
  }

  #disable(reason: string): void {
    this.#breaker.open();
    this.#parts.counters.isDisabled = true;
    this.#log('error', 0, 'script disabled', { reason });
  }

  #answerOf(reply: Reply, text: string, flow: number): ScriptAnswer {
    switch (reply) {
      case Reply.DECLINE:
        return DECLINED;
      case Reply.FORWARD:
        return FORWARDED;
      case Reply.REJECT:
        return REJECTED;
      case Reply.PENDING:
        return PENDING;
      case Reply.VERDICT:
        return this.#parsedVerdict(text, flow);
      case Reply.THREW:
        return this.#threw(text, flow);
      default:
        this.#complain(new ScriptError('bad-verdict', text), flow);
        return this.#failed('bad-verdict');
    }
  }

  #threw(text: string, flow: number): ScriptAnswer {
    const error = this.#diagnostics.errorOf(text);
    // The script had enough memory left to catch it, but what it left undone is unknown.
    if (error.message.endsWith('InternalError: out of memory')) return this.#breakDown('memory');
    if (error.message.endsWith('InternalError: stack overflow')) this.#parts.counters.hit('stack');
    this.#complain(error, flow);
    return this.#failed('error');
  }

  #parsedVerdict(text: string, flow: number): ScriptAnswer {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const verdict = parseVerdictText(text, this.#parts.settings.services);
    if (typeof verdict === 'string') {
      this.#complain(new ScriptError('bad-verdict', verdict), flow);
      return this.#failed('bad-verdict');
    }
    const answer: ScriptAnswer = { kind: 'verdict', verdict };
    if (text.length > PARSED_TEXT_LENGTH) return answer;
    if (this.#parsed.size >= PARSED_MAX) this.#parsed.clear();
    this.#parsed.set(text, answer);
    return answer;
  }

  #failed(failure: FailureKind): ScriptAnswer {
    this.#parts.counters.errors++;
    return { kind: 'failed', failure };
  }

  #complain(error: ScriptError, flow: number): void {
    if (!this.#complaintLimit.admits(this.#ports.now())) return;
    this.#log('warn', flow, error.message, { error: error.kind, ...error.position });
  }

  #log(level: LogLevel, flow: number, message: string, fields?: Record<string, unknown>): void {
    this.#ports.log({
      level,
      script: this.name,
      generation: this.generation,
      ...(flow === 0 ? {} : { flow }),
      message: cutText(message),
      ...(fields === undefined ? {} : { fields }),
    });
  }

  #hookPorts(): HookPorts {
    const { limits } = this.#parts.settings;
    return {
      limits,
      budgetUs: this.#budget,
      now: () => this.#ports.now(),
      enter: (work) => {
        const guest = this.#guest;
        if (guest === undefined) return undefined;
        this.#turn(() => work(guest), 0);
        return this.#checkBreakage(guest) === undefined ? guest.result : undefined;
      },
      hit: (limit) => this.counters.hit(limit),
      fail: (what, text, flow) => {
        if (this.#isGone) return;
        this.counters.errors++;
        const { message, position } = this.#diagnostics.read(text);
        this.#complain(new ScriptError('error', `${what}: ${message}`, position), flow);
      },
      issueOf: (text) => {
        const { message, position } = this.#diagnostics.read(text);
        return this.#diagnostics.issue('load', `load(): ${message}`, position);
      },
    };
  }

  #guestPorts(): GuestPorts {
    const { counters } = this.#parts;
    return {
      log: (level, flow, message, fields) => {
        if (this.#logLimit.admits(this.#ports.now())) {
          this.#log(level, flow, message, parseLogFields(fields));
        } else {
          counters.hit('log');
        }
      },
      settle: (call, reply, text) => {
        this.#ports.settled(this, call, () => this.#answerOf(reply, text, 0));
      },
      startTimer: (id, delayMs) => {
        if (this.#timers.size >= this.#parts.settings.limits.timers) {
          counters.hit('timers');
          return false;
        }
        const delay = Math.min(Math.max(delayMs, TIMER_MS_MIN), TIMER_MS_MAX);
        const deadline = this.#ports.now() + delay * US_PER_MS;
        this.#timers.set(id, deadline);
        this.#nextTimer = Math.min(this.#nextTimer, deadline);
        return true;
      },
      stopTimer: (id) => {
        this.#timers.delete(id);
      },
      hookDone: (call, error) => this.hooks.done(call, error),
      startWait: (id) => this.hooks.startWait(id),
      endWait: (id, error) => this.hooks.endWait(id, error),
      hit: (limit) => counters.hit(limit),
    };
  }

  #updateNextTimer(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const deadline of this.#timers.values()) if (deadline < next) next = deadline;
    this.#nextTimer = next;
  }

  #clearTimers(): void {
    this.#timers.clear();
    this.#nextTimer = Number.POSITIVE_INFINITY;
  }
}
