import { NO_CONNS } from '../../scripts-runtime/conns/no-conns.ts';
import { ScriptHost } from '../../scripts-runtime/host.ts';
import { NameBook } from '../../scripts-runtime/offline/name-book.ts';
import { type OfflineDecision, OfflineHost } from '../../scripts-runtime/offline/offline-host.ts';
import type { TestFailure } from '../../scripts-runtime/offline/report.ts';
import { runScriptTests } from '../../scripts-runtime/offline/run-tests.ts';
import { VirtualClock } from '../../scripts-runtime/offline/virtual-clock.ts';
import type {
  AskedVerdict,
  ExplainedVerdict,
  KvEntry,
  RecordedFlow,
  ScriptBundle,
  ScriptIssue,
  ScriptLog,
  ToScriptHost,
} from '../messages/script-control.ts';
import { processClock } from './clock.ts';
import { ControlChannel } from './control-channel.ts';
import { SERVICES } from './host-loop.ts';

/** Failures of tests that are told; nobody reads more. */
const FAILURES_MAX = 50;
const WARM_UP_ROUNDS = 3;
/** Lines that scripts write about one flow, likewise. */
const LOGS_MAX = 100;

/**
 * Reads one `load`, does it, and answers. After that it says what the bundle would decide about
 * flows, as often as it is asked. Ends the process when the supervisor is gone.
 */
export async function checkOneBundle(): Promise<void> {
  const control = new ControlChannel();
  const messages: ToScriptHost[] = [];
  let kv: readonly KvEntry[] = [];
  let asked: Asked | undefined;
  let bundle: ScriptBundle | undefined;
  for (;;) {
    const isOpen = control.read((message) => messages.push(message));
    for (const message of messages.splice(0)) {
      if (message.kind === 'kv-restore') kv = kv.concat(message.entries);
      else if (message.kind === 'load') {
        ({ bundle } = message);
        await check(bundle, control);
      } else if (message.kind === 'ask' && bundle !== undefined) {
        const { flows, isExplained = false, startMs = Date.now() } = message;
        if (asked === undefined && isExplained) await warmUp({ ...bundle, kv }, flows);
        asked ??= await Asked.load({ ...bundle, kv }, startMs);
        const verdicts = await asked.ask(flows, isExplained);
        control.send({ kind: 'asked', id: message.id, verdicts });
      } else if (message.kind === 'test' && bundle !== undefined) {
        control.send({ kind: 'tested', ...(await test(bundle)) });
      } else throw new Error(`expected a bundle, not ${message.kind}`);
    }
    if (!isOpen) process.exit(bundle === undefined ? 1 : 0);
  }
}

async function check(bundle: ScriptBundle, control: ControlChannel): Promise<void> {
  const { generation } = bundle;
  const issues = await makeHost(control).load(bundle);
  control.send(
    issues.length === 0
      ? { kind: 'loaded', generation }
      : { kind: 'load-failed', generation, issues },
  );
}

/** Runs the scripts' own tests; each that fails is an issue with its place. */
async function test(
  bundle: ScriptBundle,
): Promise<{ passed: number; failures: readonly ScriptIssue[] }> {
  const { passed, files } = await runScriptTests(bundle);
  const failures = files.flatMap(({ script, file, tests, failure }) => [
    ...(failure === undefined ? [] : [issueOf(script, file, '', failure)]),
    ...tests.flatMap(({ path, failure: one }) =>
      one === undefined ? [] : [issueOf(script, file, `${path.join(' > ')}: `, one)],
    ),
  ]);
  return { passed, failures: failures.slice(0, FAILURES_MAX) };
}

function issueOf(
  script: string,
  file: string,
  name: string,
  { message, position }: TestFailure,
): ScriptIssue {
  const { line = 0, column = 0 } = position ?? {};
  return {
    ...{ script, line, column, kind: 'test', message: name + message },
    file: position?.file ?? file,
  };
}

/** A host that is never asked. What scripts log while they load is worth showing. */
const makeHost = (control: ControlChannel): ScriptHost =>
  new ScriptHost(
    {
      ...processClock,
      epochMs: Date.now,
      enter: () => {},
      leave: () => {},
      answer: () => {},
      resolve: () => {},
      conns: NO_CONNS,
      log: (line) => control.send({ kind: 'log', ...line }),
      kv: () => {},
      stats: () => {},
    },
    SERVICES,
  );

/** What a decision costs is that of a gateway, whose engine has run before. */
async function warmUp(bundle: ScriptBundle, flows: readonly RecordedFlow[]): Promise<void> {
  const asked = await Asked.load(bundle, Date.now());
  for (let i = 0; i < WARM_UP_ROUNDS; i++) await asked.ask(flows.slice(0, 1), false);
}

/** A bundle that decides, and nobody acts on it: names are not resolved. */
class Asked {
  readonly #host: OfflineHost;
  readonly #clock: VirtualClock;
  readonly #logs: ScriptLog[];

  private constructor(host: OfflineHost, clock: VirtualClock, logs: ScriptLog[]) {
    this.#host = host;
    this.#clock = clock;
    this.#logs = logs;
  }

  static async load(bundle: ScriptBundle, startMs: number): Promise<Asked> {
    const names = new NameBook();
    const clock = new VirtualClock(startMs);
    const logs: ScriptLog[] = [];
    const host = new OfflineHost({
      clock,
      resolve: (name) => names.resolve(name),
      show: (endpoint) => names.show(endpoint),
      log: (line) => logs.push(line),
    });
    const issues = await host.load(bundle);
    if (issues.length > 0) throw new Error(`it loaded once, and not again: ${issues[0]?.message}`);
    return new Asked(host, clock, logs);
  }

  async ask(flows: readonly RecordedFlow[], isExplained: boolean): Promise<AskedVerdict[]> {
    const verdicts: AskedVerdict[] = [];
    for (const [index, { id: _, atMs, ...request }] of flows.entries()) {
      if (atMs !== undefined) this.#host.advance(Math.max(0, atMs - this.#clock.epochMs()));
      this.#logs.length = 0;
      const decision = await this.#host.decide({ flow: index + 1, ...request });
      const { kind, to } = decision.verdict;
      verdicts.push({
        ...{ kind, text: decision.text },
        ...(to === undefined ? {} : { to }),
        ...(isExplained ? { explained: this.#explain(decision) } : {}),
      });
    }
    return verdicts;
  }

  #explain({ script, steps, cpuUs }: OfflineDecision): ExplainedVerdict {
    const logs = this.#logs.slice(0, LOGS_MAX);
    return {
      ...(script === undefined ? {} : { script }),
      ...{ steps, logs, logsLeft: this.#logs.length - logs.length, cpuUs },
    };
  }
}
