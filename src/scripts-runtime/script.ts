/**
 * One script of one generation: its sandbox, what it may use, and what becomes of it when it
 * breaks a limit. A broken sandbox is thrown away and made anew from the same code, until the
 * breaker opens.
 */
import type { ConnectionRequest } from '../stack/verdict.ts';
import { Breaker } from './breaker.ts';
import type { LogLevel, ScriptIssue, ScriptLog, ScriptSource } from './bundle.ts';
import type { Egress } from './conns/egress.ts';
import type { ConnNews, GuestConnPorts } from './conns/guest-conns.ts';
import type { ScriptCounters } from './counters.ts';
import { cutText } from './cut-text.ts';
import { Diagnostics } from './diagnostics.ts';
import type { BareEngine, Breakage, EngineClock } from './engine.ts';
import { type FailureKind, ScriptError } from './errors.ts';
import { Guest, type GuestPorts, type GuestSettings, Reply } from './host-api.ts';
import type { Kv } from './kv.ts';
import type { ScriptLimits } from './limits.ts';
import { parseLogFields } from './log-fields.ts';
import { LogLimit } from './log-limit.ts';
import type { ScriptVerdict } from './parse-verdict.ts';
import { ScriptTimers } from './script-timers.ts';
import type { Transpiled } from './transpile.ts';
import { VerdictReader } from './verdict-reader.ts';

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
  /** What its connections ask for. */
  conns(script: () => Script): GuestConnPorts;
  /** A turn took so long, in microseconds; `conn` is the connection it was for. */
  worked(conn: number, us: number): void;
  /** A WebAssembly instance that was made in advance, if there is one. */
  takeSpare(): BareEngine | undefined;
}

export interface ScriptParts {
  readonly source: ScriptSource;
  readonly generation: number;
  readonly position: number;
  readonly code: Transpiled;
  readonly settings: GuestSettings;
  readonly kv: Kv;
  readonly counters: ScriptCounters;
  readonly egress: Egress;
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

const US_PER_MS = 1000;

export class Script {
  readonly name: string;
  readonly generation: number;
  readonly position: number;
  sniffs: Guest['sniffs'] = [];
  readonly limits: ScriptLimits;
  readonly egress: Egress;
  readonly #parts: ScriptParts;
  readonly #diagnostics: Diagnostics;
  readonly #ports: ScriptPorts;
  readonly #breaker: Breaker;
  readonly #logLimit: LogLimit;
  readonly #complaintLimit: LogLimit;
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
    this.#logLimit = new LogLimit(limits.logLinesPerSecond);
    this.#complaintLimit = new LogLimit(limits.logLinesPerSecond);
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

  /** Microseconds; Infinity without timers. */
  get nextTimer(): number {
    return this.#timers.next;
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
      return this.#diagnostics.issue('limit', this.#breakageText(guest.breakage, loadMs));
    }
    if (typeof problem === 'string') return this.#diagnostics.issue('shape', problem);
    if (problem !== undefined) return this.#diagnostics.issueOf(problem);
    this.sniffs = guest.sniffs;
    this.#guest = guest;
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
    if (now < this.#timers.next) return;
    for (const id of this.#timers.due(now)) {
      if (!this.#timers.stop(id)) continue;
      this.#enterIfAlive((guest) => {
        const thrown = guest.fire(id, this.#budget);
        if (thrown !== undefined) this.#complain(this.#diagnostics.errorOf(thrown), 0);
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

  /** The hook of a connection threw; the error as the guest describes it. */
  failConn(description: string, flow: number): void {
    this.counters.errors++;
    this.#complain(this.#diagnostics.errorOf(description), flow);
  }

  /** A limit that ends a connection, or what it asked for. */
  hitConnLimit(limit: string, message: string, flow: number): void {
    this.counters.hit(limit);
    if (this.#complaintLimit.admits(this.#ports.now())) this.#log('warn', flow, message, { limit });
  }

  /** Why the script aborts a connection. */
  noteConn(reason: string, flow: number): void {
    if (this.#logLimit.admits(this.#ports.now())) this.#log('debug', flow, 'aborted', { reason });
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
    this.#timers.clear();
  }

  /** Makes the sandbox anew. */
  revive(bare: BareEngine): void {
    const issue = this.load(bare);
    if (issue === undefined) return;
    this.#disable(`it does not load again: ${issue.message}`);
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
    const conn = this.#guest?.conns.takeTurnOf() ?? 0;
    if (conn !== 0) this.#ports.worked(conn, tookUs);
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
    this.#timers.clear();
    this.#ports.lost(this);
    const failure = breakage === 'crash' ? 'killed' : breakage;
    counters.hit(failure);
    const text = this.#breakageText(breakage, settings.limits.cpuHardMs);
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
    const verdict = this.#verdicts.read(text);
    if (typeof verdict === 'string') {
      this.#complain(new ScriptError('bad-verdict', verdict), flow);
      return this.#failed('bad-verdict');
    }
    return { kind: 'verdict', verdict };
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
        const isStarted = this.#timers.start(id, delayMs, this.#ports.now());
        if (!isStarted) counters.hit('timers');
        return isStarted;
      },
      stopTimer: (id) => {
        this.#timers.stop(id);
      },
      hit: (limit) => counters.hit(limit),
      conns: this.#ports.conns(() => this),
    };
  }

  #breakageText(breakage: Breakage, budgetMs: number): string {
    const { memoryBytes } = this.#parts.settings.limits;
    switch (breakage) {
      case 'cpu':
        return `more than ${budgetMs} ms of processor time`;
      case 'memory':
        return `more than ${memoryBytes} bytes of memory (memoryBytes)`;
      case 'crash':
        return 'the sandbox crashed';
    }
  }
}
