/** Plays the supervisor and the data plane of a real script host process. */
import { fileURLToPath } from 'node:url';
import { monotonicNow } from '../../../src/ffi/clock.ts';
import { allocateStruct, SharedMemory } from '../../../src/ffi/memory.ts';
import { closeFd, receive, send, socketPair } from '../../../src/ffi/sockets.ts';
import {
  answerText,
  DECISION_BYTES_MAX,
  DecisionAnswer,
  decodeDecisionAnswer,
  encodeDecisionCancel,
  encodeDecisionRequest,
  failureName,
  VERDICT_FAILED,
} from '../../../src/gateway/messages/decision.ts';
import { HOST_MEMORY_BYTES } from '../../../src/gateway/messages/flow-notes.ts';
import { encodeJsonFrame, FrameReader } from '../../../src/gateway/messages/framing.ts';
import {
  type FromScriptHost,
  HeartbeatField,
  type ScriptBundle,
  type ScriptIssue,
  type ToScriptHost,
} from '../../../src/gateway/messages/script-control.ts';
import { processCpuMs, Watchdog } from '../../../src/gateway/supervisor/watchdog.ts';
import { DEFAULT_SCRIPT_LIMITS, type ScriptLimits } from '../../../src/scripts-runtime/limits.ts';
import { writeAddress } from '../../../src/stack/wire/ip-address.ts';

const MAIN = fileURLToPath(new URL('../../../src/gateway/main.ts', import.meta.url));
const WATCH_PERIOD_MS = 20;
const POLL_MS = 1;

export const command = (subCommand: string): string[] => [process.execPath, MAIN, subCommand];

export interface Outcome {
  /** VerdictCode; undefined when the script failed. */
  readonly verdict?: number;
  /** Why it failed; `lost` when the host was killed instead of answering. */
  readonly failure?: string;
  readonly script: number;
  readonly generation: number;
  readonly text: string;
}

export function makeBundle(
  scripts: Readonly<Record<string, string>>,
  options: { generation?: number; limits?: Partial<ScriptLimits>; disabled?: string[] } = {},
): ScriptBundle {
  return {
    generation: options.generation ?? 1,
    scripts: Object.entries(scripts).map(([name, source]) => ({
      name,
      file: `${name}.ts`,
      source,
    })),
    limits: { ...DEFAULT_SCRIPT_LIMITS, ...options.limits },
    vars: {},
    kv: [],
    iface: 'culvert0',
    disabled: options.disabled ?? [],
  };
}

export class HostProcess {
  readonly messages: FromScriptHost[] = [];
  readonly epoch: number;
  /** Position of the script that was entered last, when the watchdog killed. */
  culprit: number | undefined;
  readonly #process: Bun.Subprocess<'pipe', 'pipe', 'inherit'>;
  readonly #heartbeat = SharedMemory.create('host', HOST_MEMORY_BYTES);
  readonly #fd: number;
  readonly #connsFd: number;
  readonly #io = allocateStruct(DECISION_BYTES_MAX);
  readonly #addresses = allocateStruct(32);
  readonly #answers = new Map<number, Outcome>();
  readonly #watch: ReturnType<typeof setInterval>;
  #watchdogMs = DEFAULT_SCRIPT_LIMITS.watchdogMs;
  #requestId = 0;

  /** @param runAs  command in front, which starts the host as somebody else */
  constructor(epoch = 1, runAs: readonly string[] = []) {
    const [mine, theirs] = socketPair('seqpacket');
    const [myConns, theirConns] = socketPair('seqpacket');
    this.epoch = epoch;
    this.#fd = mine;
    this.#connsFd = myConns;
    this.#process = Bun.spawn([...runAs, ...command('__script-host'), '1'], {
      stdio: ['pipe', 'pipe', 'inherit', this.#heartbeat.fd, theirs, theirConns],
    });
    closeFd(theirs);
    closeFd(theirConns);
    void this.#readMessages();
    const watchdog = new Watchdog(() => processCpuMs(this.#process.pid));
    this.#watch = setInterval(() => this.#look(watchdog), WATCH_PERIOD_MS);
  }

  get pid(): number {
    return this.#process.pid;
  }

  get isAlive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  get exited(): Promise<number> {
    return this.#process.exited;
  }

  async load(bundle: ScriptBundle, epoch = this.epoch): Promise<readonly ScriptIssue[]> {
    this.#watchdogMs = bundle.limits.watchdogMs;
    this.send({ kind: 'load', bundle, epoch });
    const end = await this.message(
      (m) =>
        (m.kind === 'loaded' || m.kind === 'load-failed') && m.generation === bundle.generation,
    );
    return end.kind === 'load-failed' ? end.issues : [];
  }

  /** Waits for what its messages are together: `isReached` is asked once for each look at them. */
  async until(isReached: () => boolean): Promise<void> {
    while (!isReached()) {
      if (!this.isAlive) throw new Error('the script host ended');
      await Bun.sleep(POLL_MS);
    }
  }

  /** Waits for a message, sent before or after. */
  async message(isWanted: (message: FromScriptHost) => boolean): Promise<FromScriptHost> {
    for (;;) {
      const found = this.messages.find(isWanted);
      if (found !== undefined) return found;
      if (!this.isAlive) throw new Error('the script host ended');
      await Bun.sleep(POLL_MS);
    }
  }

  send(message: ToScriptHost): void {
    this.#process.stdin.write(encodeJsonFrame(message));
    void this.#process.stdin.flush();
  }

  /** Asks about a flow to `ip`; returns the id of the request. */
  ask(ip = '192.0.2.1', port = 80, epoch = this.epoch): number {
    const { view } = this.#addresses;
    const family = writeAddress(ip, view, 16);
    writeAddress(family === 6 ? 'fd00::2' : '198.18.0.2', view, 0);
    this.#requestId++;
    const id = this.#requestId;
    const { view: out } = this.#io;
    const length = encodeDecisionRequest(
      out,
      0,
      id,
      epoch,
      id + 1000,
      6,
      family,
      view,
      0,
      40_000,
      16,
      port,
      1460,
      7,
      64,
      0,
    );
    send(this.#fd, this.#io.address, length);
    return id;
  }

  cancel(requestId: number): void {
    const length = encodeDecisionCancel(this.#io.view, 0, requestId, this.epoch);
    send(this.#fd, this.#io.address, length);
  }

  /** Takes what has arrived; true when there is an answer to `requestId`. */
  poll(requestId: number): boolean {
    for (;;) {
      const length = receive(this.#fd, this.#io.address, DECISION_BYTES_MAX);
      if (length <= 0) return this.#answers.has(requestId);
      const answer = new DecisionAnswer();
      if (!decodeDecisionAnswer(this.#io.view, 0, length, answer)) throw new Error('no answer');
      if (this.#answers.has(answer.requestId)) throw new Error('answered twice');
      this.#answers.set(answer.requestId, {
        ...(answer.verdict === VERDICT_FAILED
          ? { failure: failureName(answer.detail) }
          : { verdict: answer.verdict }),
        script: answer.script,
        generation: answer.generation,
        text: answerText(this.#io.view, answer),
      });
    }
  }

  /** The answer to a request, or `lost` when the host ends first. */
  async outcome(requestId: number): Promise<Outcome> {
    for (;;) {
      const isAlive = this.isAlive;
      if (this.poll(requestId)) return this.#answers.get(requestId) as Outcome;
      if (!isAlive) return { failure: 'lost', script: -1, generation: -1, text: '' };
      await Bun.sleep(POLL_MS);
    }
  }

  decide(ip?: string, port?: number): Promise<Outcome> {
    return this.outcome(this.ask(ip, port));
  }

  /** Ends as when the supervisor dies: its end of the pipe is closed. */
  async hangUp(): Promise<number> {
    await this.#process.stdin.end();
    return this.#process.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#watch);
    this.#process.kill('SIGKILL');
    await this.#process.exited;
    closeFd(this.#fd);
    closeFd(this.#connsFd);
    this.#heartbeat[Symbol.dispose]();
  }

  #look(watchdog: Watchdog): void {
    if (!this.isAlive) return;
    const page = new DataView(this.#heartbeat.buffer);
    const busySince = page.getFloat64(HeartbeatField.BUSY_SINCE, true);
    if (watchdog.judge({ now: monotonicNow(), busySince }, this.#watchdogMs) === 'innocent') return;
    this.culprit = page.getUint32(HeartbeatField.SCRIPT, true);
    this.#process.kill('SIGKILL');
  }

  async #readMessages(): Promise<void> {
    const frames = new FrameReader();
    for await (const bytes of this.#process.stdout) {
      frames.push(bytes, (_, body) => {
        this.messages.push(JSON.parse(new TextDecoder().decode(body)) as FromScriptHost);
      });
    }
  }
}
