/**
 * One script of one generation: its sandbox, what it may use, and what becomes of it when it
 * breaks a limit. A broken sandbox is thrown away and made anew from the same code, until the
 * breaker opens.
 */
import type { ConnectionRequest } from '../../stack/verdict.ts';
import type { ScriptIssue, ScriptSource } from '../bundle/bundle.ts';
import { breakageText, Diagnostics } from '../bundle/diagnostics.ts';
import type { Egress } from '../conns/egress.ts';
import type { ConnNews } from '../conns/guest-conns.ts';
import type { BareEngine, Breakage } from '../engine/engine.ts';
import { Reply } from '../engine/guest-page.ts';
import { type FailureKind, ScriptError } from '../errors.ts';
import type { ScriptLimits } from '../limits.ts';
import type { ScriptVerdict } from '../verdict/parse-verdict.ts';
import { VerdictReader } from '../verdict/verdict-reader.ts';
import { Breaker } from './breaker.ts';
import type { ScriptCounters } from './counters.ts';
import { Guest, type GuestPorts } from './guest.ts';
import { parseLogFields } from './log-fields.ts';
import { ScriptCalls } from './script-calls.ts';
import { type HookPorts, ScriptHooks } from './script-hooks.ts';
import { ScriptLogger } from './script-log.ts';
import type { ScriptParts, ScriptPorts } from './script-ports.ts';
import { ScriptReports } from './script-reports.ts';
import { ScriptTimers } from './script-timers.ts';

/** What a call into a script gave. */
export type ScriptAnswer =
  | { readonly kind: 'verdict'; readonly verdict: ScriptVerdict }
  | { readonly kind: 'pending' }
  | { readonly kind: 'failed'; readonly failure: FailureKind };

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

const US_PER_MS = 1000;

export class Script {
  readonly name: string;
  readonly generation: number;
  readonly position: number;
  readonly hooks: ScriptHooks;
  readonly calls: ScriptCalls;
  readonly reports: ScriptReports;
  sniffs: Guest['sniffs'] = [];
  readonly limits: ScriptLimits;
  readonly egress: Egress;
  readonly #parts: ScriptParts;
  readonly #diagnostics: Diagnostics;
  readonly #ports: ScriptPorts;
  readonly #breaker: Breaker;
  readonly #logger: ScriptLogger;
  readonly #verdicts: VerdictReader;
  readonly #timers: ScriptTimers;
  #guest: Guest | undefined;
  #isGone = false;

  constructor(parts: ScriptParts, ports: ScriptPorts) {
    const { limits } = parts.settings;
    this.name = parts.source.name;
    this.generation = parts.generation;
    this.position = parts.position;
    this.limits = limits;
    this.egress = parts.egress;
    this.#parts = parts;
    this.#diagnostics = new Diagnostics(parts.source, parts.code);
    this.#ports = ports;
    this.#verdicts = new VerdictReader(parts.settings.services);
    this.#timers = new ScriptTimers(limits.timers);
    this.#breaker = new Breaker(limits.breakerHits, limits.breakerWindowMs);
    const { name, generation } = this;
    this.#logger = new ScriptLogger(name, generation, limits.logLinesPerSecond, ports);
    this.reports = new ScriptReports(this.#logger, this.#diagnostics, parts.counters, limits);
    this.calls = new ScriptCalls((call) => ports.callOver(call));
    this.hooks = new ScriptHooks(this.#hookPorts());
    if (parts.isDisabled) this.#breaker.open();
  }

  get isDisabled(): boolean {
    return this.#breaker.isOpen;
  }

  /** When `scheduled` is called. */
  get schedule(): ScriptSource['schedule'] {
    return this.#parts.source.schedule;
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
    return Math.min(this.#timers.next, this.hooks.nextDeadline);
  }

  /** Runs the script's top level. Returns what is wrong with it, or undefined. */
  load(bare: BareEngine): ScriptIssue | undefined {
    const { source, code, settings, kv } = this.#parts;
    const { loadMs, watchdogMs } = settings.limits;
    const guest = new Guest(
      bare,
      settings,
      kv,
      this.#guestPorts(),
      this.#ports,
      this.#ports.extension,
    );
    this.#ports.enter(this, Math.max(0, loadMs - watchdogMs) * US_PER_MS);
    const problem = guest.load(code.code, source.file, loadMs * US_PER_MS);
    this.#ports.leave();
    if (guest.breakage !== undefined) {
      return this.#diagnostics.issue(
        'limit',
        breakageText(guest.breakage, loadMs, settings.limits),
      );
    }
    if (typeof problem === 'string') {
      const { message, position } = this.#diagnostics.read(problem);
      return this.#diagnostics.issue('shape', message, position);
    }
    if (problem !== undefined) return this.#diagnostics.issueOf(problem);
    this.sniffs = guest.sniffs;
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
    let answer: ScriptAnswer = PENDING;
    this.calls.decide(call, () => {
      this.#turn(() => guest.decide(call, request, this.#budget), request.flow);
      const broken = this.#checkBreakage(guest, request.flow);
      const { reply, text } = guest.result;
      answer = broken ?? this.#answerOf(reply, text, request.flow);
      return answer.kind === 'pending';
    });
    return answer;
  }

  /** The call is no longer wanted: `flow.signal` fires. */
  abort(call: number, why: string): void {
    this.#enterIfAlive((guest) => guest.abort(call, why, this.#budget));
    this.calls.end(call);
  }

  /** Another generation took over; calls in flight go on. */
  retire(): void {
    this.#enterIfAlive((guest) => guest.retire(this.#budget));
  }

  /** Runs the timers that are due at `now`, those of them that begin before `end`. */
  fireTimers(now: number, end: number): void {
    if (now < this.#timers.next) return;
    for (const id of this.#timers.due(now)) {
      if (!this.#timers.stop(id)) continue;
      this.#enterIfAlive((guest) => {
        const thrown = guest.fire(id, this.#budget);
        if (thrown !== undefined) this.reports.threw('', thrown, 0);
      });
      if (this.#ports.now() >= end) break;
    }
    this.#timers.updateNext();
  }

  /** Runs the hook of a connection that it claimed; false when there is no sandbox to do so. */
  openConn(conn: number, request: ConnectionRequest): boolean {
    return this.#enterIfAlive((guest) => guest.conns.open(conn, request, this.#budget));
  }

  tellConn(conn: number, news: readonly ConnNews[]): void {
    this.#enterIfAlive((guest) => guest.conns.tell(conn, news, this.#budget));
  }

  /** Says how many log lines were left out, if any were. */
  reportDropped(): void {
    this.#logger.reportDropped();
  }

  /** Forgets the sandbox. Its memory goes with the last reference to it. */
  dispose(): void {
    this.#isGone = true;
    this.#guest = undefined;
    this.#timers.clear();
    this.hooks.clear('the generation is gone');
    this.calls.clear();
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

  #enterIfAlive(work: (guest: Guest) => void): boolean {
    const guest = this.#guest;
    if (guest === undefined) return false;
    this.#turn(() => work(guest), 0);
    this.#checkBreakage(guest);
    return true;
  }

  #turn(work: () => void, flow: number): void {
    const { counters, settings } = this.#parts;
    const enteredAt = this.#ports.now();
    this.#ports.enter(this, 0);
    work();
    this.#ports.leave();
    const tookUs = this.#ports.now() - enteredAt;
    counters.cpuUs += tookUs;
    const turnOf = this.#guest?.conns.takeTurnOf() ?? 0;
    if (turnOf !== 0) this.#ports.worked(turnOf, tookUs);
    // Who breaks the hard limit hears of that one.
    const isBroken = this.#guest?.breakage !== undefined;
    if (isBroken || tookUs < settings.limits.cpuSoftMs * US_PER_MS) return;
    counters.hit('cpu-soft');
    if (this.#logger.admitsComplaint()) {
      this.#logger.write('warn', flow, 'script is slow', {
        tookMs: tookUs / US_PER_MS,
        limit: 'cpuSoftMs',
      });
    }
  }

  #checkBreakage(guest: Guest, flow = 0): ScriptAnswer | undefined {
    if (guest !== this.#guest) return this.#failed('killed');
    const { breakage } = guest;
    if (breakage !== undefined) return this.#breakDown(breakage, flow);
    return undefined;
  }

  #breakDown(breakage: Breakage, flow: number): ScriptAnswer {
    const { counters, settings } = this.#parts;
    this.#guest = undefined;
    this.#timers.clear();
    this.#ports.lost(this);
    this.hooks.clear(breakageText(breakage, settings.limits.cpuHardMs, settings.limits));
    this.calls.clear();
    const failure = breakage === 'crash' ? 'killed' : breakage;
    counters.hit(failure);
    const text = breakageText(breakage, settings.limits.cpuHardMs, settings.limits);
    const instead = flow === 0 ? {} : this.#logger.instead;
    this.#logger.complain(new ScriptError(failure, text), flow, instead);
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
    this.#logger.write('error', 0, 'script disabled', { reason });
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
        this.reports.badVerdict(text, flow);
        return this.#failed('bad-verdict');
    }
  }

  #threw(text: string, flow: number): ScriptAnswer {
    const { message } = this.#diagnostics.read(text);
    // The script had enough memory left to catch it, but what it left undone is unknown.
    if (message.endsWith('InternalError: out of memory')) return this.#breakDown('memory', flow);
    if (message.endsWith('InternalError: stack overflow')) this.#parts.counters.hit('stack');
    this.reports.threw('', text, flow, true);
    return this.#failed('error');
  }

  #parsedVerdict(text: string, flow: number): ScriptAnswer {
    const verdict = this.#verdicts.read(text);
    if (typeof verdict === 'string') {
      this.reports.badVerdict(verdict, flow);
      return this.#failed('bad-verdict');
    }
    return { kind: 'verdict', verdict };
  }

  #failed(failure: FailureKind): ScriptAnswer {
    this.#parts.counters.errors++;
    return { kind: 'failed', failure };
  }

  #hookPorts(): HookPorts {
    const { limits } = this.#parts.settings;
    return {
      limits,
      budgetUs: this.#budget,
      calls: this.calls,
      nextCall: () => this.#ports.nextCall(),
      now: () => this.#ports.now(),
      enter: (work) => {
        const guest = this.#guest;
        if (guest === undefined) return undefined;
        this.#turn(() => work(guest), 0);
        return this.#checkBreakage(guest) === undefined ? guest.result : undefined;
      },
      hit: (limit) => this.counters.hit(limit),
      fail: (what, text, flow) => {
        if (!this.#isGone) this.reports.failed(what, text, flow);
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
        if (this.#logger.admitsLine()) {
          const places = (text: string) => this.#diagnostics.withPlaces(text);
          this.#logger.write(level, flow, places(message), parseLogFields(fields, places));
        } else {
          counters.hit('log');
        }
      },
      settle: (call, reply, text) => {
        this.calls.end(call);
        this.#ports.settled(this, call, (flow) => this.#answerOf(reply, text, flow));
      },
      startTimer: (id, delayMs) => {
        const isStarted = this.#timers.start(id, delayMs, this.#ports.now());
        if (!isStarted) counters.hit('timers');
        return isStarted;
      },
      stopTimer: (id) => {
        this.#timers.stop(id);
      },
      hookDone: (call, error) => this.hooks.done(call, error),
      startWait: (id, of) => this.hooks.startWait(id, of),
      endWait: (id, error) => this.hooks.endWait(id, error),
      hit: (limit) => counters.hit(limit),
      conns: this.#ports.conns(() => this),
    };
  }
}
