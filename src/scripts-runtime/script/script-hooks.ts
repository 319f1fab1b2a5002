/** The hooks of one script besides `flow`, and the promises that they and `waitUntil` leave. */
import type { ConnectionRequest } from '../../stack/verdict.ts';
import type { ScriptIssue } from '../bundle/bundle.ts';
import { Reply } from '../engine/guest-page.ts';
import type { ScriptLimits } from '../limits.ts';
import type { ScheduledEvent } from '../schedule/schedule.ts';
import type { DecideResult, Guest } from './guest.ts';
import { PendingWork, type WorkEnd } from './pending-work.ts';
import type { ScriptCalls } from './script-calls.ts';

/** What a script may have besides `flow`. */
export type HookName = 'load' | 'unload' | 'scheduled' | 'closed';

/** What hooks need of their script. */
export interface HookPorts {
  readonly limits: ScriptLimits;
  /** Microseconds of a CPU budget. */
  readonly budgetUs: number;
  readonly calls: ScriptCalls;
  /** Number of a new call. */
  nextCall(): number;
  /** Microseconds. */
  now(): number;
  /** Enters the sandbox; undefined when there is none, or none is left afterwards. */
  enter(work: (guest: Guest) => void): DecideResult | undefined;
  hit(limit: string): void;
  /** A hook or a promise went wrong: `error` is of the guest, or words of ours. */
  fail(what: string, error: string, flow: number): void;
  issueOf(error: string): ScriptIssue;
}

const US_PER_MS = 1000;

export class ScriptHooks {
  readonly #ports: HookPorts;
  readonly #work = new PendingWork();
  #names: readonly string[] = [];
  #isUnloaded = false;

  constructor(ports: HookPorts) {
    this.#ports = ports;
  }

  /** It waits for promises that no flow waits for. */
  get isWorking(): boolean {
    return this.#work.size > 0;
  }

  /** When `expire` has something to do, in microseconds; Infinity for never. */
  get nextDeadline(): number {
    return this.#work.nextDeadline;
  }

  has(hook: HookName): boolean {
    return this.#names.includes(hook);
  }

  /** A sandbox was made, in which the script has these. */
  found(names: readonly string[]): void {
    this.#names = names;
  }

  /**
   * Calls `load`, and waits for it.
   *
   * @param old  its first argument as JSON; '' for none
   * @returns    what is wrong, or undefined
   */
  load(old: string): Promise<ScriptIssue | undefined> {
    const { promise, resolve } = Promise.withResolvers<ScriptIssue | undefined>();
    if (!this.has('load')) return Promise.resolve(undefined);
    const { limits } = this.#ports;
    this.#hook('load', old, limits.wallMs, (error) => {
      resolve(error === undefined ? undefined : this.#ports.issueOf(error));
    });
    return promise;
  }

  /** Calls `unload`, once for who takes over. What it hands over, as JSON; '' for nothing. */
  unload(): string {
    if (!this.has('unload') || this.#isUnloaded) return '';
    this.#isUnloaded = true;
    const { budgetUs, limits } = this.#ports;
    const result = this.#ports.enter((guest) => guest.hook(0, 'unload', '', budgetUs));
    if (result === undefined) return '';
    const { reply, text } = result;
    if (reply !== Reply.DONE) {
      this.#ports.fail('unload()', text, 0);
      return '';
    }
    const bytes = Buffer.byteLength(text);
    if (bytes <= limits.stateBytes) return text;
    this.#ports.hit('state');
    const message = `returned ${bytes} bytes, at most ${limits.stateBytes} (stateBytes)`;
    this.#ports.fail('unload()', message, 0);
    return '';
  }

  /** Nobody took over after `unload`: the next one who does gets what is there then. */
  stay(): void {
    this.#isUnloaded = false;
  }

  /** Calls `scheduled`. @param onEnd  it is over, however it went */
  scheduled(event: ScheduledEvent, onEnd: () => void): void {
    this.#hook('scheduled', JSON.stringify(event), this.#ports.limits.waitMs, (error) => {
      if (error !== undefined) this.#ports.fail(`scheduled(${event.name})`, error, 0);
      onEnd();
    });
  }

  /** Calls `closed`. @param result  as JSON. @param onEnd  as of `scheduled` */
  closed(flow: ConnectionRequest, result: string, onEnd: () => void = () => {}): void {
    const { budgetUs, limits } = this.#ports;
    const onClosed = (error: string | undefined) => {
      if (error !== undefined) this.#ports.fail('closed()', error, flow.flow);
      onEnd();
    };
    this.#call(limits.waitMs, onClosed, (guest, call) =>
      guest.hook(call, 'closed', result, budgetUs, flow),
    );
  }

  /** A promise of a hook was settled; `error` is '' when it was fulfilled. */
  done(call: number, error: string): void {
    this.#work.endHook(call, error === '' ? undefined : error);
  }

  /** @param of  the call that waits. @returns false when there are as many as may be */
  startWait(id: number, of: number): boolean {
    const { waits, waitMs } = this.#ports.limits;
    if (this.#work.size >= waits) {
      this.#ports.hit('waits');
      return false;
    }
    const { calls } = this.#ports;
    calls.startWait(of);
    this.#work.startWait(id, this.#ports.now() + waitMs * US_PER_MS, (error) => {
      calls.endWait(of);
      if (error !== undefined) this.#ports.fail('waitUntil()', error, 0);
    });
    return true;
  }

  endWait(id: number, error: string): void {
    this.#work.endWait(id, error === '' ? undefined : error);
  }

  /** Gives up promises that took too long at `now`, in microseconds. */
  expire(now: number): void {
    this.#work.expire(now);
  }

  /** The sandbox is gone, and all that waited in it. */
  clear(why: string): void {
    this.#work.clear(why);
  }

  #hook(name: HookName, argument: string, timeMs: number, onEnd: WorkEnd): void {
    const { budgetUs } = this.#ports;
    this.#call(timeMs, onEnd, (guest, call) => guest.hook(call, name, argument, budgetUs));
  }

  #call(timeMs: number, onEnd: WorkEnd, work: (guest: Guest, call: number) => void): void {
    const { calls } = this.#ports;
    const call = this.#ports.nextCall();
    calls.begin(call);
    this.#work.startHook(call, this.#ports.now() + timeMs * US_PER_MS, (error) => {
      calls.end(call);
      onEnd(error);
    });
    const result = this.#ports.enter((guest) => work(guest, call));
    // Where the sandbox broke, `clear` has told already.
    if (result === undefined) this.#work.endHook(call, 'the sandbox is gone');
    else if (result.reply === Reply.DONE) this.#work.endHook(call, undefined);
    else if (result.reply !== Reply.PENDING) this.#work.endHook(call, result.text);
  }
}
